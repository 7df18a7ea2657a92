package rdb_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"holdfast.dev/internal/rdb"
)

// seeds are files of real engines and of the writer.
func seeds(f *testing.F) [][]byte {
	var out [][]byte
	for _, b := range keptFiles(f) {
		out = append(out, b)
	}
	var b bytes.Buffer
	w, err := rdb.NewWriter(&b, rdb.HeaderOf(9))
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range makeValues() {
		if len(m.value) < 500 {
			if err := w.Write(&rdb.Entry{Key: []byte(m.key), Type: m.typ, Value: m.value, Idle: 3, Freq: 4, ExpireAt: 5}); err != nil {
				f.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	return append(out, b.Bytes())
}

// unsummed replaces a file's checksum by zero, so that fuzzing is not stopped by it.
func unsummed(b []byte) []byte {
	out := bytes.Clone(b)
	clear(out[max(0, len(out)-8):])
	return out
}

// FuzzReader: any input ends in entries and io.EOF or in an *Error with an offset
// inside; each entry's value is whole, and written again it is read the same.
func FuzzReader(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
		f.Add(unsummed(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := rdb.NewReader(bytes.NewReader(b))
		h, err := r.Header()
		var out bytes.Buffer
		var w *rdb.Writer
		if err == nil {
			if w, err = rdb.NewWriter(&out, h); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		streamed := rdb.NewReader(iotest.HalfReader(bytes.NewReader(b)))
		streamed.StreamAbove(40)
		for err == nil {
			var e *rdb.Entry
			if e, err = r.Next(); err != nil {
				checkStreamed(t, streamed, nil, err)
				break
			}
			n++
			checkStreamed(t, streamed, e, nil)
			if err := rdb.CheckValue(e.Type, h.Version, e.Value); err != nil {
				t.Fatalf("entry with a value that is not whole: %v", err)
			}
			if rdb.Supports(h.Version, e.Type) {
				if err := w.Write(e); err != nil {
					t.Fatal(err)
				}
			} else {
				n--
			}
		}
		var e *rdb.Error
		if !errors.Is(err, io.EOF) && (!errors.As(err, &e) || e.Offset < 0 || e.Offset > int64(len(b))) {
			t.Fatal(err)
		}
		for _, fn := range r.Functions() {
			_, _ = fn.Code()
		}
		if w == nil {
			return
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		again := rdb.NewReader(&out)
		for _, err := range again.Entries() {
			if err != nil {
				t.Fatalf("what was written is not read: %v", err)
			}
			n--
		}
		if n != 0 {
			t.Fatalf("%d entries lost", n)
		}
	})
}

// checkStreamed: the same file read with bodies comes to the same entry, or the same
// error, if not sooner.
func checkStreamed(t *testing.T, r *rdb.Reader, want *rdb.Entry, wantErr error) {
	e, err := r.Next()
	if want == nil {
		if err == nil { // what is wrong is in the value
			if _, err = io.Copy(io.Discard, e.Body); err == nil {
				t.Fatalf("no error, but at once %v", wantErr)
			}
		}
		if errors.Is(err, io.EOF) != errors.Is(wantErr, io.EOF) {
			t.Fatalf("%v, but at once %v", err, wantErr)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	value := e.Value
	if e.Body != nil {
		if value, err = io.ReadAll(e.Body); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(value, want.Value) || !bytes.Equal(e.Key, want.Key) || e.Type != want.Type || e.DB != want.DB || e.ExpireAt != want.ExpireAt {
		t.Fatalf("%+v with %q, but at once %+v", e, value, want)
	}
}

// FuzzDecode: any bytes as a value of any type decode or fail; what decodes is
// whole by the boundary walk too, and a walk without an error yields it twice alike.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds(f) {
		r := rdb.NewReader(bytes.NewReader(s))
		h, err := r.Header()
		if err != nil {
			f.Fatal(err)
		}
		for e, err := range r.Entries() {
			if err != nil {
				f.Fatal(err)
			}
			f.Add(e.Type, h.Version >= 80, bytes.Clone(e.Value))
		}
	}
	f.Fuzz(func(t *testing.T, typ byte, valkey bool, value []byte) {
		version := 12
		if valkey {
			version = 80
		}
		var d rdb.Decoder
		n := 0
		size := 0
		err := d.Walk(typ, version, value, func(e *rdb.Element) error {
			n++
			size += len(e.A) + len(e.B)
			for _, p := range e.Pairs {
				size += len(p)
			}
			if size > 64<<20 {
				return errBig
			}
			return nil
		})
		streamed := 0
		var in rdb.Decoder
		bodyErr := in.WalkBody(typ, version, iotest.HalfReader(bytes.NewReader(value)), func(e *rdb.Element) error {
			if e.Kind == rdb.KindPart {
				return nil
			}
			if streamed++; streamed > n && err != nil {
				return errBig
			}
			return nil
		})
		if (bodyErr == nil) != (err == nil) || err == nil && streamed != n {
			t.Fatalf("%d elements and %v, as it comes %d and %v", n, err, streamed, bodyErr)
		}
		if err == nil {
			if err := rdb.CheckValue(typ, version, value); err != nil {
				t.Fatalf("decodes, but: %v", err)
			}
			if _, err := rdb.Decode(typ, version, value); err != nil {
				t.Fatal(err)
			}
			return
		}
		var e *rdb.Error
		if !errors.Is(err, errBig) && (!errors.As(err, &e) || e.Offset < 0 || e.Offset > int64(len(value))) {
			t.Fatal(err)
		}
	})
}

var errBig = errors.New("big enough")

// FuzzParseDump: a payload is taken apart and put together again the same, or refused.
func FuzzParseDump(f *testing.F) {
	f.Add(rdb.AppendDump(nil, rdb.TypeString, rdb.AppendString(nil, []byte("v")), 9))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := rdb.ParseDump(b)
		if err != nil {
			return
		}
		if again := rdb.AppendDump(nil, d.Type, d.Value, d.Version); !bytes.Equal(again, b) {
			t.Fatal("not the same again")
		}
	})
}
