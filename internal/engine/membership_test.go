package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// lacking is what a node is to be while others are not part of the cluster.
func (h *hive) lacking(i int, others ...int) cache.NodeSpec {
	s := h.spec(i)
	s.Cluster.Nodes = slices.DeleteFunc(s.Cluster.Nodes, func(n cache.ClusterNode) bool {
		return slices.ContainsFunc(others, func(o int) bool { return n.ID == busID(o) })
	})
	return s
}

// A replica joins a cluster that serves, leaves it, and comes back at once.
func TestANodeJoinsAndLeaves(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		h := newHive(b, build)
		for _, i := range []int{0, 2} {
			h.procs[i] = b.up(h.lacking(i, 1, 3))
		}
		c := h.customer(0)
		eventually(t, "the cluster serves", func() bool { _, err := c.Do(h.context(), "SET", lowKey, "low"); return err == nil })
		known := func(i int) int {
			return strings.Count(h.do(h.customer(i), "CLUSTER", "NODES"), "\n")
		}
		join := func() {
			t.Helper()
			h.procs[1] = b.up(h.lacking(1, 3))
			for _, i := range []int{0, 2} {
				for range 2 { // what has happened may be asked for again
					if err := b.Introduce(b.context(), h.lacking(i, 3), busID(1)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := b.AwaitFormed(b.context(), h.lacking(1, 3)); err != nil {
				t.Fatal(err)
			}
		}
		leave := func() {
			t.Helper()
			b.down(h.spec(1), &h.procs[1])
			for _, i := range []int{0, 2} {
				for range 2 {
					if err := b.Forget(b.context(), h.lacking(i, 1, 3), busID(1)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		join()
		for _, i := range []int{0, 1, 2} {
			if n := known(i); n != 3 {
				t.Errorf("node %d knows %d nodes and not 3", i, n)
			}
		}
		leave()
		for _, i := range []int{0, 2} {
			if n := known(i); n != 2 {
				t.Errorf("node %d knows %d nodes and not 2", i, n)
			}
		}
		join()
		h.kill(0)
		h.leads[0] = 1
		if err := b.Reconfigure(b.context(), h.lacking(1, 3)); err != nil {
			t.Fatal(err)
		}
		if got := h.do(h.customer(1), "GET", lowKey); got != "low" {
			t.Errorf("the node that joined and took over says %q", got)
		}
	})
}

// While writes are held none is acknowledged, and reads are; afterwards all go on.
func TestWritesAreHeld(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "alone")
		spec.Parameters["min-replicas-to-write"], spec.Parameters["min-replicas-max-lag"] = "0", "0"
		b.up(spec)
		c, reader := b.client(spec.Address.Host, spec.Address.Port), b.client(spec.Address.Host, spec.Address.Port)
		b.do(c, "SET", "key", "before")
		if err := b.HoldWrites(b.context(), spec, time.Minute); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(b.context(), 300*time.Millisecond)
		defer cancel()
		if r, err := c.Do(ctx, "SET", "key", "held"); err == nil {
			t.Errorf("a write is answered with %s while writes are held", r.Bytes)
		} else if ctx.Err() == nil && !resp.IsServerError(err, "NOREPLICAS") {
			t.Error(err)
		}
		if got := b.do(reader, "GET", "key"); got != "before" {
			t.Errorf("a reader is told %q", got)
		}
		if err := b.FreeWrites(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		if err := b.Reconfigure(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		b.do(b.client(spec.Address.Host, spec.Address.Port), "SET", "key", "after")
	})
}
