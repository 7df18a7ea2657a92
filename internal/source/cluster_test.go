package source_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// fillCluster gives a cluster n keys, each at its owner: strings and lists, some with an expiry.
func fillCluster(t *testing.T, c *testkit.ClusterServers, n int) map[string]bool {
	t.Helper()
	owners := map[int]*testkit.Server{}
	cmds := map[*testkit.Server][][]string{}
	keys := map[string]bool{}
	for i := range n {
		key := fmt.Sprintf("key:%06d", i)
		keys[key] = true
		// Slots lie as they were given out: in as many equal parts as there are primaries.
		slot := resp.Slot([]byte(key))
		if owners[slot] == nil {
			for p := range c.Primaries {
				if slot >= p*resp.Slots/len(c.Primaries) {
					owners[slot] = c.Primaries[p]
				}
			}
		}
		cmd := []string{"SET", key, fmt.Sprintf("value %d", i)}
		if i%3 == 0 {
			cmd = []string{"RPUSH", key, "a", fmt.Sprint(i)}
		} else if i%5 == 0 {
			cmd = append(cmd, "EX", "100000")
		}
		cmds[owners[slot]] = append(cmds[owners[slot]], cmd)
	}
	for s, list := range cmds {
		pipeline(t, s, list)
	}
	return keys
}

// readCluster reads a cluster and calls at when so many keys have come. Every key
// must come once.
func readCluster(t *testing.T, src *source.Cluster, want map[string]bool, when int, at func()) {
	t.Helper()
	got := map[string]bool{}
	for e, err := range src.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got[string(e.Key)] {
			t.Errorf("%s comes twice", e.Key)
		}
		got[string(e.Key)] = true
		if len(got) == when {
			at()
		}
	}
	missing := 0
	for key := range want {
		if !got[key] {
			missing++
		}
	}
	if missing > 0 || len(got) != len(want) {
		t.Errorf("%d keys, %d are missing", len(got), missing)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}

const clusterKeys = 30_000

// One cluster for each engine, for starting one takes seconds.
func TestCluster(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		c := testkit.StartCluster(t, b, 3, 0)
		keys := fillCluster(t, c, clusterKeys)
		clusterStill(t, c, keys)
		clusterMoves(t, c, keys)
		clusterHalfMoved(t, c, keys)
		if b.Engine == catalog.Valkey && strings.HasPrefix(b.Version, "9.") {
			clusterMigrates(t, c, keys)
		}
	})
}

func clusterStill(t *testing.T, c *testkit.ClusterServers, keys map[string]bool) {
	t.Helper()
	src := source.NewCluster(at(c.Primaries[1]), source.ScanOptions{})
	if n, err := src.Len(t.Context()); err != nil || n != clusterKeys {
		t.Errorf("%d keys, %v", n, err)
	}
	e, err := src.Lookup(t.Context(), 0, []byte("key:000001"))
	if err != nil || e == nil || !strings.Contains(string(e.Value), "value 1") {
		t.Errorf("%v %v", e, err)
	}
	if e, err := src.Lookup(t.Context(), 0, []byte("no such key")); err != nil || e != nil {
		t.Errorf("%v %v", e, err)
	}
	readCluster(t, src, keys, 0, nil)
	if src.Moved() != 0 {
		t.Errorf("%d slots of a cluster that stood still were read again", src.Moved())
	}
}

// Slots with keys move while they are read, from nodes that are ahead of others
// and to them.
func clusterMoves(t *testing.T, c *testkit.ClusterServers, keys map[string]bool) {
	t.Helper()
	src := source.NewCluster(at(c.Primaries[0]), source.ScanOptions{})
	moved := func() {
		for i := range 60 {
			slot := i * resp.Slots / 60
			from, to := c.Owner(slot), c.Primaries[1]
			if from == to {
				continue
			}
			if err := c.MoveSlot(slot, from, to); err != nil {
				t.Error(err)
			}
		}
	}
	readCluster(t, src, keys, 1000, moved)
	if src.Moved() == 0 {
		t.Error("no slot was read again")
	}
}

// A slot is half moved when reading begins. As long as it stays so nobody can say
// what it holds; when it has arrived, reading goes on.
func clusterHalfMoved(t *testing.T, c *testkit.ClusterServers, keys map[string]bool) {
	t.Helper()
	slot := resp.Slot([]byte("key:000002"))
	from, to := c.Owner(slot), c.Primaries[0]
	if from == to {
		to = c.Primaries[2]
	}
	if err := c.OpenSlot(slot, from, to); err != nil {
		t.Fatal(err)
	}
	if _, err := c.MoveKeys(slot, from, to, 1); err != nil {
		t.Fatal(err)
	}
	stuck := source.NewCluster(at(from), source.ScanOptions{})
	stuck.SetPatience(100 * time.Millisecond)
	var last error
	for _, err := range stuck.Entries(t.Context()) {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), fmt.Sprintf("slot %d,", slot)) {
		t.Errorf("%v", last)
	}
	if err := stuck.Close(); err != nil {
		t.Error(err)
	}
	src := source.NewCluster(at(from), source.ScanOptions{})
	readCluster(t, src, keys, clusterKeys/2, func() {
		if err := c.MoveSlot(slot, from, to); err != nil {
			t.Error(err)
		}
	})
}

// Valkey 9 moves ranges of slots at once, and says nothing of it before they have moved.
func clusterMigrates(t *testing.T, c *testkit.ClusterServers, keys map[string]bool) {
	t.Helper()
	first := 6000
	from, to := c.Owner(first), c.Primaries[2]
	src := source.NewCluster(at(c.Primaries[0]), source.ScanOptions{})
	readCluster(t, src, keys, 1000, func() {
		if err := c.MigrateSlots(first, first+200, from, to); err != nil {
			t.Error(err)
		}
	})
	if src.Moved() == 0 {
		t.Error("no slot was read again")
	}
}

// A replica takes over while its primary is read.
func TestClusterFailover(t *testing.T) {
	c := testkit.StartCluster(t, testkit.Engine(t, "valkey-8.1"), 3, 1)
	keys := fillCluster(t, c, clusterKeys)
	src := source.NewCluster(at(c.Primaries[0]), source.ScanOptions{})
	readCluster(t, src, keys, 1000, func() {
		c.Failover(c.Replicas[1][0])
	})
	if src.Moved() == 0 {
		t.Error("no slot was read again")
	}
}

// A part of a cluster does not pass for the whole.
func TestClusterIncomplete(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Cluster())
	s.Must("CLUSTER", "ADDSLOTSRANGE", 0, 16382)
	src := source.NewCluster(at(s), source.ScanOptions{})
	src.SetPatience(50 * time.Millisecond)
	var last error
	for _, err := range src.Entries(t.Context()) {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "1 of 16384") {
		t.Errorf("%v", last)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}
