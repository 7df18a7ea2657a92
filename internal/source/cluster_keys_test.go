package source_test

import (
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// Given keys of a cluster are read once each, wherever they are by then, and all keys
// are listed though slots move meanwhile.
func TestClusterKeys(t *testing.T) {
	c := testkit.StartCluster(t, testkit.Engine(t, "redis-7.0"), 3, 0)
	all := fillCluster(t, c, 3000)
	slot := resp.Slot([]byte("key:000002"))
	from := c.Owner(slot)
	to := c.Primaries[0]
	if from == to {
		to = c.Primaries[1]
	}

	var keys []flow.Key
	for name := range all {
		keys = append(keys, flow.Key{DB: source.AnyDB, Name: name})
	}
	keys = append(keys, flow.Key{Name: "nobody"}, flow.Key{DB: source.AnyDB, Name: "nothing"})
	readKeys(t, c, keys, len(all), func() {})

	// Half of the slot has moved when it is read; the rest follows.
	from.Must("SET", "{key:000002}more", "1")
	keys = append(keys, flow.Key{Name: "{key:000002}more"})
	if err := c.OpenSlot(slot, from, to); err != nil {
		t.Fatal(err)
	}
	if n, err := c.MoveKeys(slot, from, to, 1); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	readKeys(t, c, keys, len(all)+1, func() {
		if err := c.MoveSlot(slot, from, to); err != nil {
			t.Error(err)
		}
	})

	listKeys(t, c, len(all)+1, func() {
		if err := c.MoveSlot(slot, to, from); err != nil {
			t.Error(err)
		}
	})
	n := 0
	err := source.ListKeys(t.Context(), at(from), func(int, []byte) bool { n++; return n < 5 })
	if err != nil || n != 5 {
		t.Errorf("%d keys, %v", n, err)
	}
}

// readKeys reads keys, of which so many exist, and does something after the first.
func readKeys(t *testing.T, c *testkit.ClusterServers, keys []flow.Key, want int, then func()) {
	t.Helper()
	src := source.NewClusterKeys(at(c.Primaries[1]), keys)
	got := map[string]bool{}
	for e, err := range src.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			then()
		}
		if got[string(e.Key)] {
			t.Errorf("%s comes twice", e.Key)
		}
		got[string(e.Key)] = true
	}
	if len(got) != want {
		t.Errorf("%d keys, not %d", len(got), want)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}

// listKeys lists all keys, and does something after the first.
func listKeys(t *testing.T, c *testkit.ClusterServers, want int, then func()) {
	t.Helper()
	got, begun := map[string]bool{}, false
	err := source.ListKeys(t.Context(), at(c.Primaries[2]), func(_ int, key []byte) bool {
		if !begun {
			begun = true
			then()
		}
		got[string(key)] = true
		return true
	})
	if err != nil || len(got) != want {
		t.Errorf("%d keys are listed, not %d: %v", len(got), want, err)
	}
}
