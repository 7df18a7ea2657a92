package engine_test

import (
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// A primary dies when one of its slots has just been given to another shard. The replica
// that leads next must not claim it: the other shard would delete the keys.
func TestANewPrimaryDoesNotTakeBackWhatWasGivenAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := newHive(b, testkit.Engine(t, "redis-7.0"))
	h.start(0, 1, 2, 3)
	h.formed()
	const slot = "3300" // lowKey's
	admin := func(i int) *resp.Conn {
		return h.login(h.nodes[i].Address.Host, h.nodes[i].Address.Port, engine.AdminUser, secret)
	}
	giver, taker := admin(0), admin(2)
	h.do2(taker, "CLUSTER", "SETSLOT", slot, "IMPORTING", busID(0))
	h.do2(giver, "CLUSTER", "SETSLOT", slot, "MIGRATING", busID(2))
	h.do2(taker, "ASKING")
	h.do2(taker, "SET", lowKey, "kept")
	h.do2(taker, "CLUSTER", "DELSLOTS", slot)
	h.do2(taker, "CLUSTER", "ADDSLOTS", slot)
	h.do2(taker, "CLUSTER", "BUMPEPOCH")
	h.kill(0)
	h.leads[0] = 1
	next := h.spec(1)
	next.Cluster.Moving = cache.Slots{{First: 3300, Last: 3300}}
	if err := h.Reconfigure(h.context(), next); err != nil {
		t.Fatal(err)
	}
	h.owns(next, busID(2), h.spec(2).Cluster.Nodes[2].Slots.Plus(next.Cluster.Moving))
	if got := h.do(h.customer(2), "GET", lowKey); got != "kept" {
		t.Errorf("the key that was given away holds %q", got)
	}
}
