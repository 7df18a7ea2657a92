package reconcile

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

var (
	kind70 = cache.Kind{Engine: "redis", EngineVersion: "7.0", NodeType: "cache.t3.small", ParameterGroup: "default.redis7", Build: "new"}
	kind81 = cache.Kind{Engine: "valkey", EngineVersion: "8.1", NodeType: "cache.t3.small", ParameterGroup: "default.valkey8", Build: "newer"}
)

// upgrading is a bench whose cache g is available, with data, and is to be upgraded: a
// group of so many nodes, or with none a cluster that stands alone.
func upgrading(t testing.TB, dir string, nodes int) *bench {
	b := newBench(t, dir)
	b.update(func(tx *store.Tx) error {
		return records.Pools.Put(tx, records.PoolKey, records.Pool{Base: "127.77"})
	})
	b.run()
	if nodes > 0 {
		b.group("g", nodes, nil)
		b.eventually("available", groupIs("g", cache.StatusAvailable))
	} else {
		b.update(func(tx *store.Tx) error {
			c := cache.CacheCluster{Region: "r", ID: "g", Status: cache.StatusCreating, Secret: "s"}
			c.Node = cache.Node{Address: cache.Address{Host: "g", Port: 6379}, Build: "new"}
			return records.Clusters.Put(tx, c.Key(), c)
		})
		b.eventually("available", func(w world) bool { return w.clusters["r/g"].Status == cache.StatusAvailable })
	}
	b.stop()
	b.machine.fill()
	b.update(func(tx *store.Tx) error { return become(tx, kind70) })
	return b
}

// become has every node be of a kind.
func become(tx *store.Tx, k cache.Kind) error {
	all, err := records.Clusters.List(tx, "")
	if err != nil {
		return err
	}
	for _, c := range all {
		c.Become(k)
		if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
			return err
		}
	}
	return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { g.Become(k) })
}

// upgradeTo writes down that the cache is to be of another kind.
func (b *bench) upgradeTo(to cache.Kind) {
	u := &cache.Upgrade{From: kind70, To: to, StartedAt: time.Now()}
	b.update(func(tx *store.Tx) error {
		_, group, err := records.Groups.Get(tx, "r/g")
		if err != nil {
			return err
		}
		if group {
			return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { g.Upgrade, g.Status = u, cache.StatusModifying })
		}
		return changeCluster(tx, "r/g", func(c *cache.CacheCluster) { c.Upgrade, c.Status = u, cache.StatusModifying })
	})
}

// of tells whether every node is of a kind, serves, and nothing else is left.
func (b *bench) of(k cache.Kind) func(world) bool {
	return func(w world) bool {
		for _, c := range w.clusters {
			n := &c.Node
			if !c.Kind(n.Build).Same(k) || !isReady(&c) || n.Next != nil || len(n.Discard) > 0 || c.Upgrade != nil || c.Status != cache.StatusAvailable {
				return false
			}
			if !b.machine.alive(*n.Process) {
				return false
			}
		}
		for _, g := range w.groups {
			if g.Upgrade != nil || g.Status != cache.StatusAvailable || g.EngineVersion != k.EngineVersion {
				return false
			}
		}
		return len(w.steps) == 0
	}
}

// wantWhole wants the data everywhere, one process and one directory for each node at the
// address that it always had, and no address that is still lent.
func (b *bench) wantWhole(t interface{ Fatalf(string, ...any) }) {
	w := b.read()
	if lost := b.machine.emptied(); len(lost) > 0 {
		t.Fatalf("without data: %v", lost)
	}
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	if len(b.machine.conflicts) > 0 {
		t.Fatalf("two at one address: %v", b.machine.conflicts)
	}
	if len(b.machine.processes) != len(w.clusters) || len(b.machine.dirs) != len(w.clusters) {
		t.Fatalf("%d nodes have the processes %v and the directories %v", len(w.clusters), slices.Collect(maps.Keys(b.machine.processes)), b.machine.dirs)
	}
	for _, c := range w.clusters {
		p := b.machine.processes[c.NodeKey()]
		if p == nil || p.spec.Address != (cache.Address{Host: c.ID, Port: 6379}) || c.Node.Address != p.spec.Address {
			t.Fatalf("%s is at %v and should be at its own address: %+v", c.ID, c.Node.Address, p)
		}
	}
	err := b.db.View(context.Background(), func(tx *store.Tx) error {
		n, err := records.Addresses.Count(tx, "")
		if n > 0 {
			t.Fatalf("%d addresses are lent still", n)
		}
		return err
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
}

func TestEveryNodeIsReplaced(t *testing.T) {
	for _, nodes := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			b := upgrading(t, t.TempDir(), nodes)
			defer b.close()
			var order []string
			b.machine.hook = func(_ int, name string) {
				if name == "take over" || name == "freeze" || name == "compare" {
					order = append(order, name)
				}
			}
			b.upgradeTo(kind81)
			b.run()
			b.eventually("upgraded", b.of(kind81))
			b.stop()
			b.wantWhole(t)
			want := strings.Repeat("compare, take over, ", max(nodes-1, 0)) + "compare, freeze, take over"
			if got := strings.Join(order, ", "); got != want {
				t.Errorf("it went %s\nand should %s", got, want)
			}
			b.wantEvent("g: Upgraded from redis 7.0 to valkey 8.1, served by the installed build newer; ")
		})
	}
}

// TestAnUpgradeThatIsCutShortGoesOn ends the service again and again at a random call to
// the outside, in the midst of an upgrade. No data are lost and no two nodes answer at one
// address, and in the end all nodes are what they were to become.
func TestAnUpgradeThatIsCutShortGoesOn(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b := upgrading(t, filepath.Join(dir, fmt.Sprint(n)), rapid.IntRange(0, 2).Draw(rt, "nodes"))
		defer b.close()
		end := kind81
		if rapid.Bool().Draw(rt, "the primary cannot be replaced") {
			end = kind70
			b.breaks("freeze", fmt.Errorf("it does not: %w", cache.ErrPermanent))
		}
		b.upgradeTo(kind81)
		for _, calls := range rapid.SliceOfN(rapid.IntRange(1, 10), 1, 6).Draw(rt, "calls until each cut") {
			b.cutAfter(calls)
		}
		b.run()
		b.eventually("it is over", b.of(end))
		b.stop()
		b.wantWhole(rt)
	})
}

// TestNodesThatDieInAnUpgrade kills a node, the former or the coming one, at every call to
// the outside. In a group nothing is ever lost; alone nothing is once the new node has caught up.
func TestNodesThatDieInAnUpgrade(t *testing.T) {
	for _, c := range []struct {
		nodes int
		keys  []string
	}{
		{0, []string{"r/g", "r/g.1"}},
		{2, []string{"r/g-001", "r/g-002", "r/g-001.1", "r/g-002.1"}},
	} {
		for _, key := range c.keys {
			for _, cut := range []bool{false, true} {
				t.Run(fmt.Sprint(key, " cut=", cut), func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					for at := 1; ; at++ {
						b := upgrading(t, filepath.Join(dir, fmt.Sprint(at)), c.nodes)
						came := b.killInUpgrade(t, key, at, cut, c.nodes == 0)
						b.close()
						if !came {
							return
						}
					}
				})
			}
		}
	}
}

// killInUpgrade kills a node at a call, and with cut the service with it, and wants the
// upgrade to come to its end; false if there were fewer calls.
func (b *bench) killInUpgrade(t *testing.T, key string, at int, cut, alone bool) (came bool) {
	t.Helper()
	reached, mayLose := make(chan struct{}), false
	var said []string
	b.machine.mu.Lock()
	until, live := b.machine.calls+at, true
	b.machine.hook = func(call int, name string) {
		said = append(said, name)
		if call != until || !live {
			return
		}
		live = false
		mayLose = alone && b.alone(key)
		b.machine.kill(key)
		close(reached)
	}
	b.machine.mu.Unlock()
	b.upgradeTo(kind81)
	b.run()
	b.eventually("upgraded, or killed", func(w world) bool {
		select {
		case <-reached:
			return true
		default:
			return b.of(kind81)(w)
		}
	})
	if cut {
		b.stop()
		b.run()
	}
	b.eventually(fmt.Sprintf("upgraded though %s died at call %d", key, at), b.of(kind81))
	b.stop()
	select {
	case <-reached:
		came = true
	default:
	}
	if mayLose {
		b.machine.fill()
	}
	if len(b.machine.emptied()) > 0 {
		t.Log(key, "died at", said[at-1], at, said, "\n", strings.Join(b.events(), "\n"))
	}
	b.wantWhole(t)
	return came
}

// alone tells whether a node that is killed now is the last one that has the data, or is
// about to be: the former one is being killed.
func (b *bench) alone(key string) bool {
	n := b.read().clusters["r/g"].Node
	switch {
	case n.Generation > 0:
		return true
	case key == "r/g":
		return n.Next == nil || !n.Next.Ready
	}
	return n.Next != nil && n.Next.TakingOver
}

// TestAnUpgradeThatCannotGoOn leaves the former nodes serving, at each step at which it
// may fail, and says so.
func TestAnUpgradeThatCannotGoOn(t *testing.T) {
	for _, c := range []struct {
		name, step string
		to         cache.Kind
		says       string
	}{
		{"it is not compared", "compare", kind81, "Failed to upgrade from redis 7.0 to valkey 8.1"},
		{"another node type", "compare", cache.Kind{Engine: "redis", EngineVersion: "7.1", NodeType: "cache.t3.medium", Build: "newer"}, "Failed applying modification to cache node type to cache.t3.medium."},
		{"not installed", "", cache.Kind{Engine: "redis", EngineVersion: "7.1", Build: "absent"}, "absent is not installed"},
		{"no addresses", "none", kind81, "no addresses of their own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := upgrading(t, t.TempDir(), 2)
			defer b.close()
			if c.step == "none" {
				b.update(func(tx *store.Tx) error { return records.Pools.Put(tx, records.PoolKey, records.Pool{}) })
			}
			if c.step != "" {
				b.breaks(c.step, fmt.Errorf("7 keys differ: %w", cache.ErrPermanent))
			}
			b.upgradeTo(c.to)
			b.run()
			b.eventually("it is over", b.of(kind70))
			b.stop()
			b.wantWhole(t)
			b.wantEvent(c.says)
		})
	}
}

// TestAPrimaryThatCannotBeReplaced has the replicas, which have been, go back.
func TestAPrimaryThatCannotBeReplaced(t *testing.T) {
	b := upgrading(t, t.TempDir(), 3)
	defer b.close()
	b.breaks("freeze", fmt.Errorf("it does not: %w", cache.ErrPermanent))
	b.upgradeTo(kind81)
	b.run()
	b.eventually("it is over", b.of(kind70))
	b.stop()
	b.wantWhole(t)
	b.wantEvent("g: Failed to upgrade from redis 7.0 to valkey 8.1: cannot hand g-001 over to its new node: it does not")
}

// beside starts the replacement of a node, in step, without anybody having written that down
// but as far as known says.
func (b *bench) beside(id string, known func(n *cache.Node, p cache.Process)) {
	key := "r/" + id
	lead := cache.Address{Host: strings.Replace(id, "-002", "-001", 1), Port: 6379}
	at := cache.Address{Host: "lent", Port: 6379}
	p, err := b.machine.Start(context.Background(), cache.NodeSpec{Key: key + ".1", Build: "newer", Address: at, Primary: lead})
	if err != nil {
		b.t.Fatal(err)
	}
	b.machine.fill()
	b.update(func(tx *store.Tx) error {
		return changeCluster(tx, key, func(c *cache.CacheCluster) {
			to := kind81
			c.Node.Next = &cache.Node{Address: at, Build: "newer", Generation: 1, Becomes: &to, Primary: lead}
			known(c.Node.Next, p)
		})
	})
}

// TestNobodyStartsEmptyBesideTheData: the node that was to replace one that has died has the
// data, though the service was killed before it could write that down.
func TestNobodyStartsEmptyBesideTheData(t *testing.T) {
	b := upgrading(t, t.TempDir(), 0)
	defer b.close()
	b.upgradeTo(kind81)
	b.beside("g", func(*cache.Node, cache.Process) {})
	b.machine.kill("r/g")
	b.run()
	b.eventually("upgraded", b.of(kind81))
	b.stop()
	b.wantWhole(t)
}

// TestWhoHasTheMostSucceeds: of a replica and the replacement of a dead primary it is the
// latter, unless the replica has more.
func TestWhoHasTheMostSucceeds(t *testing.T) {
	for _, behind := range []bool{false, true} {
		b := upgrading(t, t.TempDir(), 2)
		defer b.close()
		b.upgradeTo(kind81)
		b.beside("g-001", func(n *cache.Node, p cache.Process) { n.Process, n.Ready = &p, true })
		b.machine.mu.Lock()
		b.machine.behind = map[string]int64{"r/g-001.1": map[bool]int64{true: 1}[behind]}
		b.machine.mu.Unlock()
		b.machine.kill("r/g-001")
		b.run()
		b.eventually("upgraded", b.of(kind81))
		b.stop()
		if lead, want := b.read().groups[0].Primary, map[bool]string{false: "g-001", true: "g-002"}[behind]; lead != want {
			t.Errorf("with the replacement behind: %t, %s leads", behind, lead)
		}
	}
}
