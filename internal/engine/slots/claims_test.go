package slots

import (
	"errors"
	"fmt"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/testkit"
)

// The source dies when the target has taken slots and the source's replica has not
// heard of it yet. That one must not claim them when it leads: the target would delete
// their keys.
func TestASuccessorDoesNotClaimWhatWasGivenAway(t *testing.T) {
	t.Parallel()
	g := newRig(t, testkit.Engine(t, "redis-7.0"), 2, 1)
	kept := map[string]string{}
	for i := range 500 {
		k := fmt.Sprintf("{b}%d", i)
		kept[k] = k
		g.do2("SET", k, k)
	}
	slots := cache.Slots{{First: 3300, Last: 3300}}
	m := g.order(g.Primaries[0], g.Primaries[1], slots)
	heir := g.node(g.Replicas[0][0])
	m.at = func(step string) error {
		if step != "given there" {
			return nil
		}
		g.Primaries[0].Kill()
		return errCut
	}
	if err := Run(g.ctx, m, func(cache.SlotProgress) error { return nil }); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	if err := Learn(g.ctx, heir, []Node{m.Source, m.Target}, slots); err != nil {
		t.Fatal(err)
	}
	g.takeOver(0)
	next := g.order(g.Primaries[0], g.Primaries[1], slots)
	if err := Run(g.ctx, next, func(cache.SlotProgress) error { return nil }); err != nil {
		t.Fatal(err)
	}
	g.settled(slots, g.Primaries[1])
	g.holds(kept)
}
