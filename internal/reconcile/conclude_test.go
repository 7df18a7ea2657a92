package reconcile

import (
	"testing"

	"holdfast.dev/internal/cache"
)

// Slots that a failover has brought back to a node group that is to go are not deleted
// with it.
func TestANodeGroupThatHasSlotsAgainIsNotTakenAway(t *testing.T) {
	b := clusterOfTwo(t)
	b.stop()
	b.reshape("g", "0001")
	back := cache.Slots{{First: 9000, Last: 9000}}
	b.machine.mu.Lock()
	b.machine.hook = func(_ int, name string) {
		if name != "moved" {
			return
		}
		g := b.read().groups[0]
		v := View{Group: &g}
		b.machine.mu.Lock()
		defer b.machine.mu.Unlock()
		b.machine.hook = nil
		of := b.machine.slots.of
		first, second := v.busID("0001"), v.busID("0002")
		of[first], of[second] = of[first].Minus(back), of[second].Plus(back)
	}
	b.machine.mu.Unlock()
	b.run()
	b.eventually("it is gone, and all its slots are not", b.shaped("g", "0001"))
}
