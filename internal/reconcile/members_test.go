package reconcile

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// change writes a change of members down, as control does.
func (b *bench) change(id string, do func(tx *store.Tx, g *cache.ReplicationGroup) error) {
	b.update(func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, "r/"+id)
		if err != nil {
			return err
		}
		g.Status, g.Change = cache.StatusModifying, &cache.MemberChange{Nodes: len(g.Members)}
		if err := do(tx, &g); err != nil {
			return err
		}
		return records.Groups.Put(tx, g.Key(), g)
	})
}

// grow adds a member like another one.
func grow(tx *store.Tx, g *cache.ReplicationGroup, like, id string) error {
	c, _, err := records.Clusters.Get(tx, "r/"+like)
	if err != nil {
		return err
	}
	at := cache.Address{Host: id, Port: 6379}
	c.ID, c.Status, c.Node, c.CreatedAt = id, cache.StatusCreating, cache.Node{Address: at, Build: "new"}, time.Now()
	g.AddMember(c.ShardID(), id)
	if _, err := records.ClaimAddress(tx, records.Pool{}, at, records.ClusterOwner(c.Key())); err != nil {
		return err
	}
	return records.Clusters.Put(tx, c.Key(), c)
}

func goes(tx *store.Tx, ids ...string) error {
	for _, id := range ids {
		err := changeCluster(tx, "r/"+id, func(c *cache.CacheCluster) {
			c.Status, c.Deletion = cache.StatusDeleting, &cache.Deletion{}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settledTo tells whether a group is at rest with these members, the first of which leads.
func (b *bench) settledTo(members ...string) func(world) bool {
	return func(w world) bool {
		g := w.groups[0]
		if g.Status != cache.StatusAvailable || g.Change != nil || !slices.Equal(slices.Sorted(slices.Values(g.Members)), slices.Sorted(slices.Values(members))) {
			return false
		}
		for _, id := range members {
			c := w.clusters["r/"+id]
			if !isReady(&c) || c.Status != cache.StatusAvailable || !b.machine.alive(*c.Node.Process) || (c.Node.Role == cache.RolePrimary) != g.Leads(id) {
				return false
			}
			if c.Node.Role == cache.RoleReplica && c.Node.Primary.Host != g.Shard(c.ShardID()).Primary {
				return false
			}
		}
		open := 0
		for id := range w.steps["group r/"+g.ID] {
			if !strings.Contains(id, "forward") { // one that was cut short and is not due any more stays
				open++
			}
		}
		return g.Leads(members[0]) && len(w.clusters) == len(members) && open == 0
	}
}

// whole fails the test unless only these nodes run, and nothing of others is left.
func (b *bench) onlyRuns(t interface{ Fatalf(string, ...any) }, members ...string) {
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	if len(b.machine.processes) != len(members) || len(b.machine.dirs) != len(members) {
		t.Fatalf("%d processes run in %d directories; there are %d members", len(b.machine.processes), len(b.machine.dirs), len(members))
	}
	for key, p := range b.machine.processes {
		if p.held {
			t.Fatalf("%s takes no writes", key)
		}
	}
}

// TestAChangeOfMembersCutShortGoesOn ends the runner at random calls to the outside, and
// kills nodes, while replicas are added, another one leads, and replicas are removed.
func TestAChangeOfMembersCutShortGoesOn(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b := newBench(t, filepath.Join(dir, fmt.Sprint(n)))
		defer b.close()
		disturbed := func(what string, all ...string) {
			for _, calls := range rapid.SliceOfN(rapid.IntRange(1, 12), 0, 3).Draw(rt, "calls until each cut, "+what) {
				b.cutAfter(calls)
				if k := rapid.IntRange(0, 2*len(all)).Draw(rt, "dies"); k < len(all) {
					b.machine.kill("r/" + all[k])
				}
			}
			b.run()
		}
		b.group("g", 1, nil)
		b.run()
		b.eventually("available", groupIs("g", cache.StatusAvailable))
		b.stop()
		b.change("g", func(tx *store.Tx, g *cache.ReplicationGroup) error {
			return errors.Join(grow(tx, g, "g-001", "g-002"), grow(tx, g, "g-001", "g-003"))
		})
		disturbed("growing", "g-002", "g-003")
		b.eventually("grown", b.settledTo("g-001", "g-002", "g-003"))
		b.stop()
		b.change("g", func(_ *store.Tx, g *cache.ReplicationGroup) error {
			g.Change.Promote, g.Change.Promoting = "g-003", g.Primary
			return nil
		})
		disturbed("handing over", "g-002")
		b.eventually("handed over", b.settledTo("g-003", "g-001", "g-002"))
		b.onlyRuns(rt, "g-001", "g-002", "g-003")
		b.stop()
		b.change("g", func(tx *store.Tx, _ *cache.ReplicationGroup) error { return goes(tx, "g-001", "g-002") })
		disturbed("shrinking", "g-001", "g-002")
		b.eventually("shrunk", b.settledTo("g-003"))
		b.onlyRuns(rt, "g-003")
		if c := b.read().clusters["r/g-003"]; strings.Join(c.Node.Binds, " ") != "g-p g-r" {
			rt.Fatalf("the primary that is left answers at %v", c.Node.Binds)
		}
	})
}

// TestAPrimaryDiesWhileMembersChange ends with the change made, and with a leader that
// has the data, whoever that is.
func TestAPrimaryDiesWhileMembersChange(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b := newBench(t, filepath.Join(dir, fmt.Sprint(n)))
		defer b.close()
		b.group("g", 3, nil)
		b.run()
		b.eventually("available", groupIs("g", cache.StatusAvailable))
		b.stop()
		kind := rapid.SampledFrom([]string{"grows", "shrinks", "hands over"}).Draw(rt, "change")
		b.change("g", func(tx *store.Tx, g *cache.ReplicationGroup) error {
			switch kind {
			case "grows":
				return grow(tx, g, "g-001", "g-004")
			case "shrinks":
				return goes(tx, "g-002")
			}
			g.Change.Promote, g.Change.Promoting = "g-002", "g-001"
			return nil
		})
		b.cutAfter(rapid.IntRange(1, 8).Draw(rt, "calls until the cut"))
		lead := b.read().groups[0].Primary
		b.machine.kill("r/" + lead)
		b.run()
		b.eventually("settled", func(w world) bool {
			g := w.groups[0]
			return b.settledTo(append([]string{g.Primary}, slices.DeleteFunc(slices.Clone(g.Members), g.Leads)...)...)(w)
		})
		g := b.read().groups[0]
		b.onlyRuns(rt, g.Members...)
		if kind == "grows" && len(g.Members) != 4 || kind == "shrinks" && len(g.Members) != 2 {
			rt.Fatalf("it %s to %v", kind, g.Members)
		}
		// It may have been handed the lead again since, as a replica that has the data.
		if p := b.machine.process("r/" + lead); p.started.Primary.IsZero() && b.machine.starts["r/"+lead] > 1 {
			rt.Fatalf("%s came up empty as a primary", lead)
		}
	})
}

// In a cluster everybody learns of a new node and forgets one that has gone.
func TestEverybodyLearnsWhoIsInTheCluster(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.change("g", func(tx *store.Tx, g *cache.ReplicationGroup) error { return grow(tx, g, "g-0002-001", "g-0002-003") })
	b.eventually("grown", groupIs("g", cache.StatusAvailable))
	old := []string{"r/g-0001-001", "r/g-0001-002", "r/g-0002-001", "r/g-0002-002"}
	var id string
	for _, key := range old {
		p := b.machine.process(key)
		if len(p.met) != 1 {
			t.Fatalf("%s was told of %v", key, p.met)
		}
		id = p.met[0]
	}
	if p := b.machine.process("r/g-0002-003"); p.spec.Cluster.Self != id || p.spec.Primary.Host != "g-0002-001" || len(p.spec.Cluster.Nodes) != 5 {
		t.Errorf("the new node is %+v", p.spec)
	}
	b.change("g", func(tx *store.Tx, _ *cache.ReplicationGroup) error { return goes(tx, "g-0002-003") })
	b.eventually("shrunk", groupIs("g", cache.StatusAvailable))
	for _, key := range old {
		if p := b.machine.process(key); !slices.Contains(p.forgot, id) || len(p.met) > 0 {
			t.Errorf("%s has not forgotten %s: %v", key, id, p.forgot)
		}
	}
	b.change("g", func(tx *store.Tx, g *cache.ReplicationGroup) error { return grow(tx, g, "g-0002-001", "g-0002-003") })
	b.eventually("grown again", groupIs("g", cache.StatusAvailable))
	if p := b.machine.process("r/g-0002-003"); p.spec.Cluster.Self == id {
		t.Error("another node under the same name has the id of the one that went")
	}
}

// A new node does not wait for a cluster that there was before a failover.
func TestAFailoverWhileANodeJoinsACluster(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	var once sync.Once
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	follows := func() bool {
		b.machine.mu.Lock()
		defer b.machine.mu.Unlock()
		p := b.machine.processes["r/g-0001-001"]
		return p != nil && !p.spec.Primary.IsZero()
	}
	hook := func(_ int, name string) {
		if name != "formed" {
			return
		}
		once.Do(func() {
			b.machine.kill("r/g-0001-001")
			for !follows() {
				select {
				case <-time.After(time.Millisecond):
				case <-done:
					return
				}
			}
		})
	}
	b.machine.mu.Lock()
	b.machine.hook = hook
	b.machine.mu.Unlock()
	b.change("g", func(tx *store.Tx, g *cache.ReplicationGroup) error { return grow(tx, g, "g-0002-001", "g-0002-003") })
	b.eventually("grown", groupIs("g", cache.StatusAvailable))
	for id, step := range b.read().steps["group r/g"] {
		t.Errorf("%s was attempted %d times: %s", id, step.Attempts, step.Error)
	}
}

// A node that never starts is not waited for, and nothing of it is left.
func TestANodeThatDoesNotStartIsCalledOff(t *testing.T) {
	b := serving(t, 2)
	b.machine.hook = nil
	b.breaks("start", errors.New("no such engine"))
	b.change("g", func(tx *store.Tx, g *cache.ReplicationGroup) error { return grow(tx, g, "g-001", "g-003") })
	b.eventually("called off", b.settledTo("g-001", "g-002"))
	b.breaks("start", nil)
	b.onlyRuns(t, "g-001", "g-002")
	b.wantEvent("Failed to add cache cluster g-003: cannot start g-003: no such engine")
	err := b.db.View(t.Context(), func(tx *store.Tx) error {
		n, err := records.Addresses.Count(tx, "")
		if n != 0 {
			t.Errorf("%d addresses are claimed still", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
