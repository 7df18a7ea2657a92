package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// serving is a bench whose group g of so many nodes is available.
func serving(t *testing.T, nodes int) *bench {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.run()
	b.group("g", nodes, nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	return b
}

// breaks makes a method of the outside fail, or heals it.
func (b *bench) breaks(method string, err error) {
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	b.machine.broken[method] = err
}

// act does one action as it would be done if it had been planned long before.
func (b *bench) act(a Action) {
	b.t.Helper()
	r := New(Config{
		DB: b.db, Engines: b.machine, Transfers: fakeTransfers{b.machine}, Endpoints: fakeEndpoints{b.machine}, Memory: b.machine,
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if _, err := r.act(context.Background(), "group r/g", a); err != nil {
		b.t.Fatal(err)
	}
}

func TestAFinalSnapshotThatIsDeletedEarlyDoesNotBringTheGroupBack(t *testing.T) {
	b := serving(t, 2)
	b.breaks("stop", errors.New("not yet"))
	b.update(func(tx *store.Tx) error {
		s := cache.Snapshot{Region: "r", Name: "last", GroupID: "g", Status: cache.StatusCreating, CreatedAt: time.Now()}
		if err := records.Snapshots.Put(tx, s.Key(), s); err != nil {
			return err
		}
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) {
			g.Status, g.Deletion = cache.StatusDeleting, &cache.Deletion{FinalSnapshot: "last"}
		})
	})
	b.eventually("backed up", snapshotIs("last", cache.StatusAvailable))
	b.update(func(tx *store.Tx) error {
		return changeSnapshot(tx, "r/last", func(s *cache.Snapshot) { s.Deleting, s.Status = true, cache.StatusDeleting })
	})
	b.eventually("the snapshot is gone", func(w world) bool { return len(w.snapshots) == 0 })
	b.breaks("stop", nil)
	b.eventually("the group is gone", func(w world) bool { return len(w.groups)+len(w.clusters) == 0 })
	for _, e := range b.events() {
		if strings.Contains(e, "called off") {
			t.Errorf("an event says %q", e)
		}
	}
}

func TestAPrimaryThatDiesWhileItIsVerifiedIsSeededOnceMore(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	var died atomic.Bool
	b.machine.hook = func(_ int, name string) {
		if name == "verify" && died.CompareAndSwap(false, true) {
			b.breaks("start", errors.New("not yet"))
			b.machine.kill("r/g-001")
			b.eventually("its end is known", func(w world) bool { return w.clusters["r/g-001"].Node.Process == nil })
		}
	}
	b.run()
	b.group("g", 1, &cache.Seed{ObjectARNs: []string{"arn:aws:s3:::b/k"}})
	b.eventually("the comparison is over", func(w world) bool {
		_, open := w.steps["group r/g"]["verify r/g-001"]
		return died.Load() && !open
	})
	b.breaks("start", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	if !b.machine.processes["r/g-001"].loaded {
		t.Error("the group is available without the data of its seed")
	}
}

// TestOnlyDataThatWasThereIsMissed: a node that dies before it is available had none.
func TestOnlyDataThatWasThereIsMissed(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	var died atomic.Bool
	b.machine.hook = func(_ int, name string) {
		if name == "formed" && died.CompareAndSwap(false, true) {
			b.machine.kill("r/g-0001-001")
		}
	}
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.wantEvent("g-0001-001: Finished recovery")
	for _, e := range b.events() {
		if strings.Contains(e, "without data") {
			t.Errorf("an event says %q", e)
		}
	}
}

// TestAFailoverTestCutShortIsNotCalledOff: the attempt before has killed the primary, and
// nobody has heard of its end yet. Its replica has lost its link by that.
func TestAFailoverTestCutShortIsNotCalledOff(t *testing.T) {
	b := serving(t, 2)
	b.stop()
	b.update(func(tx *store.Tx) error {
		p, _, err := records.Clusters.Get(tx, "r/g-001")
		return errors.Join(err, changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) {
			g.Test = &cache.FailoverTest{Region: "r", GroupID: "g", NodeGroupID: "0001", Primary: "g-001", Process: *p.Node.Process}
		}))
	})
	b.machine.kill("r/g-001")
	b.machine.kill("r/g-002") // a replica of this machine has its link as long as it lives
	b.carryOut("group r/g", Action{Kind: actTest, Target: "r/g"})
	if test := b.read().groups[0].Test; test == nil || !test.Done {
		t.Errorf("the test is %+v: %v", test, b.events())
	}
}

// TestAStalePlanStartsNoEmptyPrimary: what waited for its turn meanwhile finds
// that a replica has the data, or that the primary is back.
func TestAStalePlanStartsNoEmptyPrimary(t *testing.T) {
	b := serving(t, 2)
	b.stop()
	b.act(Action{Kind: actPromote, Target: "r/g"})
	if b.machine.processes["r/g-001"] == nil {
		t.Error("a primary that serves was killed for a promotion")
	}
	b.machine.kill("r/g-001")
	b.update(func(tx *store.Tx) error {
		return changeCluster(tx, "r/g-001", func(c *cache.CacheCluster) { c.Node.Process, c.Node.Ready = nil, false })
	})
	b.act(Action{Kind: actStart, Target: "r/g-001"})
	if b.machine.processes["r/g-001"] != nil {
		t.Error("an empty primary was started above a replica that has the data")
	}
}

// TestAReplicaThatNoRecordKnowsIsNotEmptied: the service was killed after it had started
// the replica and before that was written down, and the primary died before it came back.
func TestAReplicaThatNoRecordKnowsIsNotEmptied(t *testing.T) {
	b := serving(t, 2)
	b.stop()
	b.machine.kill("r/g-001")
	b.update(func(tx *store.Tx) error {
		dead := func(c *cache.CacheCluster) { c.Node.Process, c.Node.Ready = nil, false }
		return errors.Join(changeCluster(tx, "r/g-001", dead), changeCluster(tx, "r/g-002", dead))
	})
	b.run()
	b.eventually("whole again", b.whole)
	if g := b.read().groups[0]; g.Primary != "g-002" || b.machine.starts["r/g-002"] != 1 {
		t.Errorf("%s leads, and the replica was started %d times", g.Primary, b.machine.starts["r/g-002"])
	}
	if p := b.machine.process("r/g-001"); p.started.Primary.IsZero() {
		t.Error("the primary was started empty above a replica that has the data")
	}
}

func TestANodeThatCannotBeWatchedIsNotTakenForDead(t *testing.T) {
	b := serving(t, 2)
	b.stop()
	before := b.read()
	var asked atomic.Int64
	b.machine.hook = func(_ int, name string) {
		if name == "adopt" {
			asked.Add(1)
		}
	}
	b.breaks("adopt", errors.New("too many open files"))
	b.run()
	b.eventually("asked several times", func(world) bool { return asked.Load() > 4 })
	b.breaks("adopt", nil)
	b.machine.kill("r/g-002")
	b.eventually("whole again", b.whole)
	after := b.read()
	if after.groups[0].Primary != "g-001" || *after.clusters["r/g-001"].Node.Process != *before.clusters["r/g-001"].Node.Process {
		t.Errorf("the primary was replaced: %+v", after.groups[0])
	}
}

// TestAProcessThatIsFoundIsToldAgain: its start was cut short, and since then
// the group got another primary.
func TestAProcessThatIsFoundIsToldAgain(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	elsewhere := cache.Address{Host: "elsewhere", Port: 6379}
	if _, err := b.machine.Start(context.Background(), cache.NodeSpec{Key: "r/g-002", Primary: elsewhere}); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.group("g", 2, nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	if p := b.machine.processes["r/g-002"].spec.Primary.Host; p != "g-001" {
		t.Errorf("the replica follows %s", p)
	}
}

func TestANodeIsToldAgainOnDemand(t *testing.T) {
	b := serving(t, 2)
	told := make(chan struct{})
	tell := sync.OnceFunc(func() { close(told) })
	b.machine.mu.Lock()
	b.machine.hook = func(_ int, name string) {
		if name == "configure" {
			tell()
		}
	}
	b.machine.mu.Unlock()
	b.update(func(tx *store.Tx) error {
		c, _, err := records.Clusters.Get(tx, "r/g-001")
		if err != nil {
			return err
		}
		return errors.Join(TellAgain(tx, &c), TellAgain(tx, &c), records.Clusters.Put(tx, c.Key(), c))
	})
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatal("it was not told")
	}
	b.eventually("whole again", b.whole)
}

// TestAStoreThatTakesNothingIsNotBesieged: an action whose step cannot be written
// down stays in flight for a while, or it would be due again at once, for ever.
func TestAStoreThatTakesNothingIsNotBesieged(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.close()
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{DB: b.db, Engines: b.machine, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		began := time.Now()
		r.perform(t.Context(), "group r/g", Action{Kind: actStart, Target: "r/g-001"})
		if time.Since(began) < storeRest {
			t.Error("it gave up at once")
		}
	})
}

func TestAFailureThatGoesOnIsToldEverMoreRarely(t *testing.T) {
	var lines []int
	r := New(Config{Log: slog.New(countHandler{slog.DiscardHandler, func(attempts int) { lines = append(lines, attempts) }})})
	for n := 1; n <= 300; n++ {
		r.complain(context.Background(), cache.Step{Attempts: n}, errors.New("no"))
	}
	if want := []int{1, 2, 4, 8, 16, 32, 64, 128, 256}; !slices.Equal(lines, want) {
		t.Errorf("told at attempts %v, want %v", lines, want)
	}
}

// countHandler hands the attempts of each line to a function.
type countHandler struct {
	slog.Handler
	line func(attempts int)
}

func (countHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h countHandler) Handle(_ context.Context, rec slog.Record) error {
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == "attempts" {
			h.line(int(a.Value.Int64()))
		}
		return true
	})
	return nil
}
