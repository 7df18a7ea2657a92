package reconcile

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

func TestMain(m *testing.M) {
	// Each check runs a whole life of a group, so fewer than rapid's hundred do.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// bench is a store, a machine, and the runner that works on both.
type bench struct {
	t       testing.TB
	db      *store.DB
	machine *fakeMachine
	stop    func()
	// newest is the Runner's Newest, of those that run from then on.
	newest func(engine, version string) cache.Successor
}

// patience bounds every wait; on a busy machine all take longer.
const patience = 3 * time.Minute

func newBench(t testing.TB, dir string) *bench {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(context.Background(), filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, db: db, machine: newMachine(), stop: func() {}}
}

// run starts a runner; stop ends it in the middle of whatever it does.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r := New(Config{
		DB: b.db, Engines: b.machine, Transfers: fakeTransfers{b.machine}, Endpoints: fakeEndpoints{b.machine}, Memory: b.machine,
		Now: time.Now, Log: slog.New(slog.DiscardHandler), Newest: b.newest,
	})
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run: %v", err)
		}
		b.stop = func() {}
		b.machine.mu.Lock()
		clear(b.machine.forwards) // they die with the service
		b.machine.mu.Unlock()
	}
}

func (b *bench) close() {
	b.stop()
	if err := b.db.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) update(fn func(tx *store.Tx) error) {
	if err := b.db.Update(context.Background(), fn); err != nil {
		b.t.Fatal(err)
	}
}

// group writes down that a group is wanted.
func (b *bench) group(id string, nodes int, seed *cache.Seed) {
	b.update(func(tx *store.Tx) error {
		g := cache.ReplicationGroup{
			Region: "r", ID: id, Status: cache.StatusCreating, Seed: seed, Secret: "s",
			PrimaryEndpoint: cache.Address{Host: id + "-p", Port: 6379}, ReaderEndpoint: cache.Address{Host: id + "-r", Port: 6379},
		}
		for n := 1; n <= nodes; n++ {
			c := cache.CacheCluster{Region: "r", ID: cache.MemberID(id, n), GroupID: id, Status: cache.StatusCreating}
			c.Node = cache.Node{Address: cache.Address{Host: c.ID, Port: 6379}, Build: "new"}
			g.Members = append(g.Members, c.ID)
			if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
				return err
			}
		}
		g.Primary = g.Members[0]
		return records.Groups.Put(tx, g.Key(), g)
	})
}

func (b *bench) snapshot(name, group string) {
	b.update(func(tx *store.Tx) error {
		err := changeGroup(tx, "r/"+group, func(g *cache.ReplicationGroup) { g.Status = cache.StatusSnapshotting })
		if err != nil {
			return err
		}
		s := cache.Snapshot{Region: "r", Name: name, GroupID: group, Status: cache.StatusCreating, CreatedAt: time.Now()}
		return records.Snapshots.Put(tx, s.Key(), s)
	})
}

func (b *bench) read() (w world) {
	w.clusters, w.steps = map[string]cache.CacheCluster{}, map[string]map[string]cache.Step{}
	if err := b.db.View(context.Background(), w.read); err != nil {
		b.t.Fatal(err)
	}
	return w
}

func (b *bench) eventually(what string, cond func(w world) bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	watch := b.db.Watch("")
	defer watch.Close()
	for !cond(b.read()) {
		select {
		case <-watch.C():
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			w := b.read()
			b.t.Fatalf("%s: it did not happen\ngroups %+v\nclusters %+v\nsnapshots %+v\nsteps %+v", what, w.groups, w.clusters, w.snapshots, w.steps)
		}
	}
}

func groupIs(id string, status cache.Status) func(world) bool {
	return func(w world) bool {
		return slices.ContainsFunc(w.groups, func(g cache.ReplicationGroup) bool { return g.ID == id && g.Status == status })
	}
}

func snapshotIs(name string, status cache.Status) func(world) bool {
	return func(w world) bool {
		return slices.ContainsFunc(w.snapshots, func(s cache.Snapshot) bool { return s.Name == name && s.Status == status })
	}
}

func (b *bench) events() []string {
	var out []string
	err := b.db.View(context.Background(), func(tx *store.Tx) error {
		all, err := records.Events.List(tx, "")
		for _, e := range all {
			out = append(out, e.SourceID+": "+e.Message)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) wantEvent(part string) {
	b.t.Helper()
	if all := b.events(); !slices.ContainsFunc(all, func(e string) bool { return strings.Contains(e, part) }) {
		b.t.Errorf("no event says %q:\n%s", part, strings.Join(all, "\n"))
	}
}

func TestAGroupComesAndGoes(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.run()
	b.group("g", 3, nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	if n := len(b.machine.forwards[cache.Address{Host: "g-r", Port: 6379}]); n != 2 {
		t.Errorf("the reader endpoint has %d nodes behind it, want 2", n)
	}
	b.wantEvent("g: Replication group g created")
	b.update(func(tx *store.Tx) error {
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) {
			g.Status, g.Deletion = cache.StatusDeleting, &cache.Deletion{}
		})
	})
	b.eventually("gone", func(w world) bool { return len(w.groups)+len(w.clusters)+len(w.steps) == 0 })
	if len(b.machine.processes)+len(b.machine.dirs)+len(b.machine.forwards) != 0 {
		t.Errorf("left behind: %v %v %v", b.machine.processes, b.machine.dirs, b.machine.forwards)
	}
}

func TestAReplicaTakesOverAndThePrimaryComesBackBelowIt(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.run()
	b.group("g", 2, nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.machine.kill("r/g-001")
	b.eventually("the old primary follows", func(w world) bool {
		old := w.clusters["r/g-001"].Node
		return w.groups[0].Primary == "g-002" && old.Ready && old.Primary.Host == "g-002" &&
			slices.Contains(old.Binds, "g-r") && slices.Contains(w.clusters["r/g-002"].Node.Binds, "g-p")
	})
	b.wantEvent("g: Failover from primary node g-001 to replica node g-002 completed")
	b.wantEvent("g-001: Recovering cache nodes 0001")
	b.wantEvent("g-001: Finished recovery for cache nodes 0001")
}

func TestACreationThatCannotSucceedLeavesNothingRunning(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.machine.broken["seed"] = fmt.Errorf("the file is truncated at byte 17: %w", cache.ErrPermanent)
	b.run()
	b.group("g", 2, &cache.Seed{ObjectARNs: []string{"arn:aws:s3:::b/k"}})
	b.eventually("failed and swept", func(w world) bool {
		return groupIs("g", cache.StatusCreateFailed)(w) && w.clusters["r/g-001"].Node.Gone && w.clusters["r/g-002"].Node.Gone
	})
	b.wantEvent("truncated at byte 17")
	for _, e := range b.events() {
		if strings.Contains(e, cache.ErrPermanent.Error()) {
			t.Errorf("an event speaks of our own marks: %s", e)
		}
	}
}

func TestASnapshotThatFailsForGoodGivesTheGroupBack(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.run()
	b.group("g", 1, nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.machine.mu.Lock()
	b.machine.broken["snapshot"] = fmt.Errorf("disk full")
	b.machine.mu.Unlock()
	b.snapshot("s", "g")
	b.eventually("failed", func(w world) bool {
		return snapshotIs("s", cache.StatusFailed)(w) && groupIs("g", cache.StatusAvailable)(w)
	})
	b.wantEvent("Snapshot failed for snapshot with ID 's' of replication group with ID 'g'")
}

// TestWhateverIsCutShortGoesOn ends the runner at a random call to the outside,
// again and again, kills nodes besides, and expects the same end.
func TestWhateverIsCutShortGoesOn(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b := newBench(t, filepath.Join(dir, fmt.Sprint(n)))
		defer b.close()
		cuts := rapid.SliceOfN(rapid.IntRange(1, 12), 0, 4).Draw(rt, "calls until each cut")
		kills := rapid.SliceOfN(rapid.SampledFrom([]string{"r/g-001", "r/g-002"}), 0, 2).Draw(rt, "nodes to kill")
		b.group("g", 2, &cache.Seed{ObjectARNs: []string{"arn:aws:s3:::b/k"}})
		for _, calls := range cuts {
			b.cutAfter(calls)
		}
		b.run()
		b.eventually("available", groupIs("g", cache.StatusAvailable))
		for _, key := range kills {
			b.machine.kill(key)
			b.eventually("whole again", b.whole)
		}
		b.snapshot("s", "g")
		b.eventually("backed up", snapshotIs("s", cache.StatusAvailable))
		if len(b.machine.processes) != 2 {
			rt.Fatalf("%d processes run, want 2", len(b.machine.processes))
		}
	})
}

// cutAfter runs a runner until it has called the outside so often, and ends it
// before that call does anything.
func (b *bench) cutAfter(calls int) {
	reached := make(chan struct{})
	b.machine.mu.Lock()
	until := b.machine.calls + calls
	b.machine.hook = func(call int, _ string) {
		if call == until {
			close(reached)
		}
	}
	b.machine.mu.Unlock()
	b.run()
	select {
	case <-reached:
	case <-time.After(100 * time.Millisecond): // there was not so much to do
	}
	b.stop()
	b.machine.mu.Lock()
	b.machine.hook = nil
	b.machine.mu.Unlock()
}

// whole tells whether both nodes are up, told and ready, and the records know it.
func (b *bench) whole(w world) bool {
	primaries := 0
	for _, c := range w.clusters {
		if c.Node.Process == nil || !c.Node.Ready {
			return false
		}
		if !b.machine.alive(*c.Node.Process) {
			return false
		}
		if c.Node.Role == cache.RolePrimary {
			primaries++
		}
	}
	return primaries == 1 && len(w.steps) == 0
}
