package memcache

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"holdfast.dev/internal/testkit"
)

// clients are clients that spread keys over some servers.
type clients struct {
	t       *testing.T
	servers []*Server
	ring    *Ring
}

func clientsOf(t *testing.T, servers ...*Server) *clients {
	t.Helper()
	ring, err := RingOf(Ketama, servers)
	if err != nil {
		t.Fatal(err)
	}
	return &clients{t, servers, ring}
}

func (c *clients) set(items ...Item) {
	c.t.Helper()
	parts := make([][]Item, len(c.servers))
	for _, i := range items {
		n := c.ring.Pick(i.Key)
		parts[n] = append(parts[n], i)
	}
	for n, part := range parts {
		if len(part) > 0 {
			write(c.t, c.servers[n], Set, part)
		}
	}
}

func (c *clients) remove(key string) {
	c.t.Helper()
	w, err := NewWriter(c.t.Context(), c.servers[c.ring.Pick([]byte(key))], Set)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := errors.Join(w.Delete(c.t.Context(), []byte(key), 0), w.Flush(c.t.Context()), w.Close()); err != nil {
		c.t.Fatal(err)
	}
}

// get is what clients find of some items.
func (c *clients) get(items []Item) map[string]Item {
	c.t.Helper()
	parts, out := make([][][]byte, len(c.servers)), map[string]Item{}
	for _, i := range items {
		n := c.ring.Pick(i.Key)
		parts[n] = append(parts[n], i.Key)
	}
	for n, part := range parts {
		err := Lookup(c.t.Context(), c.servers[n], part, func(i *Item) error {
			k := *i
			k.Value = bytes.Clone(i.Value)
			out[string(i.Key)] = k
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return out
}

// TestRebalance: through an addition, a removal and a replacement clients find everything that they would have found,
// what was written and deleted meanwhile included, and never an old value.
func TestRebalance(t *testing.T) {
	for _, line := range testkit.MemcachedLines {
		t.Run(line, func(t *testing.T) { rebalances(t, line) })
	}
}

func rebalances(t *testing.T, line string) {
	var s []*Server
	for range 4 {
		s = append(s, server(testkit.StartMemcached(t, testkit.Engine(t, line), "-m", "128")))
	}
	items := sample()[:20008]
	old := clientsOf(t, s[0], s[1])
	old.set(items...)
	for _, step := range []struct {
		name string
		to   []*Server
	}{
		{"addition", []*Server{s[0], s[1], s[2]}},
		{"removal", []*Server{s[1], s[2]}},
		{"replacement", []*Server{s[2], s[3]}},
	} {
		t.Run(step.name, func(t *testing.T) {
			now := clientsOf(t, step.to...)
			items = rebalance1(t, old, now, items)
			old = now
		})
	}
}

// rebalance1 goes from old servers to new ones while clients write, and returns what they should find.
func rebalance1(t *testing.T, old, now *clients, items []Item) []Item {
	t.Helper()
	old.t, now.t = t, t
	moving := func(i Item) bool {
		return old.servers[old.ring.Pick(i.Key)] != now.servers[now.ring.Pick(i.Key)]
	}
	var leave []Item // some that move
	for _, i := range items[8:] {
		if moving(i) {
			leave = append(leave, i)
		}
	}
	if len(leave) < 1000 {
		t.Fatalf("%d items move", len(leave))
	}
	// Items that are the old owner's, and then one that clients that switched have written meanwhile.
	late, twice, gone, fresh := leave[0], leave[1], leave[2], Item{Key: []byte("fresh " + t.Name()), Value: []byte("1")}
	late.Value, twice.Value = []byte("late"), []byte("by the new owner")
	r, err := Rebalance(t.Context(), old.servers, now.servers, RebalanceOptions{Distribution: Ketama, Switch: func(context.Context) error {
		old.set(late, Item{Key: twice.Key, Value: []byte("by the old owner")}, fresh)
		old.remove(string(gone.Key))
		now.set(twice)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	freshMoves := int64(0)
	if moving(fresh) {
		freshMoves = 1
	}
	if r.Items != int64(len(items)) || r.Moved < int64(len(leave)) || r.Refused > 0 || r.Late != 2+freshMoves || r.Gone != 1 {
		t.Errorf("%+v, of %d and more that move", r, len(leave))
	}
	known := map[string]Item{string(late.Key): late, string(twice.Key): twice}
	var want []Item
	for _, i := range append(items, fresh) {
		if k, changed := known[string(i.Key)]; changed {
			i = k
		}
		if !bytes.Equal(i.Key, gone.Key) {
			want = append(want, i)
		}
	}
	got := now.get(append(want, gone))
	if _, keeps := got[string(late.Key)]; !keeps { // a server that keeps no numbers: a miss, and nothing old
		t.Logf("%q and %q are misses", late.Key, twice.Key)
		if w := write(t, now.servers[0], Set, nil); w.KeepsCAS {
			t.Errorf("%q is lost", late.Key)
		}
		now.set(late, twice)
		got = now.get(append(want, gone))
	}
	equal(t, want, got)
	// Nothing is left behind at servers that stay.
	for n, s := range now.servers {
		for key := range contents(t, s) {
			if owner := now.ring.Pick([]byte(key)); owner != n {
				t.Fatalf("%q stays on server %d, its owner is %d", key, n, owner)
			}
		}
	}
	return want
}

// TestRebalanceEnds: what cannot go on says how far it came.
func TestRebalanceEnds(t *testing.T) {
	a := server(testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[1])))
	b := testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[1]))
	items := sample()[:2000]
	clientsOf(t, a).set(items...)
	to := []*Server{a, server(b)}
	if _, err := Rebalance(t.Context(), []*Server{a}, to, RebalanceOptions{Distribution: "fair"}); err == nil {
		t.Error("any distribution is taken")
	}
	refused := errors.New("not now")
	r, err := Rebalance(t.Context(), []*Server{a}, to, RebalanceOptions{Distribution: Ketama, Switch: func(context.Context) error { return refused }})
	if !errors.Is(err, refused) || r.Moved == 0 || r.Cleared > 0 || len(contents(t, a)) != len(items) {
		t.Errorf("%+v, %v", r, err)
	}
	// Copied once more, what is there already is left.
	if r, err = Rebalance(t.Context(), []*Server{a}, to, RebalanceOptions{Distribution: Ketama}); err != nil || r.Moved > 0 || r.Kept == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = Rebalance(t.Context(), []*Server{a}, to, RebalanceOptions{Distribution: Ketama, Switch: func(context.Context) error {
		b.Kill()
		return nil
	}})
	if err == nil || r.Cleared > 0 || len(contents(t, a)) != len(items) {
		t.Errorf("the new server is gone: %+v, %v", r, err)
	}
}
