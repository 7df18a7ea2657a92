package rdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// file puts a header before content and the end behind it.
func file(header, content string) []byte {
	b := append([]byte(header), content...)
	b = append(b, opEOF)
	if header >= "REDIS0005" {
		b = binary.LittleEndian.AppendUint64(b, CRC64(0, b))
	}
	return b
}

// show reads everything of a file into lines.
func show(r *Reader) (lines []string, err error) {
	for e, err := range r.Entries() {
		if err != nil {
			return lines, err
		}
		lines = append(lines, fmt.Sprintf("%d %q type %d %q expire %d idle %d freq %d", e.DB, e.Key, e.Type, e.Value, e.ExpireAt, e.Idle, e.Freq))
	}
	return lines, nil
}

const everything = "\xfa\x09redis-ver\x057.0.0" + "\xfa\x00\x03pad" + "\xfa\x05ctime\xc2\x00\xe1\xf5\x05" +
	"\xf7\x05\x02\x01" + "\x05\x01x\x01\x05\x02\x07\x03abcd\x04abcdefgh\x00" + // module aux: id, uint, 1, fields
	"\xf5\x0a#!lua code" +
	"\xf6\x01n\x03lua\x01\x04desc\x04code" +
	"\xfe\x02\xfb\x04\x02" +
	"\x00\x01a\x01v" +
	"\xfd\x00\xe1\xf5\x05\x00\x01b\xc0\xff" +
	"\xfc\x01\x02\x03\x04\x05\x06\x00\x00\xf9\x07\x00\xc1\x39\x30\xc3\x04\x03\x02abc" + // key 12345
	"\xf8\x40\x80\xf4\x05\x01\x00\x04\xc3\x06\x06\x02abc\x20\x02\x01\x01f\x80\x00\x00\x00\x01v" + // slot info, key by LZF
	"\xfe\x80\x00\x01\x00\x00\x02\x01i\x81\x00\x00\x00\x00\x00\x00\x00\x01\x01j"

func TestReaderReadsEveryOpcode(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once":       func(r io.Reader) io.Reader { return r },
		"byte by byte":  iotest.OneByteReader,
		"end with data": iotest.DataErrReader,
		"halves":        iotest.HalfReader,
	} {
		t.Run(name, func(t *testing.T) {
			b := file("REDIS0012", everything)
			r := NewReader(wrap(io.MultiReader(bytes.NewReader(b), strings.NewReader("what follows"))))
			lines, err := show(r)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{
				`2 "a" type 0 "\x01v" expire 0 idle -1 freq -1`,
				`2 "b" type 0 "\xc0\xff" expire 100000000000 idle -1 freq -1`,
				`2 "12345" type 0 "\xc3\x04\x03\x02abc" expire 6618611909121 idle -1 freq 7`,
				`2 "abcabc" type 4 "\x01\x01f\x80\x00\x00\x00\x01v" expire 0 idle 128 freq -1`,
				`65536 "i" type 2 "\x81\x00\x00\x00\x00\x00\x00\x00\x01\x01j" expire 0 idle -1 freq -1`,
			}
			if d := cmp.Diff(want, lines); d != "" {
				t.Error(d)
			}
			rest, err := io.ReadAll(r.Rest())
			if err != nil || string(rest) != "what follows" {
				t.Errorf("rest %q, %v", rest, err)
			}
			checkExtras(t, r, int64(len(b)))
		})
	}
}

func checkExtras(t *testing.T, r *Reader, size int64) {
	t.Helper()
	if d := cmp.Diff([]Aux{{"redis-ver", "7.0.0"}, {"ctime", "100000000"}}, r.Aux()); d != "" {
		t.Error(d)
	}
	if got := fmt.Sprintf("%q", r.ModuleAux()); got != `["\x05\x02\x01\x05\x01x\x01\x05\x02\a\x03abcd\x04abcdefgh\x00"]` {
		t.Error(got)
	}
	var code []string
	for _, f := range r.Functions() {
		c, err := f.Code()
		if err != nil {
			t.Error(err)
		}
		code = append(code, c)
	}
	if !slices.Equal(code, []string{"#!lua code", "#!lua name=n\ncode"}) {
		t.Errorf("%q", code)
	}
	if !r.Checksummed() || r.Offset() != size {
		t.Errorf("checksummed %v, offset %d of %d", r.Checksummed(), r.Offset(), size)
	}
}

func TestReaderHint(t *testing.T) {
	r := NewReader(bytes.NewReader(file("REDIS0011", "\xfe\x00\xfb\x02\x01\x00\x01a\x01v\x00\x01b\x01v\xfe\x03\x00\x01c\x01v")))
	var got []SizeHint
	for _, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Hint())
	}
	want := SizeHint{DB: 0, Keys: 2, Volatile: 1, Known: true}
	if !slices.Equal(got, []SizeHint{want, want, {DB: 3}}) {
		t.Errorf("%+v", got)
	}
}

func TestReaderSlotImport(t *testing.T) {
	r := NewReader(bytes.NewReader(file("VALKEY080", "\xf3\x03job\x02\x00\x05\x41\x00\x41\x10\x00\x01a\x01v")))
	lines, err := show(r)
	if err != nil || len(lines) != 1 || r.SlotImports() != 1 {
		t.Errorf("%v, %v, %d imports", lines, err, r.SlotImports())
	}
}

func TestReaderChecksum(t *testing.T) {
	good := file("REDIS0009", "\x00\x01k\x01v")
	unsummed := append(bytes.Clone(good[:len(good)-8]), make([]byte, 8)...)
	for name, c := range map[string]struct {
		b       []byte
		err     error
		checked bool
	}{
		"good":            {good, nil, true},
		"zero":            {unsummed, nil, false},
		"old without":     {file("REDIS0004", "\x00\x01k\x01v"), nil, false},
		"old has none":    {file("REDIS0005", "\x00\x01k\x01v"), nil, true},
		"valkey":          {file("VALKEY080", "\x00\x01k\x01v"), nil, true},
		"value flipped":   {bytes.Replace(good, []byte("\x01v"), []byte("\x01w"), 1), ErrChecksum, false},
		"header flipped":  {bytes.Replace(good, []byte("0009"), []byte("0008"), 1), ErrChecksum, false},
		"checksum absent": {good[:len(good)-8], ErrTruncated, false},
	} {
		r := NewReader(bytes.NewReader(c.b))
		if _, err := show(r); !errors.Is(err, c.err) || r.Checksummed() != c.checked {
			t.Errorf("%s: %v, checked %v", name, err, r.Checksummed())
		}
		if _, again := r.Next(); c.err != nil && !errors.Is(again, c.err) || c.err == nil && !errors.Is(again, io.EOF) {
			t.Errorf("%s: then %v", name, again)
		}
	}
}

func TestReaderErrors(t *testing.T) {
	ioErr := errors.New("disk on fire")
	for _, c := range []struct {
		name, header, content string
		err                   error
		offset                int64
		text                  string
	}{
		{"no magic", "SIDER0009", "", ErrMagic, 0, `"SIDER0009"`},
		{"bad version", "REDIS00x9", "", ErrMagic, 0, "names no version"},
		{"newer redis", "REDIS0013", "", ErrVersion, 0, "REDIS0013; REDIS0001 to REDIS0012 and VALKEY080 are read"},
		{"version 0", "REDIS0000", "", ErrVersion, 0, "REDIS0000"},
		{"newer valkey", "VALKEY081", "", ErrVersion, 0, "VALKEY081"},
		{"old valkey", "VALKEY011", "", ErrVersion, 0, "VALKEY011"},
		{"unknown type", "REDIS0012", "\x1a\x01k\x01v", ErrType, 12, "type 26"},
		{"gap in types", "REDIS0012", "\x08\x01k\x01v", ErrType, 12, "type 8"},
		{"old module", "REDIS0012", "\x06\x01k\x01v", ErrType, 12, "type 6"},
		{"redis type in valkey", "VALKEY080", "\x18\x01k\x01v", ErrType, 12, "type 24"},
		{"valkey opcode in redis", "REDIS0012", "\xf3\x01n\x00", ErrType, 10, "opcode 243"},
		{"bad length", "REDIS0011", "\x00\x82", ErrCorrupt, 10, "length encoding"},
		{"bad string encoding", "REDIS0011", "\x00\xc4", ErrCorrupt, 11, "string encoding"},
		{"string for length", "REDIS0011", "\xfe\xc0\x01", ErrCorrupt, 11, "where a length belongs"},
		{"database number", "REDIS0011", "\xfe\x80\xff\xff\xff\xff", ErrCorrupt, 15, "database number 4294967295"},
		{"bad key", "REDIS0011", "\x00\xc3\x02\x09\x00x\x01v", ErrCorrupt, 15, "LZF"},
		{"length of a petabyte", "REDIS0011", "\x00\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xff", ErrCorrupt, 21, "beyond any value"},
		{"count of a petabyte", "REDIS0011", "\x04\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xff", ErrCorrupt, 21, "more elements"},
		{"module field", "REDIS0011", "\x07\x01k\x05\x09", ErrCorrupt, 14, "module"},
	} {
		b := append([]byte(c.header), c.content...)
		_, err := show(NewReader(io.MultiReader(bytes.NewReader(b), iotest.ErrReader(ioErr))))
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, c.err) || e.Offset != c.offset || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	var v *VersionError
	if _, err := NewReader(strings.NewReader("REDIS0099")).Header(); !errors.As(err, &v) || v.Header.Version != 99 {
		t.Error(err)
	}
	_, err := show(NewReader(io.MultiReader(strings.NewReader("REDIS0009\x00"), iotest.ErrReader(ioErr))))
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ioErr) || errors.Is(err, ErrTruncated) || e.Offset != 10 {
		t.Error(err)
	}
	if _, err := show(NewReader(stuck{})); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

// trickle reads 64 KiB at a time, as from a socket.
type trickle struct{ r io.Reader }

func (t trickle) Read(p []byte) (int, error) { return t.r.Read(p[:min(len(p), 64<<10)]) }

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// TestLyingLengthsCostNothing: what a file claims is not allocated before it comes.
func TestLyingLengthsCostNothing(t *testing.T) {
	for _, content := range []string{
		"\x00\x01k\x81\x00\x00\x00\xff\xff\xff\xff\xff",                      // a string of a terabyte
		"\x00\x01k\xc3\x81\x00\x00\x00\xff\xff\xff\xff\xff\x05",              // compressed from
		"\x00\xc3\x05\x81\x00\x00\x00\xff\xff\xff\xff\xff12345",              // a key, compressed to
		"\x01\x01k\x81\x00\x00\x00\xff\xff\xff\xff\xff\x01a",                 // a list of as many items
		"\xfa\x81\x00\x00\x00\xff\xff\xff\xff\xff",                           // a field's name
		"\x0f\x01k\x81\x00\x00\x00\xff\xff\xff\xff\xff",                      // stream nodes
		"\x0f\x01k\x00\x00\x00\x00\x01\x01g\x00\x00\x80\xff\xff\xff\xff\x01", // pending entries
	} {
		b := append([]byte("REDIS0011"), content...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := show(NewReader(bytes.NewReader(b)))
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%q: no error", content)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
			t.Errorf("%q: %d bytes allocated", content, used)
		}
	}
}

// TestHugeValue: one that needs a larger window, which is given back after it.
func TestHugeValue(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, HeaderOf(11))
	if err != nil {
		t.Fatal(err)
	}
	huge := bytes.Repeat([]byte("0123456789"), 1_000_000)
	var want []string
	for i := range 5000 {
		v := bytes.Repeat([]byte("small"), 100)
		if i%2 == 1 && i < 5 {
			v = huge
		}
		k := fmt.Sprint("key", i)
		want = append(want, fmt.Sprint(k, len(v)))
		if err := w.Write(&Entry{Key: []byte(k), Value: AppendString(nil, v), Idle: -1, Freq: -1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := NewReader(trickle{&out})
	var got []string
	for e, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		v, err := Decode(e.Type, 11, e.Value)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(string(e.Key), len(v.Text)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if cap(r.c.buf) > shrinkAbove {
		t.Errorf("the window stays at %d bytes", cap(r.c.buf))
	}
}

// lateError gives an error once, together with the bytes up to a place, and goes on as if nothing were.
type lateError struct {
	r    *bytes.Reader
	at   int
	gone bool
}

func (l *lateError) Read(p []byte) (int, error) {
	if l.gone {
		return l.r.Read(p)
	}
	n, err := l.r.Read(p[:min(len(p), 64)])
	if l.at -= n; l.at <= 0 {
		l.gone = true
		return n, errors.New("trouble")
	}
	return n, err
}

func TestAnErrorThatComesWithBytesIsNotForgotten(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, HeaderOf(9))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SelectDB(0, 0, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		e := Entry{Key: fmt.Appendf(nil, "key%d", i), Type: TypeString, Value: AppendString(nil, []byte("some value")), Idle: -1, Freq: -1}
		if err := w.Write(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for at := 1; at < file.Len(); at += 50 {
		r := NewReader(&lateError{r: bytes.NewReader(file.Bytes()), at: at})
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r.Rest())
		}
		if err == nil || !strings.Contains(err.Error(), "trouble") {
			t.Errorf("trouble at byte %d: %v", at, err)
		}
	}
}
