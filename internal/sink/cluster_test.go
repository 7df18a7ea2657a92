package sink

import (
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// One cluster for each engine, for starting one takes seconds.
func TestCluster(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		c := testkit.StartCluster(t, b, 3, 0)
		for _, test := range []func(*testing.T, *testkit.ClusterServers){
			clusterTakesEverything, clusterRefuses, clusterHalfMoved, clusterResharded,
		} {
			test(t, c)
			for _, p := range c.Primaries {
				p.Must("FLUSHALL")
			}
		}
	})
}

// Every type of value arrives at the node that has its slot, whichever node was named.
func clusterTakesEverything(t *testing.T, c *testkit.ClusterServers) {
	t.Helper()
	dst := open(t, at(c.Primaries[2]), ServerOptions{})
	var all []flow.Entry
	want := flowtest.Content{}
	for _, e := range flowtest.Sample() {
		e.DB = 0
		all = append(all, e)
		if _, err := want.Put(&e); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, dst, all)
	mustCommit(t, dst)
	got := flowtest.Content{}
	for _, p := range c.Primaries {
		for k, v := range contents(t, p, 0) {
			got[k] = v
		}
	}
	flowtest.Same(t, got, want)
	if e := dst.Events(); e.Redirected > 0 || e.Resent > 0 {
		t.Errorf("a cluster that stands still redirects: %+v", e)
	}
}

// clusterRefuses: there is one database, but where the engine has more and is told so.
func clusterRefuses(t *testing.T, c *testkit.ClusterServers) {
	t.Helper()
	e := flowtest.Sample()[0]
	e.DB = 3
	err := open(t, at(c.Primaries[0]), ServerOptions{}).Write(t.Context(), []flow.Entry{e})
	if err == nil || !strings.Contains(err.Error(), "database 3") || !strings.Contains(err.Error(), "database 0 only") {
		t.Errorf("%v", err)
	}
	if c.Keys() != 0 {
		t.Error("it was written")
	}
}

func TestClusterDatabases(t *testing.T) {
	t.Parallel() // it waits for gossip most of the time
	c := testkit.StartCluster(t, testkit.Engine(t, "valkey-9.1"), 2, 0, testkit.Config("cluster-databases 16"))
	dst := open(t, at(c.Primaries[0]), ServerOptions{})
	w := newRounds(100)
	for _, db := range []int{3, 0, 3} {
		batch := w.next(db)
		for i := range batch {
			batch[i].DB = db
		}
		mustWrite(t, dst, batch)
	}
	mustCommit(t, dst)
	for _, p := range c.Primaries {
		p.Must("SELECT", 3)
	}
	w.check(t, c.Primaries...)
}

func TestClusterWithPassword(t *testing.T) {
	t.Parallel() // it waits for gossip most of the time
	c := testkit.StartCluster(t, testkit.Engine(t, "redis-7.0"), 2, 0, testkit.Password("secret"))
	dst := open(t, resp.Options{Addr: c.Addr(), Password: "secret"}, ServerOptions{})
	w := newRounds(200)
	mustWrite(t, dst, w.next(1))
	mustCommit(t, dst)
	w.check(t, c.Primaries...)
}

func TestClusterIncomplete(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Cluster())
	s.Must("CLUSTER", "ADDSLOTS", 7)
	_, err := NewServer(t.Context(), at(s), ServerOptions{})
	if err == nil || !strings.Contains(err.Error(), "only 1 of its 16384 slots") {
		t.Errorf("%v", err)
	}
}

// While slots with keys move from node to node all the time, every key ends up as
// it was written last, once.
func clusterResharded(t *testing.T, c *testkit.ClusterServers) {
	t.Helper()
	dst := open(t, at(c.Primaries[0]), ServerOptions{Window: 100_000})
	w := newRounds(2000)
	mustWrite(t, dst, w.next(0))
	var slots []int
	for i := range 100 {
		slots = append(slots, resp.Slot(w.batch[i].Key))
	}
	moving := c.Reshard(slots, c.Primaries[1])
	for round, on := 1, true; on; round++ {
		mustWrite(t, dst, w.next(round))
		select {
		case <-moving.Done():
			on = false
		default:
		}
	}
	mustCommit(t, dst)
	moved, err := moving.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if e := dst.Events(); moved < 30 || e.Redirected < 20 || len(e.Restarts) > 0 {
		t.Errorf("%d slots moved, %+v", moved, e)
	}
	w.check(t, c.Primaries...)
}

// A slot that is half moved: keys that are there still, that have gone ahead, and
// that are new.
func clusterHalfMoved(t *testing.T, c *testkit.ClusterServers) {
	t.Helper()
	dst := open(t, at(c.Primaries[0]), ServerOptions{})
	w := newRounds(300)
	tagged := func(round int) []flow.Entry {
		batch := w.next(round)
		clear(w.last)
		for i := range batch {
			batch[i].Key = append([]byte("{t}"), batch[i].Key...)
			w.last[string(batch[i].Key)] = valueOf(t, &batch[i])
		}
		return batch
	}
	slot := resp.Slot([]byte("t"))
	from := c.Owner(slot)
	to := c.Primaries[0]
	if from == to {
		to = c.Primaries[1]
	}
	mustWrite(t, dst, tagged(0)[:200])
	mustCommit(t, dst)
	if err := c.OpenSlot(slot, from, to); err != nil {
		t.Fatal(err)
	}
	if _, err := c.MoveKeys(slot, from, to, 80); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, dst, tagged(1))
	mustCommit(t, dst)
	if err := c.MoveSlot(slot, from, to); err != nil {
		t.Fatal(err)
	}
	w.check(t, c.Primaries...)
	if e := dst.Events(); e.Redirected == 0 {
		t.Errorf("%+v", e)
	}
}

// valueOf is the text in an entry of rounds.
func valueOf(t *testing.T, e *flow.Entry) string {
	t.Helper()
	if e.Deleted {
		return ""
	}
	c := flowtest.Content{}
	if _, err := c.Put(e); err != nil {
		t.Fatal(err)
	}
	if text, ok := plainString(e); ok {
		return string(text)
	}
	// A list of one item: its length, then a string.
	item := *e
	item.Type, item.Value = 0, e.Value[1:]
	text, ok := plainString(&item)
	if !ok {
		t.Fatalf("%q", e.Value)
	}
	return string(text)
}

// A node is killed and comes back with its data; and a replica takes over from its primary.
func TestClusterNodeRestartedAndReplaced(t *testing.T) {
	t.Parallel() // it waits for gossip most of the time
	for _, line := range []string{"redis-7.0", "valkey-9.1"} {
		c := testkit.StartCluster(t, testkit.Engine(t, line), 3, 1, testkit.Config("appendonly yes"))
		dst := open(t, at(c.Primaries[0]), ServerOptions{Window: 100_000})
		w := newRounds(1000)
		for round := range 8 {
			mustWrite(t, dst, w.next(round))
			switch round {
			case 2:
				c.Primaries[1].Kill()
				c.Primaries[1].Restart()
			case 5:
				c.Failover(c.Replicas[2][0])
			}
		}
		mustCommit(t, dst)
		// After it, too.
		mustWrite(t, dst, w.next(100))
		mustCommit(t, dst)
		w.check(t, c.Primaries[0], c.Primaries[1], c.Replicas[2][0])
		e := strings.Join(dst.Events().Restarts, "; ")
		if !strings.Contains(e, c.Primaries[1].Addr()+" was started again") || !strings.Contains(e, c.Replicas[2][0].Addr()+" took over from") {
			t.Errorf("%q", e)
		}
	}
}

// A cluster that stays incomplete ends the patience, and the error names a key.
func TestClusterNodeGone(t *testing.T) {
	t.Parallel() // it waits for gossip most of the time
	c := testkit.StartCluster(t, testkit.Engine(t, "redis-7.0"), 2, 0)
	dst := open(t, at(c.Primaries[0]), ServerOptions{Patience: 200 * time.Millisecond})
	w := newRounds(100)
	mustWrite(t, dst, w.next(0))
	mustCommit(t, dst)
	c.Primaries[1].Kill()
	err := errors.Join(dst.Write(t.Context(), w.next(1)), dst.Commit(t.Context()))
	if err == nil || !strings.Contains(err.Error(), `cannot restore key "key:`) || !strings.Contains(err.Error(), "had been confirmed") {
		t.Errorf("%v", err)
	}
}
