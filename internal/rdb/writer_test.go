package rdb

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// TestWriterPassesEverythingOn: a file read and written again holds the same.
func TestWriterPassesEverythingOn(t *testing.T) {
	r := NewReader(bytes.NewReader(file("REDIS0012", everything)))
	var out bytes.Buffer
	w, err := NewWriter(&out, HeaderOf(12))
	if err != nil {
		t.Fatal(err)
	}
	first := true
	for e, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		if first {
			first = false
			for _, a := range r.Aux() {
				err = errors.Join(err, w.Aux(a.Name, a.Value))
			}
			for _, m := range r.ModuleAux() {
				err = errors.Join(err, w.ModuleAux(m))
			}
			for _, f := range r.Functions() {
				err = errors.Join(err, w.Function(f))
			}
			err = errors.Join(err, w.SelectDB(e.DB, r.Hint().Keys, r.Hint().Volatile))
		}
		if err := errors.Join(err, w.Write(e)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	want, err := show(NewReader(bytes.NewReader(file("REDIS0012", everything))))
	if err != nil {
		t.Fatal(err)
	}
	again := NewReader(bytes.NewReader(out.Bytes()))
	got, err := show(again)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	checkExtras(t, again, int64(out.Len()))
	if w.Offset() != int64(out.Len()) {
		t.Errorf("offset %d of %d", w.Offset(), out.Len())
	}
}

func TestWriterRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.SampledFrom([]int{1, 4, 5, 9, 12, 80}).Draw(t, "version")
		gen := rapid.Custom(func(t *rapid.T) Entry {
			e := Entry{
				DB:       rapid.SampledFrom([]int{0, 0, 1, 70000}).Draw(t, "db"),
				Key:      rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "key"),
				Value:    AppendString(nil, bytes.Repeat([]byte{7}, rapid.SampledFrom([]int{0, 1, 100, 20_000, 300_000}).Draw(t, "size"))),
				ExpireAt: rapid.SampledFrom([]int64{0, 1, 1 << 40, -5}).Draw(t, "expire"),
				Idle:     -1, Freq: -1,
			}
			if version >= 9 {
				e.Idle = rapid.SampledFrom([]int64{-1, 0, 1 << 33}).Draw(t, "idle")
				e.Freq = rapid.IntRange(-1, 255).Draw(t, "freq")
			}
			return e
		})
		want := rapid.SliceOfN(gen, 0, 20).Draw(t, "entries")
		var out bytes.Buffer
		w, err := NewWriter(&out, HeaderOf(version))
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if err := w.Write(&want[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r := NewReader(&out)
		for e, err := range r.Entries() {
			if err != nil {
				t.Fatal(err)
			}
			if len(want) == 0 {
				t.Fatal("more entries than written")
			}
			if !bytes.Equal(want[0].Value, e.Value) {
				t.Fatalf("%q: another value", e.Key)
			}
			got := *e
			got.Value = want[0].Value
			if d := cmp.Diff(want[0], got, cmpopts.IgnoreFields(Entry{}, "Value", "Version")); d != "" {
				t.Fatal(d)
			}
			want = want[1:]
		}
		if len(want) > 0 {
			t.Fatalf("%d entries less than written", len(want))
		}
	})
}

func TestWriterRefuses(t *testing.T) {
	for _, h := range []Header{{Version: 0}, {Version: 13}, {Valkey: true, Version: 11}, {Version: 80}} {
		var v *VersionError
		if _, err := NewWriter(io.Discard, h); !errors.As(err, &v) || v.Header != h {
			t.Errorf("%s: %v", h, err)
		}
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, HeaderOf(9))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&Entry{Type: TypeQuicklist2, Value: []byte{0}}); !errors.Is(err, ErrType) {
		t.Error(err)
	}
	if err := w.Function(FunctionLibrary{Raw: []byte{0}}); err == nil || !strings.Contains(err.Error(), "version 10") {
		t.Error(err)
	}
	if err := w.SelectDB(-1, 0, 0); err == nil {
		t.Error("database -1 is written")
	}
	// What was refused has left no trace.
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if lines, err := show(NewReader(&out)); err != nil || len(lines) > 0 {
		t.Errorf("%v, %v", lines, err)
	}
	if err := w.Write(&Entry{Idle: -1, Freq: -1, Value: []byte{0}}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}

type failing struct{ after int }

var errFull = errors.New("disk full")

func (f *failing) Write(p []byte) (int, error) {
	n := min(len(p), f.after)
	if f.after -= n; n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestWriterReportsFailure(t *testing.T) {
	for _, after := range []int{0, 100, 300_000, 2_000_000} {
		w, err := NewWriter(&failing{after}, HeaderOf(9))
		if err != nil {
			t.Fatal(err)
		}
		e := Entry{Key: []byte("k"), Value: AppendString(nil, make([]byte, 100_000)), Idle: -1, Freq: -1}
		for range 30 {
			if err = w.Write(&e); err != nil {
				break
			}
		}
		if !errors.Is(err, errFull) {
			t.Errorf("after %d bytes: %v", after, err)
		}
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("after %d bytes, Close: %v", after, err)
		}
	}
}

func TestDump(t *testing.T) {
	value := AppendString(nil, []byte("hello"))
	p := AppendDump([]byte("prefix"), TypeString, value, 80)[6:]
	d, err := ParseDump(p)
	if err != nil || d.Type != TypeString || d.Version != 80 || !bytes.Equal(d.Value, value) {
		t.Fatalf("%+v, %v", d, err)
	}
	flipped := bytes.Clone(p)
	flipped[2] ^= 1
	zeroed := bytes.Clone(p)
	clear(zeroed[len(p)-8:])
	for name, c := range map[string]struct {
		p   []byte
		err error
	}{
		"flipped": {flipped, ErrChecksum}, "without checksum": {zeroed, ErrChecksum}, "short": {p[:10], ErrTruncated}, "empty": {nil, ErrTruncated},
		"newer":  {AppendDump(nil, TypeString, value, 13), ErrVersion},
		"valkey": {AppendDump(nil, TypeString, value, 81), ErrVersion},
	} {
		if _, err := ParseDump(c.p); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckValue(TypeString, 9, append(value, 0)); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func TestSupports(t *testing.T) {
	for _, c := range []struct {
		version     int
		first, last byte // a run of supported types, ending there
	}{{9, 9, 15}, {10, 9, 19}, {11, 9, 21}, {80, 9, 22}} {
		for typ := c.first; typ <= c.last; typ++ {
			if !Supports(c.version, typ) {
				t.Errorf("version %d lacks type %d", c.version, typ)
			}
		}
		for typ := int(c.last) + 1; typ < 256; typ++ {
			if Supports(c.version, byte(typ)) {
				t.Errorf("version %d has type %d", c.version, typ)
			}
		}
	}
	for typ, want := range map[byte]bool{6: false, 7: true, 8: false, 22: false, 23: false, 24: true, 25: true, 26: false, 255: false} {
		if Supports(12, typ) != want {
			t.Errorf("version 12, type %d: %v", typ, !want)
		}
	}
	if ClassOf(TypeHash2) != ClassHash || ClassOf(8) != ClassUnknown || ClassOf(99) != ClassUnknown || Class(99).String() != "unknown" {
		t.Error("classes")
	}
}
