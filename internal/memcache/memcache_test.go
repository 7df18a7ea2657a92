package memcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast.dev/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func server(m *testkit.Memcached) *Server { return &Server{Network: "unix", Addr: m.Socket} }

// contents are the items of a server by key.
func contents(t *testing.T, s *Server) map[string]Item {
	t.Helper()
	out := map[string]Item{}
	for i, err := range Read(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		k := *i
		k.Value = bytes.Clone(i.Value)
		if _, twice := out[string(i.Key)]; twice {
			t.Errorf("%q came twice", i.Key)
		}
		out[string(i.Key)] = k
	}
	return out
}

// write writes items, and returns how they fared.
func write(t *testing.T, s *Server, mode Mode, items []Item) *Writer {
	t.Helper()
	w, err := NewWriter(t.Context(), s, mode)
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		if err := w.Write(t.Context(), &items[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// sample are items of every kind.
func sample() []Item {
	soon := time.Now().Truncate(time.Second).Add(time.Hour)
	out := []Item{
		{Key: []byte("empty")},
		{Key: []byte("flags"), Value: []byte("x"), Flags: 1<<32 - 1},
		{Key: []byte("soon"), Value: []byte("goes"), ExpireAt: soon},
		{Key: []byte("late"), Value: []byte("goes late"), ExpireAt: soon.AddDate(0, 3, 0)},
		{Key: []byte("a b\x00\n\x7f\xff"), Value: []byte("a key that is no text")},
		{Key: []byte("100%25|é"), Value: []byte("END\r\nVA 1\r\n")},
		{Key: bytes.Repeat([]byte("k"), longestKey), Value: bytes.Repeat([]byte("\r\n"), 1000)},
		{Key: []byte("large"), Value: bytes.Repeat([]byte("abcdefg\n"), 120<<10)},
	}
	for i := range 50000 {
		out = append(out, Item{Key: fmt.Appendf(nil, "key:%d", i), Value: fmt.Appendf(nil, "value %d", i), Flags: uint32(i)})
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	old := server(testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[0]), "-m", "256"))
	newer := server(testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[1]), "-m", "256"))
	want := sample()
	if w := write(t, old, Set, want); w.Stored != int64(len(want)) || w.Refused > 0 {
		t.Fatalf("%d of %d stored, refused: %v", w.Stored, len(want), w.Refusals())
	}
	first := contents(t, old)
	equal(t, want, first)
	var again []Item
	for _, k := range slices.Sorted(maps.Keys(first)) {
		again = append(again, first[k])
	}
	if w := write(t, newer, Set, again); w.Stored != int64(len(want)) || !w.KeepsCAS {
		t.Fatalf("%d of %d stored, refused: %v", w.Stored, len(want), w.Refusals())
	}
	second := contents(t, newer)
	equal(t, want, second)
	for k, i := range second {
		if i.CAS != first[k].CAS {
			t.Fatalf("%q has the number %d and had %d", k, i.CAS, first[k].CAS)
		}
	}
}

func equal(t *testing.T, want []Item, got map[string]Item) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d items, wanted %d", len(got), len(want))
	}
	for _, w := range want {
		g, ok := got[string(w.Key)]
		switch d := g.ExpireAt.Sub(w.ExpireAt); {
		case !ok:
			t.Fatalf("%q is missing", w.Key)
		case !bytes.Equal(g.Value, w.Value), g.Flags != w.Flags:
			t.Fatalf("%q is %.50q with %d, wanted %.50q with %d", w.Key, g.Value, g.Flags, w.Value, w.Flags)
		case g.ExpireAt.IsZero() != w.ExpireAt.IsZero(), d < -2*time.Second, d > 2*time.Second:
			t.Fatalf("%q goes at %v, wanted %v", w.Key, g.ExpireAt, w.ExpireAt)
		}
	}
}

// TestAdd: what is there already is left, and told.
func TestAdd(t *testing.T) {
	for _, line := range testkit.MemcachedLines {
		s := server(testkit.StartMemcached(t, testkit.Engine(t, line), "-I", "1m"))
		write(t, s, Set, []Item{{Key: []byte("a"), Value: []byte("newer")}})
		w := write(t, s, Add, []Item{
			{Key: []byte("a"), Value: []byte("older")},
			{Key: []byte("b"), Value: []byte("b")},
			{Key: []byte("gone"), Value: []byte("x"), ExpireAt: time.Now().Add(-time.Minute)},
			{Key: []byte("huge"), Value: make([]byte, 2<<20)},
			{Key: make([]byte, longestKey+1)},
		})
		if w.Stored != 1 || w.Left != 1 || w.Expired != 1 || w.Refused != 2 {
			t.Errorf("%s: stored %d, left %d, expired %d, refused %d: %q", line, w.Stored, w.Left, w.Expired, w.Refused, w.Refusals())
		}
		got := contents(t, s)
		if len(got) != 2 || string(got["a"].Value) != "newer" {
			t.Errorf("%s: there is %v", line, got)
		}
	}
}

func TestPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("ann:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := server(testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[1]), "-Y", file))
	for _, c := range []struct{ user, password string }{{"", ""}, {"ann", "wrong"}} {
		s.User, s.Password = c.user, c.password
		if _, err := NewWriter(t.Context(), s, Set); !errors.Is(err, ErrLogin) || c.password != "" && strings.Contains(err.Error(), c.password) {
			t.Errorf("%q: %v", c, err)
		}
	}
	s.User, s.Password = "ann", "secret"
	write(t, s, Set, []Item{{Key: []byte("a"), Value: []byte("1")}})
	if got := contents(t, s); len(got) != 1 {
		t.Errorf("there is %v", got)
	}
}

// TestKilled: a server that dies in the middle is an error, never less than everything in silence.
func TestKilled(t *testing.T) {
	m := testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[0]), "-m", "256")
	write(t, server(m), Set, sample())
	n, failed := 0, false
	for _, err := range Read(t.Context(), server(m)) {
		if err != nil {
			failed = true
			break
		}
		if n++; n == 1000 {
			m.Kill()
		}
	}
	if !failed {
		t.Errorf("%d items and no error", n)
	}
}

// TestBrokenOff: whoever has seen enough leaves nothing running.
func TestBrokenOff(t *testing.T) {
	s := server(testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[0]), "-m", "256"))
	write(t, s, Set, sample())
	n := 0
	for _, err := range Read(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 700 {
			break
		}
	}
	if got := len(contents(t, s)); got != len(sample()) {
		t.Errorf("afterwards there are %d items", got)
	}
}

// TestHostile: a server that says anything at all is an error, soon.
func TestHostile(t *testing.T) {
	for _, said := range []string{
		"", "\r\n", "VERSION x\r\n", "VERSION 1.4.5\r\n", "VERSION 1.6.18\r\nfoo\r\n", "VERSION 1.6.18\r\nkey=%zz exp=0\r\n",
		"VERSION 1.6.18\r\nkey=a exp=0\r\nkey=b", "VERSION 1.6.18\r\n" + strings.Repeat("x", 1<<20),
	} {
		l := testkit.Listen(t)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte(said))
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = c.Read(make([]byte, 4096))
				_ = c.Close()
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var last error
		for _, err := range Read(ctx, &Server{Network: "tcp", Addr: l.Addr().String()}) {
			last = err
		}
		if last == nil || ctx.Err() != nil {
			t.Errorf("%.40q: %v", said, last)
		}
		cancel()
		_ = l.Close()
		<-ended
	}
}

// TestRing: keys go where the clients have them, and few move when a server comes.
func TestRing(t *testing.T) {
	three := []string{"10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"}
	for _, d := range Distributions {
		r, err := NewRing(d, three)
		if err != nil {
			t.Fatal(err)
		}
		bigger, err := NewRing(d, append(three, "10.0.0.4:11211"))
		if err != nil {
			t.Fatal(err)
		}
		share, moved := [4]int{}, 0
		const n = 40000
		for i := range n {
			k := fmt.Appendf(nil, "key:%d", i)
			share[r.Pick(k)]++
			if r.Pick(k) != bigger.Pick(k) {
				moved++
			}
		}
		for i := range 3 {
			if share[i] < n/5 || share[i] > n/2 {
				t.Errorf("%s: the shares are %v", d, share)
			}
		}
		if d != Modula && (moved < n/8 || moved > n*3/8) {
			t.Errorf("%s: %d of %d keys move to a fourth server", d, moved, n)
		}
	}
	if _, err := NewRing("fair", three); err == nil {
		t.Error("any distribution is taken")
	}
}

func FuzzDumpedKey(f *testing.F) {
	f.Add("key=a%20b exp=-1 la=1 cas=2 fetch=no cls=1 size=64")
	f.Fuzz(func(t *testing.T, line string) {
		if k, err := dumpedKey(line); err == nil && (len(k) == 0 || len(k) > longestKey) {
			t.Errorf("%q is the key %q", line, k)
		}
	})
}
