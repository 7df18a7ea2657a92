package memcache

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// these is an end of some items, as a file has them.
func these(items ...Item) End {
	return End{Items: func(context.Context) iter.Seq2[*Item, error] {
		return func(yield func(*Item, error) bool) {
			for i := range items {
				if !yield(&items[i], nil) {
					return
				}
			}
		}
	}}
}

func of(servers ...*Server) End {
	return End{Servers: servers, Items: func(ctx context.Context) iter.Seq2[*Item, error] { return ReadAll(ctx, servers, nil) }}
}

func sumsOf(t *testing.T, e End) *Sums {
	t.Helper()
	s := &Sums{}
	for i, err := range e.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		s.Add(i)
	}
	return s
}

func compare(t *testing.T, a, b End, opt CompareOptions) *Comparison {
	t.Helper()
	opt.Limit = 100
	c, err := Compare(t.Context(), sumsOf(t, a), a, b, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompare(t *testing.T) {
	in := func(d time.Duration) time.Time { return time.Now().Add(d) }
	item := func(key, value string, more ...any) Item {
		i := Item{Key: []byte(key), Value: []byte(value)}
		for _, m := range more {
			switch m := m.(type) {
			case int:
				i.Flags = uint32(m)
			case time.Duration:
				i.ExpireAt = in(m)
			}
		}
		return i
	}
	same := item("same", "1", 7, time.Hour)
	for name, c := range map[string]struct {
		a, b Item
		opt  CompareOptions
		want string
	}{
		"alike":                 {a: item("x", "1", 1), b: item("x", "1", 1)},
		"its number":            {a: Item{Key: []byte("x"), CAS: 1}, b: Item{Key: []byte("x"), CAS: 2}},
		"a value":               {a: item("x", "1"), b: item("x", "2"), want: valueDiffers},
		"a flag":                {a: item("x", "1", 1), b: item("x", "1", 2), want: valueDiffers},
		"what flags and values": {a: item("x", "\x00", 0), b: item("x", "", 0), want: valueDiffers},
		"a second":              {a: item("x", "1", time.Hour), b: item("x", "1", time.Hour+time.Second)},
		"ten seconds":           {a: item("x", "1", time.Hour), b: item("x", "1", time.Hour+10*time.Second), want: expiryDiffers},
		"ten, allowed":          {a: item("x", "1", time.Hour), b: item("x", "1", time.Hour+10*time.Second), opt: CompareOptions{Tolerance: 10 * time.Second}},
		"never":                 {a: item("x", "1"), b: item("x", "1", time.Hour), want: expiryDiffers},
		"more in A":             {a: item("x", "1"), b: same, want: onlyInA},
		"more in B":             {a: same, b: item("x", "1"), want: onlyInB},
		"more in B, allowed":    {a: same, b: item("x", "1"), opt: CompareOptions{MoreInB: true}},
		"another, allowed":      {a: item("x", "1"), b: item("x", "2"), opt: CompareOptions{OtherInB: true}},
		"missing, all the same": {a: item("x", "1"), b: same, opt: CompareOptions{OtherInB: true, MoreInB: true}, want: onlyInA},
		"about to go":           {a: item("x", "1", time.Second), b: same},
	} {
		got := compare(t, these(same, c.a), these(same, c.b), c.opt)
		switch {
		case c.want == "" && (!got.Equal || len(got.Differences) > 0):
			t.Errorf("%s: %+v", name, got)
		case c.want != "" && (got.Equal || got.Different != 1 || got.Differences[0].Key != "x" || got.Differences[0].What != c.want):
			t.Errorf("%s: %+v, wanted %q", name, got, c.want)
		}
	}
}

// TestCompareServers: of servers what differed is asked for again, and names are found.
func TestCompareServers(t *testing.T) {
	a := server(testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[0]), "-m", "256"))
	b := server(testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[1]), "-m", "256"))
	items := sample()
	write(t, a, Set, items)
	write(t, b, Set, items)
	if c := compare(t, of(a), of(b), CompareOptions{}); !c.Equal || c.A != int64(len(items)) || c.B != c.A {
		t.Fatalf("%+v", c)
	}
	// Between the reading and the comparison: one is as it was read no longer, and both have it.
	sums := sumsOf(t, of(a))
	change := []Item{{Key: []byte("key:1"), Value: []byte("new")}}
	write(t, a, Set, change)
	write(t, b, Set, change)
	write(t, b, Set, []Item{
		{Key: []byte("key:2"), Value: []byte("other")},
		{Key: []byte("more \xff"), Value: []byte("1")},
		{Key: []byte("key:5"), Value: []byte("value 5"), Flags: 5, ExpireAt: time.Now().Add(time.Hour)},
	})
	write(t, a, Set, []Item{{Key: []byte("key:6"), Value: []byte("x")}})
	c, err := Compare(t.Context(), sums, of(a), of(b), CompareOptions{Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	if c.Equal || c.Settled != 1 || c.Different != 3 || len(c.Differences) != 3 {
		t.Errorf("%+v", c)
	}
	for _, d := range c.Differences {
		if want := map[string]string{"key:2": valueDiffers, "more \xff": onlyInB, "key:5": expiryDiffers}[d.Key]; want != d.What {
			t.Errorf("%q: %q, wanted %q", d.Key, d.What, want)
		}
		if raw := d.Raw != nil; raw != (d.Key == "more \xff") {
			t.Errorf("%q has its bytes: %v", d.Key, raw)
		}
	}
}

// TestSpread: items are where clients look for them, all are read from several servers at once, and what
// clients do not find at a server is left out where that is asked for.
func TestSpread(t *testing.T) {
	var servers []*Server
	for n := range 3 {
		servers = append(servers, server(testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[n%2]), "-m", "256")))
	}
	items := sample()
	to, err := NewSpread(t.Context(), Ketama, servers, Set)
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		if err := to.Write(t.Context(), &items[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := to.Outcome(); o.Stored != int64(len(items)) || o.Refused > 0 || o.KeepsCAS {
		t.Errorf("%+v", o)
	}
	if err := to.Close(); err != nil {
		t.Error(err)
	}
	ring, err := RingOf(Ketama, servers)
	if err != nil {
		t.Fatal(err)
	}
	for n, s := range servers {
		for key := range contents(t, s) {
			if owner := ring.Pick([]byte(key)); owner != n {
				t.Fatalf("%q is on server %d, its owner is %d", key, n, owner)
			}
		}
		stray := Item{Key: []byte("key:1"), Value: []byte("old")}
		if ring.Pick(stray.Key) != n {
			write(t, s, Set, []Item{stray})
		}
	}
	if c := compare(t, of(servers...), these(items...), CompareOptions{}); c.Twice != 2 || !c.Equal {
		t.Errorf("%+v", c)
	}
	got := map[string]Item{}
	for i, err := range ReadAll(t.Context(), servers, func(n int, key []byte) bool { return ring.Pick(key) == n }) {
		if err != nil {
			t.Fatal(err)
		}
		k := *i
		k.Value = bytes.Clone(i.Value)
		got[string(i.Key)] = k
	}
	equal(t, items, got)
	ends(t, servers)
}

// ends: whoever reads several may stop, and one that is lost is an error.
func ends(t *testing.T, servers []*Server) {
	t.Helper()
	n := 0
	for _, err := range ReadAll(t.Context(), servers, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 100 {
			break
		}
	}
	last := error(nil)
	for _, err := range ReadAll(t.Context(), append(servers[:2:2], &Server{Network: "unix", Addr: "/nowhere/at/all"}), nil) {
		last = err
	}
	if last == nil {
		t.Error("a server is not there, and nothing says so")
	}
	ctx, cancel := context.WithCancel(t.Context())
	n, last = 0, nil
	for _, err := range ReadAll(ctx, servers, nil) {
		if n++; n == 100 {
			cancel()
		}
		last = err
	}
	if last == nil || n > 45000 {
		t.Errorf("broken off after 100 it ends after %d with %v", n, last)
	}
	cancel()
	for range 20 { // an end by chance, which of the two is seen first
		last = nil
		for _, err := range ReadAll(ctx, servers[:1], nil) {
			last = err
		}
		if last == nil {
			t.Fatal("broken off beforehand it ends with no error")
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("VA 3 f1 t-1 c5\r\nabc\r\n")
	f.Add("EN\r\n")
	f.Add("VA 3 f1\r\nabcd\r\n")
	f.Fuzz(func(t *testing.T, said string) {
		r := reader{c: saying(said)}
		defer r.c.close()
		there, err := r.answer(t.Context(), listed{key: []byte("k")})
		if there && err == nil && len(r.item.Value) > len(said) {
			t.Errorf("%q is a value of %d bytes", said, len(r.item.Value))
		}
		s := saying(said)
		defer s.close()
		if st, err := s.stats(t.Context()); err == nil && st == nil {
			t.Error(fmt.Sprint("neither figures nor an error of ", said))
		}
	})
}
