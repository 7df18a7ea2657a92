package testkit_test

import (
	"fmt"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// A cluster serves all slots, and a slot moves with its keys.
func TestStartCluster(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		replicas := 0
		if b.Engine == "valkey" {
			replicas = 1
		}
		c := testkit.StartCluster(t, b, 3, replicas)
		const slot = 12182 // of foo
		from := c.Owner(slot)
		if from != c.Primaries[2] {
			t.Fatalf("slot %d is at %s", slot, from.Addr())
		}
		for i := range 250 {
			from.Must("SET", fmt.Sprintf("{foo}%d", i), i)
		}
		to := c.Primaries[0]
		if b.Name == "valkey-9.1.2" {
			if err := c.MigrateSlots(slot, slot, from, to); err != nil {
				t.Fatal(err)
			}
		} else if err := c.MoveSlot(slot, from, to); err != nil {
			t.Fatal(err)
		}
		if to.Must("GET", "{foo}7") != "7" || to.Must("DBSIZE") != int64(250) || c.Keys() != 250 {
			t.Error("the keys did not move with their slot")
		}
		if c.Owner(slot) != to {
			t.Error("the slot did not move")
		}
		r := c.Reshard([]int{slot, 1, 2, 16000}, c.Primaries[1])
		<-r.Done()
		if n, err := r.Stop(); err != nil || n != 4 {
			t.Errorf("%d slots moved: %v", n, err)
		}
		if c.Owner(slot) != c.Primaries[1] || c.Owner(16000) != c.Primaries[1] {
			t.Error("the slots did not move")
		}
		if c.Keys() != 250 {
			t.Errorf("%d keys", c.Keys())
		}
	})
}
