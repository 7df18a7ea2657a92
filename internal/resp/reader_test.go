package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// plain is a reply as a comparable value.
func plain(r *Reply) any {
	switch r.Kind {
	case Null:
		return nil
	case Int, Bool:
		return fmt.Sprintf("%c%d", r.Kind, r.Int)
	case Array, Set, Push, Map:
		out := []any{string(r.Kind)}
		for i := range r.Elems {
			out = append(out, plain(&r.Elems[i]))
		}
		return out
	}
	return string(r.Kind) + string(r.Bytes)
}

var replies = []struct {
	name, wire string
	want       any
}{
	{"simple", "+OK\r\n", "+OK"},
	{"error", "-ERR no such thing\r\n", "-ERR no such thing"},
	{"integer", ":-9223372036854775808\r\n", ":-9223372036854775808"},
	{"largest", ":9223372036854775807\r\n", ":9223372036854775807"},
	{"bulk", "$5\r\nab\r\nc\r\n", "$ab\r\nc"},
	{"empty bulk", "$0\r\n\r\n", "$"},
	{"null bulk", "$-1\r\n", nil},
	{"null array", "*-1\r\n", nil},
	{"null", "_\r\n", nil},
	{"empty array", "*0\r\n", []any{"*"}},
	{"array", "*3\r\n$1\r\na\r\n:7\r\n$-1\r\n", []any{"*", "$a", ":7", nil}},
	{
		"nested", "*2\r\n*2\r\n$1\r\na\r\n*1\r\n+b\r\n*2\r\n*1\r\n$1\r\nc\r\n$1\r\nd\r\n",
		[]any{"*", []any{"*", "$a", []any{"*", "+b"}}, []any{"*", []any{"*", "$c"}, "$d"}},
	},
	{"map", "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n", []any{"%", "+a", ":1", "+b", []any{"*", nil}}},
	{"set", "~2\r\n+a\r\n+b\r\n", []any{"~", "+a", "+b"}},
	{"push", ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n", []any{">", "+invalidate", []any{"*", "$k"}}},
	{"double", ",-1.5e3\r\n", ",-1.5e3"},
	{"true", "#t\r\n", "#1"},
	{"false", "#f\r\n", "#0"},
	{"big number", "(12345678901234567890123\r\n", "(12345678901234567890123"},
	{"verbatim", "=8\r\ntxt:some\r\n", "=some"},
	{"bulk error", "!5\r\nERR x\r\n", "!ERR x"},
	{"attribute before", "|1\r\n+ttl\r\n:3\r\n+OK\r\n", "+OK"},
	{"attribute inside", "*2\r\n|1\r\n+a\r\n*1\r\n:1\r\n+x\r\n*1\r\n+y\r\n", []any{"*", "+x", []any{"*", "+y"}}},
}

func TestReaderKinds(t *testing.T) {
	for _, tc := range replies {
		t.Run(tc.name, func(t *testing.T) {
			for name, src := range map[string]io.Reader{
				"whole": strings.NewReader(tc.wire), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.wire)),
				"with the end": iotest.DataErrReader(strings.NewReader(tc.wire)),
			} {
				r := NewReader(src)
				got, err := r.Next()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if d := cmp.Diff(tc.want, plain(got)); d != "" {
					t.Errorf("%s (-want +got):\n%s", name, d)
				}
				if _, err := r.Next(); !errors.Is(err, io.EOF) {
					t.Errorf("%s: after it came %v", name, err)
				}
			}
		})
	}
}

// Every proper beginning of a reply is an unexpected end, never a reply.
func TestReaderTruncated(t *testing.T) {
	for _, tc := range replies {
		for n := 1; n < len(tc.wire); n++ {
			_, err := NewReader(strings.NewReader(tc.wire[:n])).Next()
			between := tc.name == "attribute before" && errors.Is(err, io.EOF)
			if !between && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q gave %v", tc.wire[:n], err)
			}
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	for _, wire := range []string{
		"\r\n", "x\r\n", "+OK\n", ":\r\n", ":1x\r\n", ":--1\r\n", ":9223372036854775808\r\n", ":99999999999999999999999\r\n",
		"$-2\r\n", "$?\r\n", "$3\r\nabcd\r\n", "$99999999999999\r\n", "*-2\r\n", "*99999999\r\n", "%-1\r\n", "#x\r\n", "=3\r\nabc\r\n",
		strings.Repeat("*1\r\n", 17) + ":1\r\n", "*1000000\r\n" + strings.Repeat("*1000000\r\n", 15),
		"+" + strings.Repeat("x", maxLine+2*readBuffer) + "\r\n",
	} {
		r := NewReaderLimits(io.MultiReader(strings.NewReader(wire), neverEnding("*1\r\n:1\r\n")), DefaultLimits)
		if _, err := r.Next(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%.60q gave %v", wire, err)
		}
	}
}

type repeating struct {
	text string
	at   int
}

func neverEnding(text string) io.Reader { return &repeating{text: text} }

func (r *repeating) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at%len(r.text)]
		r.at++
	}
	return len(p), nil
}

// A claimed length takes no memory before the bytes are there.
func TestReaderClaimsCostNothing(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, wire := range []string{"$4000000000\r\nabc", "*1000000\r\n:1\r\n", "%1000000\r\n", "*1000\r\n*1000\r\n*1000\r\n$1000000000\r\n"} {
		if _, err := NewReader(strings.NewReader(wire)).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q gave %v", wire, err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were allocated for claims", n)
	}
}

// build makes a random reply: its wire form and what it must be read as.
func build(t *rapid.T, depth int) (string, any) {
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if depth == 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		n := rapid.Int64().Draw(t, "n")
		return fmt.Sprintf(":%d\r\n", n), ":" + strconv.FormatInt(n, 10)
	case 1:
		return "$-1\r\n", nil
	case 2:
		s := rapid.StringMatching(`[a-z ]{0,30}`).Draw(t, "s")
		return "+" + s + "\r\n", "+" + s
	case 3:
		b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "b")
		if rapid.IntRange(0, 20).Draw(t, "large") == 0 {
			b = bytes.Repeat(append(b, 'x'), 3000)
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(b), b), "$" + string(b)
	}
	n := rapid.IntRange(0, 6).Draw(t, "len")
	wire, want := fmt.Sprintf("*%d\r\n", n), []any{"*"}
	for range n {
		w, v := build(t, depth-1)
		wire += w
		want = append(want, v)
	}
	return wire, want
}

// chunks hands out random pieces.
type chunks struct {
	rest []byte
	t    *rapid.T
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := min(rapid.IntRange(1, 100_000).Draw(c.t, "chunk"), len(c.rest), len(p))
	copy(p, c.rest[:n])
	c.rest = c.rest[n:]
	return n, nil
}

// Replies come out as they went in, however they are cut on the way.
func TestReaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wire strings.Builder
		var want []any
		for range rapid.IntRange(1, 20).Draw(t, "replies") {
			w, v := build(t, 4)
			wire.WriteString(w)
			want = append(want, v)
		}
		r := NewReader(&chunks{[]byte(wire.String()), t})
		for i, w := range want {
			got, err := r.Next()
			if err != nil {
				t.Fatalf("reply %d: %v", i, err)
			}
			if d := cmp.Diff(w, plain(got)); d != "" {
				t.Fatalf("reply %d (-want +got):\n%s", i, d)
			}
		}
	})
}

// The buffer that a large reply needed is given back.
func TestReaderShrinks(t *testing.T) {
	large := "$8000000\r\n" + strings.Repeat("x", 8000000) + "\r\n"
	r := NewReader(io.MultiReader(strings.NewReader(large), neverEnding("+OK\r\n")))
	for range 2_000_000 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.buf) > keepBuffer {
		t.Errorf("the buffer still has %d bytes", len(r.buf))
	}
}

func FuzzReader(f *testing.F) {
	for _, tc := range replies {
		f.Add([]byte(tc.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReaderLimits(bytes.NewReader(b), Limits{Bytes: 1 << 20, Elems: 1000, Depth: 8})
		for {
			got, err := r.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrProtocol) {
					t.Fatalf("unexpected kind of error: %v", err)
				}
				return
			}
			plain(got)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	key, value := []byte("key:000000000001"), bytes.Repeat([]byte("v"), 100)
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		buf = AppendArray(buf[:0], 4)
		buf = AppendString(buf, "RESTORE")
		buf = AppendBulk(buf, key)
		buf = AppendInt(buf, 1_700_000_000_000)
		buf = AppendBulk(buf, value)
	}); n > 0 {
		t.Errorf("encoding allocates %g times", n)
	}
	r := NewReader(neverEnding("*2\r\n$3\r\nabc\r\n*2\r\n:1\r\n$-1\r\n$10\r\n0123456789\r\n+OK\r\n"))
	if n := testing.AllocsPerRun(20_000, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("reading allocates %g times", n)
	}
}

func BenchmarkAppendRestore(b *testing.B) {
	key, value := []byte("key:000000000001"), bytes.Repeat([]byte("v"), 111)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendArray(buf[:0], 6)
		buf = AppendString(buf, "RESTORE")
		buf = AppendBulk(buf, key)
		buf = AppendInt(buf, 1_700_000_000_000)
		buf = AppendBulk(buf, value)
		buf = AppendString(buf, "ABSTTL")
		buf = AppendString(buf, "REPLACE")
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkReader(b *testing.B) {
	for name, wire := range map[string]string{
		"OK": "+OK\r\n", "bulk100": "$100\r\n" + strings.Repeat("x", 100) + "\r\n",
		"exec16": "*32\r\n" + strings.Repeat("$100\r\n"+strings.Repeat("x", 100)+"\r\n:-1\r\n", 16),
	} {
		b.Run(name, func(b *testing.B) {
			r := NewReader(bytes.NewReader(nil))
			src := bytes.NewReader([]byte(strings.Repeat(wire, 1+(1<<20)/len(wire))))
			r.src = src
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := r.Next()
				if errors.Is(err, io.EOF) {
					src.Seek(0, io.SeekStart)
					_, err = r.Next()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
