package reconcile

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

var (
	formerKind = cache.Kind{Engine: "redis", EngineVersion: "7.0", NodeType: "cache.t3.micro", ParameterGroup: "default.redis7.cluster.on", Build: "new"}
	laterKind  = cache.Kind{Engine: "valkey", EngineVersion: "8.1", NodeType: "cache.t3.micro", ParameterGroup: "default.valkey8.cluster.on", Build: "newer"}
)

// upgrade writes an upgrade of a group down, as control does.
func (b *bench) upgrade(id string) {
	b.update(func(tx *store.Tx) error {
		return changeGroup(tx, "r/"+id, func(g *cache.ReplicationGroup) {
			g.Become(formerKind)
			g.Status, g.Upgrade = cache.StatusModifying, &cache.Upgrade{From: formerKind, To: laterKind}
		})
	})
}

// lone makes the node groups of a cluster of one node each.
func (b *bench) lone(id string) {
	b.update(func(tx *store.Tx) error {
		var gone []string
		err := changeGroup(tx, "r/"+id, func(g *cache.ReplicationGroup) {
			for i := range g.NodeGroups {
				gone = append(gone, g.NodeGroups[i].Members[1])
			}
			for _, m := range gone {
				g.RemoveMember(m)
			}
		})
		for _, m := range gone {
			err = errors.Join(err, records.Clusters.Delete(tx, "r/"+m))
		}
		return err
	})
}

// allOf tells whether a cluster is at rest with all nodes of a build, and no others.
func (b *bench) allOf(build string) func(world) bool {
	return func(w world) bool {
		g := w.groups[0]
		if g.Status != cache.StatusAvailable || g.Upgrade != nil || len(w.clusters) != len(g.Members) {
			return false
		}
		for _, id := range g.Members {
			c := w.clusters["r/"+id]
			p := b.machine.process("r/" + id)
			if !isReady(&c) || !b.machine.alive(*c.Node.Process) || c.StandIn || c.Node.Build != build || p.started.Build != build {
				return false
			}
			lead := g.Shard(c.ShardID()).Primary
			if (lead == id) != (c.Node.Role == cache.RolePrimary) || (lead == id) != p.spec.Primary.IsZero() {
				return false
			}
			if lead != id && p.spec.Primary.Host != lead {
				return false
			}
		}
		return true
	}
}

// watchLeads fails the test where two nodes of a shard take writes, or one came up empty
// as a primary that was not the first.
func (b *bench) watchLeads(t interface{ Errorf(string, ...any) }) {
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	leads := map[string][]string{}
	for key, p := range b.machine.processes {
		if p.spec.Cluster == nil || !p.spec.Primary.IsZero() {
			continue
		}
		shard := shardOfSpec(p.spec)
		leads[shard] = append(leads[shard], key)
		if p.started.Primary.IsZero() && b.machine.starts[key] > 1 {
			t.Errorf("%s came up empty as a primary", key)
		}
	}
	for shard, all := range leads {
		if len(all) > 1 {
			t.Errorf("shard %s is led by %v", shard, all)
		}
	}
}

func TestAClusterIsUpgradedWhileItServes(t *testing.T) {
	for _, lone := range []bool{false, true} {
		t.Run(fmt.Sprint("lone ", lone), func(t *testing.T) {
			b := newBench(t, t.TempDir())
			t.Cleanup(b.close)
			b.cluster("g", nil)
			if lone {
				b.lone("g")
			}
			b.run()
			b.eventually("available", groupIs("g", cache.StatusAvailable))
			b.machine.mu.Lock()
			b.machine.hook = func(int, string) { b.watchLeads(t) }
			b.machine.mu.Unlock()
			before := b.read().groups[0]
			b.upgrade("g")
			b.eventually("upgraded", b.allOf("newer"))
			b.stop()
			g := b.read().groups[0]
			if g.Engine != "valkey" || g.EngineVersion != "8.1" {
				t.Errorf("the group is %s %s", g.Engine, g.EngineVersion)
			}
			b.onlyRuns(t, g.Members...)
			for i, n := range g.NodeGroups {
				if lone == (n.Primary != before.NodeGroups[i].Primary) {
					t.Errorf("node group %s is led by %s", n.ID, n.Primary)
				}
				for _, m := range n.Members {
					if k := b.read().clusters["r/"+m]; k.Engine != "valkey" || k.ParameterGroup != "default.valkey8.cluster.on" {
						t.Errorf("%s is %+v", m, k.Settings)
					}
				}
			}
			for _, e := range b.events() {
				if strings.Contains(e, ".next") {
					t.Errorf("an event tells of a stand-in: %s", e)
				}
			}
			if err := b.db.View(t.Context(), func(tx *store.Tx) error {
				n, err := records.Addresses.Count(tx, "")
				if n != 0 {
					t.Errorf("%d addresses are claimed still", n)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAnUpgradeOfAClusterCutShortGoesOn ends the runner at random calls to the outside, and
// kills a node at some of them, the stand-in too: it ends with all nodes replaced, and nobody
// ever leads beside another one, or empty.
func TestAnUpgradeOfAClusterCutShortGoesOn(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b := newBench(t, filepath.Join(dir, fmt.Sprint(n)))
		defer b.close()
		b.cluster("g", nil)
		lone := rapid.Bool().Draw(rt, "without replicas")
		if lone {
			b.lone("g")
		}
		b.run()
		b.eventually("available", groupIs("g", cache.StatusAvailable))
		b.stop()
		b.upgrade("g")
		for _, calls := range rapid.SliceOfN(rapid.IntRange(1, 25), 0, 6).Draw(rt, "calls until each cut") {
			b.cutAfter(calls)
			b.watchLeads(rt)
		}
		// One that has no replica may die once another node has its data.
		victims := []string{"g-0001-001", "g-0001-002", "g-0001.next"}
		k := rapid.IntRange(0, 2*len(victims)).Draw(rt, "dies")
		if k < len(victims) && b.spared(victims[k]) {
			b.machine.kill("r/" + victims[k])
			b.cutAfter(rapid.IntRange(1, 25).Draw(rt, "calls after it"))
			b.watchLeads(rt)
		}
		b.run()
		b.eventually("upgraded", b.allOf("newer"))
		b.watchLeads(rt)
		b.onlyRuns(rt, b.read().groups[0].Members...)
	})
}

// spared tells whether another node of the first shard has what this one has.
func (b *bench) spared(id string) bool {
	w := b.read()
	for key, c := range w.clusters {
		if c.ShardID() == "0001" && c.ID != id && isReady(&c) && b.machine.process(key).ref.PID != 0 {
			return true
		}
	}
	return false
}

// TestAHandoverThatNobodyWroteDown: the service is killed when a node leads already, and
// the former primary or the new one dies before it is back.
func TestAHandoverThatNobodyWroteDown(t *testing.T) {
	for _, dies := range []string{"", "g-0001-001", "g-0001-002"} {
		t.Run("dies "+dies, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			t.Cleanup(b.close)
			b.cluster("g", nil)
			b.run()
			b.eventually("available", groupIs("g", cache.StatusAvailable))
			b.stop()
			b.upgrade("g")
			b.breaks("handed over", errors.New("the service is dead"))
			b.run()
			b.eventually("it leads", func(w world) bool {
				return w.groups[0].Upgrade.Handing != nil && b.machine.leads("r/g-0001-002")
			})
			b.stop()
			b.breaks("handed over", nil)
			if g := b.read().groups[0]; g.Upgrade.Handing.To != "g-0001-002" || g.NodeGroups[0].Primary != "g-0001-001" {
				t.Fatalf("%+v of %+v", g.Upgrade.Handing, g.NodeGroups[0])
			}
			if dies != "" {
				b.machine.kill("r/" + dies)
			}
			b.run()
			b.eventually("upgraded", b.allOf("newer"))
			b.watchLeads(t)
			// It was started once more to be upgraded, and once for having died.
			if n := b.machine.starts["r/g-0001-002"]; dies != "g-0001-002" && n != 2 {
				t.Errorf("the node that led was started %d times", n)
			}
		})
	}
}

// TestAnUpgradeOfAClusterThatFailsLeavesWhatServes, whatever it fails of.
func TestAnUpgradeOfAClusterThatFailsLeavesWhatServes(t *testing.T) {
	for what, c := range map[string]struct {
		at, says string
	}{
		"the data differ": {"compare", "3 keys differ"},
		"nobody comes":    {"introduce", "does not know it"},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			t.Cleanup(b.close)
			b.cluster("g", nil)
			b.run()
			b.eventually("available", groupIs("g", cache.StatusAvailable))
			before := b.read()
			b.breaks(c.at, fmt.Errorf("%s: %w", c.says, cache.ErrPermanent))
			b.upgrade("g")
			b.eventually("given up", func(w world) bool {
				g := w.groups[0]
				return g.Status == cache.StatusAvailable && g.Upgrade == nil && len(w.clusters) == len(g.Members)
			})
			b.breaks(c.at, nil)
			b.stop()
			w := b.read()
			b.onlyRuns(t, w.groups[0].Members...)
			for id, was := range before.clusters {
				if is := w.clusters[id]; !sameProcess(is.Node.Process, was.Node.Process) || is.Node.Build != "new" {
					t.Errorf("%s was touched: %+v", id, is.Node)
				}
			}
			if g := w.groups[0]; g.Engine != "redis" {
				t.Errorf("the group is %s", g.Engine)
			}
			b.wantEvent(c.says)
			for _, e := range b.events() {
				if strings.Contains(e, ".next") {
					t.Errorf("an event names a stand-in: %s", e)
				}
			}
		})
	}
}

// TestReplicasGoBackWithAnUpgradeThatFails: the primary is an older one, and so they are.
func TestReplicasGoBackWithAnUpgradeThatFails(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.cluster("g", nil)
	b.run()
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.breaks("hand over", fmt.Errorf("they do not agree: %w", cache.ErrPermanent))
	b.upgrade("g")
	b.eventually("given up", b.allOf("new"))
	b.stop()
	b.onlyRuns(t, b.read().groups[0].Members...)
	if n := b.machine.starts["r/g-0001-002"]; n != 3 {
		t.Errorf("the replica was started %d times", n)
	}
	if n := b.machine.starts["r/g-0001-001"]; n != 1 {
		t.Errorf("the primary was started %d times", n)
	}
}

// A node that is stopped to become another kind has not failed, though its end is seen
// before it is written down that it was stopped.
func TestWhoIsStoppedToBeUpgradedHasNotFailed(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.cluster("g", nil)
	b.run()
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	var once sync.Once
	b.machine.mu.Lock()
	b.machine.hook = func(_ int, name string) {
		if name != "stop" {
			return
		}
		once.Do(func() {
			b.machine.kill("r/g-0001-002")
			b.eventually("its end is seen", func(w world) bool { return w.clusters["r/g-0001-002"].Node.Process == nil })
		})
	}
	b.machine.mu.Unlock()
	b.upgrade("g")
	b.eventually("upgraded", b.allOf("newer"))
	for _, e := range b.events() {
		if strings.Contains(e, "Recovering") {
			t.Errorf("an event says %q", e)
		}
	}
}

// leads tells whether a node takes writes.
func (f *fakeMachine) leads(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[key]
	return p != nil && p.spec.Primary.IsZero()
}

// Of those that are left the one that was handed the lead is chosen if it has taken it,
// and nobody while it does not say so.
func TestWhoWasHandedTheLeadKeepsIt(t *testing.T) {
	lives := &cache.Process{PID: 7}
	other := &cache.CacheCluster{ID: "other", Node: cache.Node{Process: lives}}
	to := &cache.CacheCluster{ID: "to", Node: cache.Node{Process: lives}}
	best := candidate{m: other, h: cache.Health{Role: cache.RoleReplica, Offset: 10}}
	for _, c := range []struct {
		name string
		all  []candidate
		dead bool
		want string
	}{
		{"it leads", []candidate{best, {m: to, h: cache.Health{Role: cache.RolePrimary, Offset: 5}}}, false, "to"},
		{"it does not", []candidate{best, {m: to, h: cache.Health{Role: cache.RoleReplica, Offset: 5}}}, false, "other"},
		{"it is silent", []candidate{best}, false, ""},
		{"it is dead", []candidate{best}, true, "other"},
	} {
		who := *to
		if c.dead {
			who.Node.Process = nil
		}
		got, err := handed(&who, c.all, best, nil)
		switch {
		case c.want == "" && !errors.Is(err, cache.ErrAmbiguous):
			t.Errorf("%s: %v is chosen", c.name, got.m.ID)
		case c.want != "" && (err != nil || got.m.ID != c.want):
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}
