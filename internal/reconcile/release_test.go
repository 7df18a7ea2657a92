package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// letGoUnheard ends the service when the primary g, or g-001, has let go of its addresses
// and has not been killed.
func (b *bench) letGoUnheard(nodes int) cache.Process {
	b.t.Helper()
	reached, frozen := make(chan struct{}), false
	b.machine.mu.Lock()
	b.machine.hook = func(_ int, name string) {
		switch {
		case name == "freeze" && !frozen:
			frozen = true
			b.breaks("let go", errors.New("the service is killed"))
			b.breaks("fence", errors.New("the service is killed"))
		case name == "fence" && frozen && b.deafPrimary():
			frozen = false
			close(reached)
		}
	}
	b.machine.mu.Unlock()
	b.upgradeTo(kind81)
	b.run()
	select {
	case <-reached:
	case <-time.After(time.Minute):
		b.t.Fatal("nobody lets go")
	}
	b.stop()
	b.machine.mu.Lock()
	b.machine.hook = nil
	clear(b.machine.broken)
	b.machine.mu.Unlock()
	id := "g"
	if nodes > 0 {
		id = "g-001"
	}
	n := b.read().clusters["r/"+id].Node
	if n.Process == nil || !b.machine.alive(*n.Process) || n.Next == nil || !n.Next.TakingOver {
		b.t.Fatalf("the former does not live, or nobody is about to take over: %+v, %+v", n, n.Next)
	}
	return *n.Process
}

// deafPrimary tells whether a primary has let go of its addresses.
func (b *bench) deafPrimary() bool {
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	for _, p := range b.machine.processes {
		if p.deaf && p.spec.Primary.IsZero() {
			return true
		}
	}
	return false
}

// TestAFormerThatLetGoIsNotAskedAgain: the service is killed when the former primary is at
// its address no more, and lives. It has been drained, and nobody can drain it again: it is
// killed and the take-over goes on, even if the upgrade is to go no further.
func TestAFormerThatLetGoIsNotAskedAgain(t *testing.T) {
	for _, nodes := range []int{0, 2} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprint(nodes, " stopped=", stopped), func(t *testing.T) {
				b := upgrading(t, t.TempDir(), nodes)
				defer b.close()
				former := b.letGoUnheard(nodes)
				if stopped {
					b.update(func(tx *store.Tx) error {
						u := func(u *cache.Upgrade) { u.Failed = "somebody wanted it" }
						return errors.Join(changeCluster(tx, "r/g", func(c *cache.CacheCluster) {
							if c.Upgrade != nil {
								u(c.Upgrade)
							}
						}), changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { u(g.Upgrade) }))
					})
				}
				b.run()
				b.eventually("upgraded", b.of(kind81))
				b.stop()
				if b.machine.alive(former) {
					t.Error("the former lives")
				}
				b.wantWhole(t)
			})
		}
	}
}

// TestWritesAfterTheHoldAreWaitedFor: the hold of writes ends by itself, so that the former
// may have taken some until it let go. If the new one does not come to have them, the
// former serves again.
func TestWritesAfterTheHoldAreWaitedFor(t *testing.T) {
	b := upgrading(t, t.TempDir(), 2)
	defer b.close()
	b.upgradeTo(kind81)
	b.beside("g-001", inStep)
	former := *b.read().clusters["r/g-001"].Node.Process
	b.machine.mu.Lock()
	b.machine.late = 1
	b.machine.mu.Unlock()
	if err := b.tryAct(Action{Kind: actTakeOver, Target: "r/g-001"}); err == nil {
		t.Error("the new one took over and is behind")
	}
	if b.deafPrimary() || !b.machine.alive(former) {
		t.Error("the former does not serve again")
	}
	if p := b.machine.process("r/g-001"); p.held {
		t.Error("its writes are held")
	}
}

// TestAFormerThatDoesNotLetGo is killed, and its death waited for.
func TestAFormerThatDoesNotLetGo(t *testing.T) {
	for _, at := range []string{"release", "let go"} {
		b := upgrading(t, t.TempDir(), 2)
		defer b.close()
		b.breaks(at, errors.New("it does not"))
		b.upgradeTo(kind81)
		b.run()
		b.eventually("upgraded", b.of(kind81))
		b.stop()
		b.wantWhole(t)
	}
}

// TestOneThatCannotRebindIsKilled: it is not asked to let go.
func TestOneThatCannotRebindIsKilled(t *testing.T) {
	b := upgrading(t, t.TempDir(), 0)
	defer b.close()
	b.update(func(tx *store.Tx) error {
		return changeCluster(tx, "r/g", func(c *cache.CacheCluster) { c.Node.Build = "old" })
	})
	var said []string
	b.machine.hook = func(_ int, name string) { said = append(said, name) }
	b.upgradeTo(kind81)
	b.run()
	b.eventually("upgraded", b.of(kind81))
	b.stop()
	b.wantWhole(t)
	if slices.Contains(said, "release") {
		t.Error("it was asked to let go of its addresses")
	}
}
