package slots

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// takeOver kills a primary and has its replica lead.
func (g *rig) takeOver(primary int) {
	g.t.Helper()
	g.Primaries[primary].Kill()
	next := g.Replicas[primary][0]
	testkit.Wait(g.t, testPatience, func() bool {
		if next.Info("replication")["role"] == "master" {
			return true
		}
		next.Do("CLUSTER", "FAILOVER", "TAKEOVER") // refused when it leads already
		return false
	}, "%s does not take over", next.Addr())
	g.Primaries[primary], g.Replicas[primary] = next, nil
}

// A replica that takes over knows nothing of slots on the move, on this engine. A move
// with the old primaries ends, one with the new ones goes on.
func TestPrimariesAreReplacedAmidAMove(t *testing.T) {
	t.Parallel()
	for dead, name := range []string{"source", "target"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, testkit.Engine(t, "redis-7.0"), 2, 1)
			kept := map[string]string{}
			for i := range 3000 {
				k := fmt.Sprintf("{b}%d", i)
				kept[k] = k
				g.do2("SET", k, k)
			}
			slots := cache.Slots{{First: 3290, Last: 3310}}
			old := g.order(g.Primaries[0], g.Primaries[1], slots)
			g.cutAt(old, "moved there", 4)
			g.takeOver(dead)
			if err := Run(g.ctx, old, func(cache.SlotProgress) error { return nil }); err == nil {
				t.Error("slots were moved between primaries of which one is dead")
			}
			m := g.order(g.Primaries[0], g.Primaries[1], slots)
			var last cache.SlotProgress
			if err := Run(g.ctx, m, func(p cache.SlotProgress) error { last = p; return nil }); err != nil {
				t.Fatal(err)
			}
			if last.Done.String() != slots.String() {
				t.Errorf("told of %s", last.Done)
			}
			g.settled(slots, g.Primaries[1])
			g.holds(kept)
			demoted := m
			demoted.Source = g.node(g.Replicas[1-dead][0])
			if err := Run(g.ctx, demoted, func(cache.SlotProgress) error { return nil }); !errors.Is(err, ErrNotPrimary) {
				t.Errorf("a replica as the source: %v", err)
			}
		})
	}
}

// A target without memory gets nothing that it cannot keep: the slots that were open are
// the source's again, whole.
func TestATargetWithoutRoomGivesBack(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"redis-7.0", "valkey-9.1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withoutRoom(t, testkit.Engine(t, name))
		})
	}
}

func withoutRoom(t *testing.T, b catalog.Build) {
	g := newRig(t, b, 2, 0)
	kept := map[string]string{}
	for i := range 300 {
		k := fmt.Sprintf("{b}%d", i)
		kept[k] = strings.Repeat(k, 3000)
		g.do2("SET", k, kept[k])
	}
	var used int
	if _, err := fmt.Sscan(g.Primaries[1].Info("memory")["used_memory"], &used); err != nil {
		t.Fatal(err)
	}
	g.Primaries[1].Must("CONFIG", "SET", "maxmemory", used+1<<20)
	slots := cache.Slots{{First: 3290, Last: 3310}}
	m := g.order(g.Primaries[0], g.Primaries[1], slots)
	m.Atomic = atomically(b)
	moved := 0
	m.at = func(step string) error {
		if step == "moved there" || step == "ordered" {
			moved++
		}
		return nil
	}
	err := Run(g.ctx, m, func(cache.SlotProgress) error { return nil })
	if !errors.Is(err, ErrNoRoom) || strings.Contains(err.Error(), "cannot bring back") {
		t.Fatalf("a target without room says %v", err)
	}
	if moved == 0 {
		t.Error("nothing had moved, so nothing was brought back")
	}
	g.settled(slots, g.Primaries[0])
	g.holds(kept)
	if n := g.Primaries[1].Must("DBSIZE"); n != int64(0) {
		t.Errorf("%v keys are left at the target", n)
	}
}
