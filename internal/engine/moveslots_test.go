package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/testkit"
)

// A shard joins a running cluster, gets functions, slots and keys, is killed before
// anybody has written down what it got, gives all back, and leaves.
func TestAShardComesAndGoes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"redis-7.0", "valkey-9.1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			build := testkit.Engine(t, name)
			h := newHive(b, build)
			h.start(0, 1, 2, 3)
			h.formed()
			for i := range 300 {
				h.do(h.customer(0), "SET", fmt.Sprintf("{b}%d", i), "v")
			}
			h.do(h.customer(0), "FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('seven', function() return 7 end)")

			newcomer := b.spec(build, "hive-0003-001")
			newcomer.Address.Port = h.nodes[0].Address.Port
			newcomer.Parameters["cluster-enabled"] = "yes"
			newcomer.Parameters["cluster-require-full-coverage"] = "no"
			// joined is what a node is to be now that there is one more.
			joined := func(s cache.NodeSpec, self string) cache.NodeSpec {
				c := *h.spec(0).Cluster
				c.Self = self
				c.Nodes = append(slices.Clone(c.Nodes), cache.ClusterNode{
					ID: busID(4), Shard: busID(7), Address: newcomer.Address, BusPort: newcomer.Address.Port + 10000,
				})
				s.Cluster = &c
				return s
			}
			newcomer = joined(newcomer, busID(4))
			p := b.up(newcomer)
			var all []cache.NodeSpec
			for i := range h.nodes {
				all = append(all, joined(h.spec(i), busID(i)))
				for range 2 { // it may be done again
					if err := h.Introduce(h.context(), all[i], busID(4)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := h.AwaitFormed(h.context(), newcomer); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := h.CopyFunctions(h.context(), all[0], newcomer); err != nil {
					t.Fatal(err)
				}
			}
			if got := h.do(b.client(newcomer.Address.Host, newcomer.Address.Port), "FCALL", "seven", "0"); got != "7" {
				t.Errorf("the function says %q", got)
			}

			slots := cache.Slots{{First: 1000, Last: 4000}}
			h.move(cache.SlotMove{Source: all[0], Target: newcomer, Others: all[1:], Slots: slots})
			for _, s := range append(all, newcomer) {
				h.owns(s, busID(4), slots)
				h.owns(s, busID(0), cache.EvenSlots(2)[0].Minus(slots))
			}
			if got := h.do(b.client(newcomer.Address.Host, newcomer.Address.Port), "DBSIZE"); got != "300" {
				t.Errorf("the new shard has %s keys", got)
			}

			// What its spec says of slots on the move is old; the node knows better.
			if err := b.Stop(h.context(), newcomer, &p); err != nil {
				t.Fatal(err)
			}
			newcomer.Cluster.Moving = slots
			p = b.up(newcomer)
			h.owns(newcomer, busID(4), slots)
			if err := h.AwaitFormed(h.context(), newcomer); err != nil {
				t.Fatal(err)
			}

			h.move(cache.SlotMove{Source: newcomer, Target: all[0], Others: all[1:], Slots: slots})
			h.owns(all[3], busID(0), cache.EvenSlots(2)[0])
			b.down(newcomer, &p)
			for range 2 {
				for _, s := range all {
					if err := h.Forget(h.context(), s, busID(4)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, s := range all {
				if owners, err := h.SlotOwners(h.context(), s); err != nil || len(owners) != 2 {
					t.Errorf("%s sees the primaries %v: %v", s.Key, owners, err)
				}
			}
			h.formed()
		})
	}
}

func (h *hive) move(m cache.SlotMove) {
	h.t.Helper()
	done := cache.Slots(nil)
	err := h.MoveSlots(h.context(), m, func(p cache.SlotProgress) error { done = p.Done; return nil })
	if err != nil {
		h.t.Fatal(err)
	}
	if done.String() != m.Slots.String() {
		h.t.Errorf("%s are done and %s were asked for", done, m.Slots)
	}
	if strings.Contains(h.log.String(), secret) {
		h.t.Error("the password is in the log")
	}
}

// owns checks whose some slots are, as one node sees it.
func (h *hive) owns(viewer cache.NodeSpec, id string, want cache.Slots) {
	h.t.Helper()
	owners, err := h.SlotOwners(h.context(), viewer)
	if err != nil {
		h.t.Fatal(err)
	}
	if owners[id].String() != want.String() {
		h.t.Errorf("for %s node %.4s has %s and should have %s", viewer.Key, id, owners[id], want)
	}
}
