package slots

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/testkit"
)

var errCut = errors.New("cut short")

// cutAt runs an order until a step has come nth times, and then no further: its context
// ends there, as everything does when a process is killed.
func (g *rig) cutAt(m Move, step string, nth int) {
	g.t.Helper()
	ctx, cancel := context.WithCancelCause(g.ctx)
	defer cancel(nil)
	m.at = func(now string) error {
		if now != step {
			return nil
		}
		if nth--; nth > 0 {
			return nil
		}
		cancel(errCut)
		return errCut
	}
	if err := Run(ctx, m, func(cache.SlotProgress) error { return nil }); !errors.Is(err, errCut) {
		g.t.Fatalf("cut short at %q it says %v", step, err)
	}
}

// Whoever moves slots may die at every step; the next one goes on.
func TestAMoveIsCutShortAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		engine   string
		replicas int
		steps    []string
	}{
		{"redis-6.0", 1, []string{"imports there", "migrates there", "moved there", "given there", "taken there", "agreed there"}},
		{"valkey-8.1", 1, []string{"imports there", "migrates there", "moved there", "given there", "taken there", "agreed there"}},
		{"valkey-9.1", 0, []string{"ordered", "agreed there"}},
	} {
		t.Run(c.engine, func(t *testing.T) {
			t.Parallel()
			b := testkit.Engine(t, c.engine)
			g := newRig(t, b, 2, c.replicas)
			kept := g.fill(3000)
			w := g.write(2, 200, "")
			some := cache.Slots{{First: 0, Last: 1200}} // with all of them it takes a minute
			m := g.order(g.Primaries[0], g.Primaries[1], some)
			m.Atomic = atomically(b)
			for _, step := range c.steps {
				g.cutAt(m, step, 1)
			}
			var last cache.SlotProgress
			if err := Run(g.ctx, m, func(p cache.SlotProgress) error { last = p; return nil }); err != nil {
				t.Fatal(err)
			}
			w.check()
			if last.Done.String() != some.String() {
				t.Errorf("told of %s alone", last.Done)
			}
			g.settled(some, g.Primaries[1])
			g.holds(kept)
		})
	}
}

// An item that became too large while others of its slot had left already: they come
// back, whatever happens on the way, and the slot stays.
func TestASlotWithALargeItemStaysWhole(t *testing.T) {
	t.Parallel()
	for engine, replicas := range map[string]int{"redis-6.0": 0, "valkey-8.1": 1} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, testkit.Engine(t, engine), 2, replicas)
			const slot, tag = 3300, "{b}"
			kept := map[string]string{}
			for i := range 2000 {
				k := fmt.Sprintf("%s%d", tag, i)
				kept[k] = k
				g.do2("SET", k, k)
			}
			slots := cache.Slots{{First: slot - 5, Last: slot + 5}}
			w := g.write(2, 100, tag)
			m := g.order(g.Primaries[0], g.Primaries[1], slots)
			m.ItemLimit = 1 << 20
			g.cutAt(m, "moved there", 2)
			here, _ := g.Primaries[0].Must("CLUSTER", "GETKEYSINSLOT", slot, 1000).([]any)
			there := g.Primaries[1].Must("CLUSTER", "COUNTKEYSINSLOT", slot)
			if len(here) == 0 || there == int64(0) {
				t.Fatalf("%d keys are at the source, %v at the target", len(here), there)
			}
			large := ""
			for _, k := range here {
				if !strings.Contains(k.(string), "count") {
					large = k.(string)
				}
			}
			kept[large] = strings.Repeat("x", 2<<20)
			g.Primaries[0].Must("SET", large, kept[large])
			for _, step := range []string{
				"turned source", "turned target", "imports home", "migrates home", "moved home", "given home", "taken home", "agreed home",
			} {
				g.cutAt(m, step, 1)
			}
			var last cache.SlotProgress
			if err := Run(g.ctx, m, func(p cache.SlotProgress) error { last = p; return nil }); err != nil {
				t.Fatal(err)
			}
			w.check()
			if len(last.Kept) != 1 || !strings.Contains(last.Kept[slot], large) {
				t.Errorf("kept %v and not slot %d for %s", last.Kept, slot, large)
			}
			stays := cache.SlotsOf(slot)
			g.settled(slots.Minus(stays), g.Primaries[1])
			g.settled(stays, g.Primaries[0])
			g.holds(kept)
			if n := g.Primaries[1].Must("CLUSTER", "COUNTKEYSINSLOT", slot); n != int64(0) {
				t.Errorf("%v of its keys are at the target", n)
			}
		})
	}
}
