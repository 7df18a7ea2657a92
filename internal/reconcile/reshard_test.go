package reconcile

import (
	"context"
	"errors"
	"flag"
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

// reshape writes down which node groups a group is to have, as control does.
func (b *bench) reshape(id string, want ...string) {
	b.update(func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, "r/"+id)
		if err != nil {
			return err
		}
		x := &cache.Resharding{Want: want}
		for _, n := range g.NodeGroups {
			x.Before = append(x.Before, n.ID)
		}
		g.Change, g.Status = &cache.MemberChange{Nodes: len(g.Members)}, cache.StatusModifying
		for _, shard := range want {
			if g.Shard(shard) != nil {
				continue
			}
			g.NodeGroups = append(g.NodeGroups, cache.NodeGroup{ID: shard})
			for j := range 2 {
				c, _, err := records.Clusters.Get(tx, "r/"+g.NodeGroups[0].Members[0])
				if err != nil {
					return err
				}
				c.ID, c.NodeGroupID, c.Status = cache.ShardMemberID(id, shard, j+1), shard, cache.StatusCreating
				c.CreatedAt = epoch
				c.Node = cache.Node{Address: cache.Address{Host: c.ID, Port: 6379}, Build: "new"}
				g.AddMember(shard, c.ID)
				if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
					return err
				}
			}
			g.Shard(shard).Primary = g.Shard(shard).Members[0]
		}
		g.Resharding = x
		return records.Groups.Put(tx, g.Key(), g)
	})
}

// shaped tells whether a group has come to rest with exactly these node groups, each
// with its even part of the slots, which are those that the nodes really have.
func (b *bench) shaped(id string, want ...string) func(w world) bool {
	return func(w world) bool {
		g := w.groups[0]
		if g.ID != id || g.Status != cache.StatusAvailable || g.Resharding != nil || len(g.NodeGroups) != len(want) || len(w.steps) > 0 {
			return false
		}
		v := View{Group: &g, Members: w.members(&g)}
		all := 0
		b.machine.mu.Lock()
		defer b.machine.mu.Unlock()
		for _, n := range g.NodeGroups {
			all += n.Slots.Count()
			have, asked := b.machine.slots.of[v.busID(n.ID)]
			if !slices.Contains(want, n.ID) || asked && n.Slots.String() != have.String() {
				return false
			}
		}
		for _, c := range w.clusters {
			p := b.machine.processes[c.Key()]
			if !c.Node.Ready || p == nil || *c.Node.Process != p.ref {
				return false
			}
		}
		return all == cache.SlotCount && len(cache.PlanSlots(g.NodeGroups, want)) == 0 &&
			len(w.clusters) == 2*len(want) && len(b.machine.processes) == 2*len(want) && len(b.machine.dirs) == 2*len(want)
	}
}

// TestAReshardingCutShortGoesOn ends the runner at random calls to the outside, and
// kills nodes, while a group is made larger, made smaller and balanced, and expects the
// same end each time.
func TestAReshardingCutShortGoesOn(t *testing.T) {
	few(t, 5)
	dir := t.TempDir()
	n := 0
	shapes := [][]string{{"0001", "0002", "0003", "0004"}, {"0002"}, {"0001", "0003"}, {"0002", "0003"}}
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b := newBench(t, filepath.Join(dir, fmt.Sprint(n)))
		defer b.close()
		b.machine.slots.portion = rapid.IntRange(700, 9000).Draw(rt, "slots at once")
		b.run()
		b.cluster("g", nil)
		b.eventually("available", groupIs("g", cache.StatusAvailable))
		for _, want := range rapid.SliceOfNDistinct(rapid.SampledFrom(shapes), 2, 2, func(s []string) string { return fmt.Sprint(s) }).Draw(rt, "shapes") {
			b.stop()
			b.reshape("g", want...)
			for _, calls := range rapid.SliceOfN(rapid.IntRange(1, 30), 0, 3).Draw(rt, "calls until each cut") {
				b.cutAfter(calls)
				if rapid.Bool().Draw(rt, "kill") {
					g := b.read().groups[0]
					b.machine.kill("r/" + rapid.SampledFrom(g.Members).Draw(rt, "node"))
				}
			}
			b.run()
			b.eventually("reshaped to "+strings.Join(want, " "), b.shaped("g", want...))
		}
	})
}

// few has a property checked a few times: each of them is a long life.
func few(t *testing.T, checks int) {
	t.Helper()
	all := flag.Lookup("rapid.checks").Value.String()
	t.Cleanup(func() { _ = flag.Set("rapid.checks", all) }) // it is its own value
	if err := flag.Set("rapid.checks", fmt.Sprint(checks)); err != nil {
		t.Fatal(err)
	}
}

// TestAReshardingIsCutAtEachCall ends the runner at the first call of each kind that a
// resharding makes, before it does anything and, where that differs, after.
func TestAReshardingIsCutAtEachCall(t *testing.T) {
	for _, at := range []string{"start", "ready", "introduce", "formed", "owners", "functions", "move", "moved", "stop", "remove", "forget"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, t.TempDir())
			t.Cleanup(b.close)
			b.machine.slots.portion = 3000
			b.run()
			b.cluster("g", nil)
			b.eventually("available", groupIs("g", cache.StatusAvailable))
			b.stop()
			b.reshape("g", "0001", "0003")
			b.cutAt(at)
			b.run()
			b.eventually("reshaped", b.shaped("g", "0001", "0003"))
		})
	}
}

// cutAt ends a runner at the first call of a kind.
func (b *bench) cutAt(name string) {
	b.t.Helper()
	reached := make(chan struct{})
	var once sync.Once
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b.machine.mu.Lock()
	b.machine.hook = func(_ int, called string) {
		if called == name {
			once.Do(func() { close(reached) })
			<-ctx.Done() // the call never comes to its end
		}
	}
	b.machine.mu.Unlock()
	b.run()
	select {
	case <-reached:
	case <-ctx.Done():
		b.t.Fatalf("nothing calls %q", name)
	}
	time.AfterFunc(0, cancel) // the runner waits for its calls
	b.stop()
	b.machine.mu.Lock()
	b.machine.hook = nil
	b.machine.mu.Unlock()
}

// The data of node groups that go has to fit those that stay, or nothing is moved.
func TestAGroupIsNotMadeTooSmall(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.machine.used = 200 << 20
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.reshape("g", "0002")
	b.eventually("still as it was", b.shaped("g", "0001", "0002"))
	b.wantEvent("the node groups to remove hold 200.0 MiB and those that stay have 184.0 MiB free, which must be 300.0 MiB (1.5 times as much): nothing was moved")
	b.machine.mu.Lock()
	b.machine.used = 100 << 20
	b.machine.mu.Unlock()
	b.reshape("g", "0002")
	b.eventually("smaller", b.shaped("g", "0002"))
	b.wantEvent("Resharding of replication group g from 2 to 1 node groups completed")
}

// New nodes that do not come are taken away again.
func TestNewNodeGroupsThatDoNotCome(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.stop()
	b.machine.broken["start"] = fmt.Errorf("no such build: %w", cache.ErrPermanent)
	b.reshape("g", "0001", "0002", "0003")
	b.run()
	b.eventually("as it was", b.shaped("g", "0001", "0002"))
	b.wantEvent("from 2 to 3 node groups ended before its time: g-0003-001: cannot start g-0003-001: no such build")
}

// A target without room ends the resharding with what was reached, and the same request
// goes on.
func TestAMoveThatCannotEnd(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.machine.mu.Lock()
	b.machine.broken["move"] = fmt.Errorf("no room: %w", cache.ErrPermanent)
	b.machine.mu.Unlock()
	b.reshape("g", "0001", "0002", "0003")
	b.eventually("ended", groupIs("g", cache.StatusAvailable))
	g := b.read().groups[0]
	if g.Shard("0003") == nil || len(g.Shard("0003").Slots) > 0 || len(g.Unfinished) > 0 || g.Shard("0001").Slots.Count() != 8192 {
		t.Errorf("the group is %+v", g)
	}
	b.wantEvent("no room. All slots are served; the same request goes on")
	b.machine.mu.Lock()
	delete(b.machine.broken, "move")
	b.machine.mu.Unlock()
	b.reshape("g", "0001", "0002", "0003")
	b.eventually("larger", b.shaped("g", "0001", "0002", "0003"))
}

// Slots with too large an item stay, and so does their node group.
func TestSlotsThatStay(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.machine.slots.keep = map[int]string{12000: "key large takes 300 MiB"}
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.reshape("g", "0001")
	b.eventually("ended", groupIs("g", cache.StatusAvailable))
	g := b.read().groups[0]
	if n := g.Shard("0002"); n == nil || n.Slots.String() != "12000" || g.Shard("0001").Slots.Count() != cache.SlotCount-1 {
		t.Errorf("the group is %+v", g)
	}
	b.wantEvent("completed, but for 1 slots that stay where they are: slot 12000 (key large takes 300 MiB)")
}

// New node groups get the functions of another, before they get any slots.
func TestNewNodeGroupsGetFunctions(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.reshape("g", "0001", "0002", "0003")
	b.eventually("larger", b.shaped("g", "0001", "0002", "0003"))
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	if got := fmt.Sprint(b.machine.slots.functions); got != "map[r/g-0003-001:r/g-0001-001]" {
		t.Errorf("functions were copied: %s", got)
	}
}

// What is on its way when nodes are started is marked as such.
func TestANodeIsToldWhichSlotsMove(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.machine.slots.portion = 1000
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.machine.mu.Lock()
	b.machine.broken["moved"] = errors.New("cut off")
	b.machine.mu.Unlock()
	b.reshape("g", "0001")
	b.eventually("a move is under way", func(w world) bool { return w.groups[0].MovingSlots().Count() == 8192 })
	b.machine.kill("r/g-0001-002")
	b.eventually("started again", func(world) bool {
		b.machine.mu.Lock()
		defer b.machine.mu.Unlock()
		p := b.machine.processes["r/g-0001-002"]
		return p != nil && p.started.Cluster.Moving.String() == "8192-16383"
	})
	b.machine.mu.Lock()
	delete(b.machine.broken, "moved")
	b.machine.mu.Unlock()
	b.eventually("smaller", b.shaped("g", "0001"))
	if c := b.machine.process("r/g-0001-002").spec.Cluster; len(c.Nodes) != 4 && len(c.Nodes) != 2 {
		t.Errorf("it knows %d nodes", len(c.Nodes))
	}
}
