package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// gather is plain for replies of which strings may have been spilled.
func gather(t interface{ Fatal(...any) }, r *Reply) any {
	switch f := r.Spilled(); {
	case f != nil:
		if r.Bytes != nil {
			t.Fatal("a string is in memory and in the file")
		}
		b, err := io.ReadAll(f)
		if err != nil || int64(len(b)) != f.Size() {
			t.Fatal(len(b), f.Size(), err)
		}
		return "$" + string(b)
	case len(r.Elems) > 0:
		out := []any{string(r.Kind)}
		for i := range r.Elems {
			out = append(out, gather(t, &r.Elems[i]))
		}
		return out
	}
	return plain(r)
}

// spilledIn counts the strings of a reply that are in the file.
func spilledIn(r *Reply) (n int) {
	if r.Spilled() != nil {
		n++
	}
	for i := range r.Elems {
		n += spilledIn(&r.Elems[i])
	}
	return n
}

func bulk(n int, c byte) string {
	return fmt.Sprintf("$%d\r\n%s\r\n", n, strings.Repeat(string(c), n))
}

// Whatever is spilled, and however the stream is split, replies are what they are
// without it, the ones before and behind too.
func TestSpillProperty(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var wire bytes.Buffer
		sizes := rapid.SampledFrom([]int{0, 1, 100, spillFrom - 1, spillFrom, 10_000, readBuffer - 3, readBuffer, 3 * readBuffer, spillBuffer + 7})
		for range rapid.IntRange(1, 5).Draw(rt, "replies") {
			n := rapid.IntRange(0, 6).Draw(rt, "elements")
			fmt.Fprintf(&wire, "%s%d\r\n", rapid.SampledFrom([]string{"*", "~", ">"}).Draw(rt, "kind"), n+2)
			for i := range n {
				wire.WriteString(bulk(sizes.Draw(rt, "size"), byte('a'+i)))
			}
			wire.WriteString(":7\r\n*2\r\n" + bulk(sizes.Draw(rt, "nested"), 'z') + "$-1\r\n")
		}
		limit := rapid.SampledFrom([]int{1, 5000, 70_000, 300_000}).Draw(rt, "limit")
		at, split := 0, rapid.SliceOfN(rapid.IntRange(1, 9000), 1, 20).Draw(rt, "split")
		src := readFunc(func(p []byte) (int, error) {
			at++
			n, err := wire.Read(p[:min(len(p), split[at%len(split)])])
			return n, err
		})
		want := NewReader(bytes.NewReader(bytes.Clone(wire.Bytes())))
		got := NewReader(src)
		got.SpillAbove(limit, dir)
		defer got.Close()
		for {
			w, werr := want.Next()
			g, gerr := got.Next()
			if !errors.Is(gerr, werr) {
				rt.Fatal(gerr, werr)
			}
			if werr != nil {
				return
			}
			if d := cmp.Diff(gather(rt, w), gather(rt, g)); d != "" {
				rt.Fatalf("with %d spilled (-want +got):\n%.2000s", spilledIn(g), d)
			}
			if g.Kind == Push && spilledIn(g) > 0 {
				rt.Fatal("a push was spilled")
			}
		}
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// What goes to the file takes no memory, and the file's room is given back.
func TestSpillMemory(t *testing.T) {
	const size = 64 << 20
	head := fmt.Sprintf("*2\r\n$%d\r\n", size)
	src := io.MultiReader(strings.NewReader(head), io.LimitReader(neverEnding("abcdefgh"), size),
		strings.NewReader("\r\n"+fmt.Sprintf("$%d\r\n", size)), io.LimitReader(neverEnding("abcdefgh"), size), strings.NewReader("\r\n+OK\r\n"))
	r := NewReader(src)
	r.SpillAbove(1<<20, t.TempDir())
	defer r.Close()
	used := allocated(func() {
		rep, err := r.Next()
		if err != nil || spilledIn(rep) != 2 {
			t.Fatal(rep, err)
		}
	})
	if used > 2<<20 {
		t.Errorf("%d bytes of memory for two strings of %d", used, size)
	}
	if st, err := r.spill.file.Stat(); err != nil || st.Size() != 2*size || st.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", st, err)
	}
	if rep, err := r.Next(); err != nil || string(rep.Bytes) != "OK" {
		t.Fatal(rep, err)
	}
	if st, err := r.spill.file.Stat(); err != nil || st.Size() != 0 {
		t.Errorf("the file after the next reply: %v, %v", st, err)
	}
}

// A length that nothing comes of, or that is too much, costs nothing.
func TestSpillHostile(t *testing.T) {
	limits := Limits{Bytes: 1 << 20, Elems: 100, Depth: 4}
	for name, tc := range map[string]struct {
		wire string
		want error
	}{
		"cut":           {"$900000\r\nabc", io.ErrUnexpectedEOF},
		"cut at end":    {"$5000\r\n" + strings.Repeat("x", 5000) + "\r", io.ErrUnexpectedEOF},
		"no end":        {"$5000\r\n" + strings.Repeat("x", 5002) + "\r\n", ErrProtocol},
		"too long":      {"$1048577\r\n", ErrProtocol},
		"much together": {"*3\r\n" + strings.Repeat(bulk(600_000, 'x'), 3), ErrProtocol},
	} {
		for _, src := range []io.Reader{strings.NewReader(tc.wire), iotest.OneByteReader(strings.NewReader(tc.wire))} {
			dir := t.TempDir()
			r := NewReaderLimits(src, limits)
			r.SpillAbove(1000, dir)
			if _, err := r.Next(); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v", name, err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%s: %v, %v is left", name, left, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Where nothing can be written, that is said, with what to do.
func TestSpillNowhere(t *testing.T) {
	r := NewReader(strings.NewReader(bulk(10_000, 'x')))
	r.SpillAbove(1000, t.TempDir()+"/none")
	_, err := r.Next()
	if !errors.As(err, new(*SpillError)) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "TMPDIR") {
		t.Error(err)
	}
}

// A file that takes no more is an error that tells so: here one that was closed
// under the reader, as when the connection is closed by another goroutine.
func TestSpillFails(t *testing.T) {
	wire := bulk(10_000, 'x')
	r := NewReader(strings.NewReader(wire + wire + "+OK\r\n"))
	r.SpillAbove(1000, t.TempDir())
	rep, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(rep.Spilled()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("reading what is gone gave %v", err)
	}
	if _, err := r.Next(); !errors.As(err, new(*SpillError)) || !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// allocated is how many bytes f takes of memory, given back or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
