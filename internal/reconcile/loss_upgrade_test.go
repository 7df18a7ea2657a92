package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// tryAct does one action as it would be done if it had been planned long before, and writes
// nothing down of what came of it.
func (b *bench) tryAct(a Action) error {
	r := New(Config{
		DB: b.db, Engines: b.machine, Transfers: fakeTransfers{b.machine}, Endpoints: fakeEndpoints{b.machine}, Memory: b.machine,
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	_, err := r.act(context.Background(), "group r/g", a)
	return err
}

// unlink has a node be without its primary for long, and empty.
func (b *bench) unlink(key string) {
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	b.machine.unlinked = map[string]time.Duration{key: time.Hour}
	if p := b.machine.processes[key]; p != nil {
		p.holds = false
	}
}

func inStep(n *cache.Node, p cache.Process) { n.Process, n.Ready, n.Compared = &p, true, true }

// TestNobodyIsReplacedByWhoLostItsPrimary: what was in step when that was written down may
// be reading everything anew by now, and the former node may be the only one that has the data.
func TestNobodyIsReplacedByWhoLostItsPrimary(t *testing.T) {
	for _, id := range []string{"g-001", "g-002"} {
		b := upgrading(t, t.TempDir(), 2)
		defer b.close()
		b.upgradeTo(kind81)
		b.beside(id, inStep)
		b.unlink("r/" + id + ".1")
		if err := b.tryAct(Action{Kind: actTakeOver, Target: "r/" + id}); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		c := b.read().clusters["r/"+id]
		if !b.machine.alive(*c.Node.Process) || c.Node.Next.TakingOver {
			t.Errorf("%s: the former node lives: %t; the other one takes over: %t", id, b.machine.alive(*c.Node.Process), c.Node.Next.TakingOver)
		}
	}
}

// TestWhoDiedMeanwhileIsSucceededByWhoHasTheMost: a take-over that was planned while the primary
// lived, and comes to be done when it is dead, is none any more.
func TestWhoDiedMeanwhileIsSucceededByWhoHasTheMost(t *testing.T) {
	b := upgrading(t, t.TempDir(), 2)
	defer b.close()
	b.upgradeTo(kind81)
	b.beside("g-001", inStep)
	b.machine.kill("r/g-001")
	b.update(func(tx *store.Tx) error {
		return changeCluster(tx, "r/g-001", func(c *cache.CacheCluster) { c.Node.Process, c.Node.Ready = nil, false })
	})
	if err := b.tryAct(Action{Kind: actTakeOver, Target: "r/g-001"}); err != nil {
		t.Error(err)
	}
	if b.read().clusters["r/g-001"].Node.Next.TakingOver {
		t.Error("nobody has asked the replica what it has")
	}
}

// TestATakeOverThatFailedDecidesNothing: when the former primary dies later, whoever has
// the most succeeds it, as if nothing had been tried.
func TestATakeOverThatFailedDecidesNothing(t *testing.T) {
	b := upgrading(t, t.TempDir(), 2)
	defer b.close()
	b.upgradeTo(kind81)
	b.beside("g-001", inStep)
	b.breaks("freeze", errors.New("it is busy"))
	if err := b.tryAct(Action{Kind: actTakeOver, Target: "r/g-001"}); err == nil {
		t.Fatal("it took over")
	}
	b.breaks("freeze", nil)
	b.unlink("r/g-001.1")
	b.machine.kill("r/g-001")
	b.run()
	b.eventually("somebody leads", func(w world) bool {
		lead := w.clusters["r/"+w.groups[0].Primary]
		return isReady(&lead) && lead.Node.Role == cache.RolePrimary && b.machine.alive(*lead.Node.Process)
	})
	b.stop()
	if lead := b.read().groups[0].Primary; lead != "g-002" {
		t.Errorf("%s leads", lead)
	}
}

// TestWritesAreHeldUntilTheFormerIsDead: a hold that has ended, or is about to, proves nothing.
func TestWritesAreHeldUntilTheFormerIsDead(t *testing.T) {
	for name, e := range map[string]*slowFreeze{
		"the answer is late":        {freeze: 5 * freezeFor / 6, has: 7 * freezeFor / 6},
		"the answer comes too late": {freeze: 7 * freezeFor / 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e.fakeMachine, e.began = newMachine(), time.Now()
				p, err := e.Start(t.Context(), cache.NodeSpec{Key: "r/g"})
				if err != nil {
					t.Fatal(p, err)
				}
				turn := &turnover{r: New(Config{Engines: e, Log: slog.New(slog.DiscardHandler)}), there: cache.NodeSpec{Key: "r/g.1"}}
				if err := turn.drain(t.Context(), cache.NodeSpec{Key: "r/g"}); err == nil {
					t.Errorf("it may be killed %s after its writes were held, for %s", time.Since(e.began), freezeFor)
				}
				if e.processes["r/g"].held {
					t.Error("its writes are held still")
				}
			})
		})
	}
}

// slowFreeze is a machine that is slow to answer; has is when the other node has everything.
type slowFreeze struct {
	*fakeMachine

	freeze, has time.Duration
	began       time.Time
}

func (e *slowFreeze) Freeze(ctx context.Context, spec cache.NodeSpec, d time.Duration) (int64, error) {
	defer time.Sleep(e.freeze)
	return e.fakeMachine.Freeze(ctx, spec, d)
}

func (e *slowFreeze) Probe(context.Context, cache.NodeSpec) (cache.Health, error) {
	h := cache.Health{Role: cache.RoleReplica, LinkUp: true}
	if time.Since(e.began) >= e.has {
		h.Offset = 1
	}
	return h, nil
}

// TestWhoKeepsItsDataOnDiskIsStartedAgain: its own files have all that was acknowledged, and
// the node that was to replace it may not.
func TestWhoKeepsItsDataOnDiskIsStartedAgain(t *testing.T) {
	for _, nodes := range []int{0, 1} {
		b := upgrading(t, t.TempDir(), nodes)
		defer b.close()
		id := map[int]string{0: "g", 1: "g-001"}[nodes]
		b.upgradeTo(kind81)
		b.beside(id, inStep)
		b.update(func(tx *store.Tx) error {
			return changeCluster(tx, "r/"+id, func(c *cache.CacheCluster) {
				c.Parameters = map[string]string{"appendonly": "yes"}
				c.Node.Parameters = c.StartedParameters()
			})
		})
		b.unlink("r/" + id + ".1")
		b.machine.kill("r/" + id)
		b.run()
		b.eventually("it comes up", func(w world) bool {
			n := w.clusters["r/"+id].Node
			return n.Process != nil && b.machine.alive(*n.Process)
		})
		b.stop()
		if c := b.read().clusters["r/"+id]; c.Node.Generation != 0 {
			t.Errorf("%d nodes: another node has come in its place", nodes)
		}
	}
}

// TestAttemptsWhileItLivedDoNotCount: a node that could not be replaced dies, and what was
// to replace it is all that there is.
func TestAttemptsWhileItLivedDoNotCount(t *testing.T) {
	for _, taking := range []bool{false, true} {
		b := upgrading(t, t.TempDir(), 0)
		defer b.close()
		b.upgradeTo(kind81)
		b.beside("g", func(n *cache.Node, p cache.Process) { inStep(n, p); n.TakingOver = taking })
		b.update(func(tx *store.Tx) error {
			a := Action{Kind: actTakeOver, Target: "r/g"}
			return records.Steps.Put(tx, a.ID(), cache.Step{
				ID: a.ID(), Kind: string(a.Kind), Unit: clusterUnit("r/g"), Target: a.Target,
				State: cache.StepFailed, Attempts: attemptsFor[actTakeOver], Error: "it was busy",
			})
		})
		b.machine.kill("r/g")
		b.run()
		b.eventually("it is over", func(w world) bool {
			c := w.clusters["r/g"]
			return isReady(&c) && c.Upgrade == nil && b.machine.alive(*c.Node.Process)
		})
		b.stop()
		if lost := b.machine.emptied(); len(lost) > 0 {
			t.Errorf("taking over %t: without data: %v", taking, lost)
		}
	}
}

// unseen starts a node as it is recorded, without anybody having written that down.
func (b *bench) unseen(key string, spec cache.NodeSpec) {
	b.machine.kill(key)
	spec.Key = key
	if _, err := b.machine.Start(context.Background(), spec); err != nil {
		b.t.Fatal(err)
	}
	b.update(func(tx *store.Tx) error {
		return changeCluster(tx, key, func(c *cache.CacheCluster) { c.Node.Process, c.Node.Ready = nil, false })
	})
}

// TestAnEngineThatNobodyKnowsOfIsNotTakenForTheNewOne: the service was killed when it had
// just started a replica, as what it was. It is not upgraded by being found.
func TestAnEngineThatNobodyKnowsOfIsNotTakenForTheNewOne(t *testing.T) {
	t.Run("without cluster mode", func(t *testing.T) {
		b := upgrading(t, t.TempDir(), 2)
		defer b.close()
		b.upgradeTo(kind81)
		b.unseen("r/g-002", b.machine.process("r/g-002").started)
		b.run()
		b.eventually("upgraded", b.of(kind81))
		b.stop()
		c := b.read().clusters["r/g-002"]
		if is := b.machine.process(c.NodeKey()).started.Build; is != "newer" {
			t.Errorf("it is said to be upgraded and is %q", is)
		}
	})
	t.Run("in cluster mode", func(t *testing.T) {
		b := newBench(t, t.TempDir())
		defer b.close()
		b.cluster("g", nil)
		b.run()
		b.eventually("available", groupIs("g", cache.StatusAvailable))
		b.stop()
		b.upgrade("g")
		b.unseen("r/g-0001-002", b.machine.process("r/g-0001-002").started)
		if err := b.tryAct(Action{Kind: actExchange, Target: "r/g-0001-002"}); err != nil {
			t.Fatal(err)
		}
		if b.machine.process("r/g-0001-002").ref.PID != 0 {
			t.Error("it runs, and will be taken for the new one")
		}
	})
}

// TestALimitThatMayHaveBeenTakenGoesBack: a node that did not say that it has its new limit
// may have it all the same, and would evict what its type has room for.
func TestALimitThatMayHaveBeenTakenGoesBack(t *testing.T) {
	b := sized(t, false)
	b.machine.mu.Lock()
	b.machine.stubborn = true
	b.machine.mu.Unlock()
	b.ask(cache.Pending{NodeType: "cache.t3.micro", Now: true})
	b.eventually("failed", b.settledAs("cache.t3.small"))
	b.machine.mu.Lock()
	b.machine.stubborn = false
	b.machine.mu.Unlock()
	b.eventually("at rest", func(w world) bool {
		for _, c := range w.clusters {
			if c.Node.Parameters.Unsure {
				return false
			}
		}
		return b.settledAs("cache.t3.small")(w)
	})
	b.limitsAre(t, "cache.t3.small")
}

// TestNobodyIsStoppedForAStandInThatLostItsPrimary: the replica may be the only one that has
// the data besides its primary.
func TestNobodyIsStoppedForAStandInThatLostItsPrimary(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.cluster("g", nil)
	b.run()
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.breaks("stop", errors.New("not yet"))
	b.upgrade("g")
	a := Action{Kind: actExchange, Target: "r/g-0001-002"}
	b.eventually("it is to be stopped", func(w world) bool { return w.steps["group r/g"][a.ID()].State == cache.StepFailed })
	b.stop()
	b.breaks("stop", nil)
	b.unlink("r/" + cache.StandInID("g", "0001"))
	err := b.tryAct(a)
	if b.machine.process("r/g-0001-002").ref.PID == 0 {
		t.Errorf("it was stopped: %v", err)
	}
}

// TestADeathIsInTheReport: nobody knows whether what a primary acknowledged last had reached
// the one that came in its place.
func TestADeathIsInTheReport(t *testing.T) {
	b := upgrading(t, t.TempDir(), 2)
	defer b.close()
	b.breaks("compare", errors.New("not yet"))
	b.upgradeTo(kind81)
	b.run()
	a := Action{Kind: actCompare, Target: "r/g-002"}
	b.eventually("under way", func(w world) bool { return w.steps["group r/g"][a.ID()].State == cache.StepFailed })
	b.machine.kill("r/g-001")
	b.eventually("its end is known", func(w world) bool { return w.groups[0].Primary == "g-002" })
	b.breaks("compare", nil)
	b.eventually("it is over", func(w world) bool { return w.groups[0].Upgrade == nil })
	b.stop()
	err := b.db.View(context.Background(), func(tx *store.Tx) error {
		all, err := records.Reports.List(tx, records.ReportsOf("r", true, "g"))
		if len(all) != 1 || all[0].Died != 1 {
			t.Errorf("the report says %+v", all)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
