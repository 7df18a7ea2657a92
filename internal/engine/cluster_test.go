package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// hive is a cluster of two shards with a replica each: 0 and 2 are the first primaries.
type hive struct {
	*bench
	nodes []cache.NodeSpec
	procs []cache.Process
	// leads says who leads each shard.
	leads [2]int
}

func newHive(b *bench, build catalog.Build) *hive {
	h := &hive{bench: b, leads: [2]int{0, 2}, procs: make([]cache.Process, 4)}
	port := testkit.FreePort(b.t)
	if port+10000 > 65535 {
		port -= 10000
	}
	for i := range 4 {
		spec := b.spec(build, fmt.Sprintf("hive-000%d-00%d", i/2+1, i%2+1))
		spec.Address.Port = port
		spec.Parameters["cluster-enabled"] = "yes"
		spec.Parameters["cluster-require-full-coverage"] = "no"
		h.nodes = append(h.nodes, spec)
	}
	return h
}

// spec is what a node is to be at present.
func (h *hive) spec(i int) cache.NodeSpec {
	c := &cache.ClusterSpec{Self: busID(i)}
	for j, n := range h.nodes {
		o := cache.ClusterNode{ID: busID(j), Shard: busID(j/2 + 8), Address: n.Address, BusPort: n.Address.Port + 10000}
		if lead := h.leads[j/2]; lead != j {
			o.Primary = busID(lead)
		} else {
			o.Slots = cache.EvenSlots(2)[j/2]
		}
		c.Nodes = append(c.Nodes, o)
	}
	s := h.nodes[i]
	s.Cluster = c
	if lead := h.leads[i/2]; lead != i {
		s.Primary = h.nodes[lead].Address
	}
	return s
}

func busID(i int) string { return strings.Repeat(fmt.Sprint(i), 40)[:40] }

func (h *hive) start(nodes ...int) {
	h.t.Helper()
	for _, i := range nodes {
		p, err := h.Start(h.context(), h.spec(i))
		if err != nil {
			h.t.Fatal(err)
		}
		h.procs[i] = p
	}
	for _, i := range nodes {
		if _, err := h.AwaitReady(h.context(), h.spec(i)); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *hive) formed() {
	h.t.Helper()
	for i := range h.nodes {
		if err := h.AwaitFormed(h.context(), h.spec(i)); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *hive) kill(i int) {
	h.t.Helper()
	exited := h.Exited(h.procs[i])
	if err := syscall.Kill(h.procs[i].PID, syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	closed(h.t, "the node's end", exited)
}

// customer is a connection to a node that may say where a key is.
func (h *hive) customer(i int) *resp.Conn {
	return h.client(h.nodes[i].Address.Host, h.nodes[i].Address.Port)
}

// keys of either shard.
const (
	lowKey  = "{b}1" // slot 3300
	highKey = "{a}1" // slot 15495
)

func TestAClusterComesUpWhole(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		h := newHive(b, build)
		h.start(0, 1, 2, 3)
		h.formed()
		h.do(h.customer(0), "SET", lowKey, "low")
		h.do(h.customer(2), "SET", highKey, "high")
		if _, err := h.customer(0).Do(h.context(), "GET", highKey); !resp.IsServerError(err, "MOVED") ||
			!strings.Contains(err.Error(), fmt.Sprintf("%s:%d", h.nodes[2].Address.Host, h.nodes[2].Address.Port)) {
			t.Errorf("a key of the other shard: %v", err)
		}
		for _, cmd := range []string{"MEET 127.0.0.1 1", "FAILOVER", "ADDSLOTS 1", "RESET", "SETSLOT 1 STABLE", "REPLICATE " + busID(2)} {
			_, err := h.customer(1).Do(h.context(), append([]string{"CLUSTER"}, strings.Fields(cmd)...)...)
			if !resp.IsServerError(err, "NOPERM") {
				t.Errorf("a customer gave CLUSTER %s: %v", cmd, err)
			}
		}
		for _, cmd := range []string{"SLOTS", "NODES", "INFO", "MYID", "KEYSLOT x"} {
			h.do2(h.customer(1), append([]string{"CLUSTER"}, strings.Fields(cmd)...)...)
		}

		// A primary dies for good, its replica takes over, and it comes back as a replica.
		h.kill(0)
		h.leads[0] = 1
		if err := h.Reconfigure(h.context(), h.spec(1)); err != nil {
			t.Fatal(err)
		}
		if got := h.do(h.customer(1), "GET", lowKey); got != "low" {
			t.Errorf("the replica that took over says %q", got)
		}
		h.do(h.customer(1), "SET", lowKey, "lower")
		h.start(0)
		h.formed()
		reader := h.customer(0)
		h.do(reader, "READONLY")
		if got := h.do(reader, "GET", lowKey); got != "lower" {
			t.Errorf("the former primary says %q as a replica", got)
		}

		// All die and come back with empty hands, at their places.
		for i := range h.nodes {
			h.kill(i)
		}
		h.again()
		h.start(1, 2, 0, 3)
		h.formed()
		if _, err := h.customer(2).Do(h.context(), "SET", highKey, "new"); err != nil {
			t.Error(err)
		}
	})
}

// A node that is told by its former primary that it is followed, before it was told to
// lead, is torn. It is found out, and comes back with its data as what it is to be.
func TestATornNodeComesBackWithItsData(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := newHive(b, testkit.Engine(t, "valkey-8.1")) // others turn round by themselves
	h.start(0, 1, 2, 3)
	h.formed()
	h.do(h.customer(0), "SET", lowKey, "low")
	eventually(t, "the replica has it", func() bool { p, err := h.Probe(h.context(), h.spec(1)); return err == nil && p.Keys == 1 })
	h.kill(0)
	h.leads[0] = 1
	var err error
	if h.procs[0], err = h.Start(h.context(), h.spec(0)); err != nil {
		t.Fatal(err)
	}
	admin := h.login(h.nodes[1].Address.Host, h.nodes[1].Address.Port, engine.AdminUser, secret)
	eventually(t, "it has heard that it is followed", func() bool {
		for line := range strings.Lines(h.do(admin, "CLUSTER", "NODES")) {
			if strings.HasPrefix(line, busID(0)) && strings.Contains(line, "slave") {
				return true
			}
		}
		return false
	})
	if err := h.Reconfigure(h.context(), h.spec(1)); !errors.Is(err, cache.ErrTorn) {
		t.Fatalf("the node is not torn: %v", err)
	}
	if err := h.Shelve(h.context(), h.spec(1)); err != nil {
		t.Fatal(err)
	}
	gone := h.Exited(h.procs[1])
	if err := h.Fence(h.context(), h.spec(1), &h.procs[1]); err != nil {
		t.Fatal(err)
	}
	closed(t, "its end", gone)
	seeded := h.spec(1)
	seeded.Seeded = true
	if h.procs[1], err = h.Start(h.context(), seeded); err != nil {
		t.Fatal(err)
	}
	if _, err := h.AwaitReady(h.context(), seeded); err != nil {
		t.Fatal(err)
	}
	if err := h.ClearSeed(h.context(), seeded); err != nil {
		t.Fatal(err)
	}
	h.formed()
	if got := h.do(h.customer(1), "GET", lowKey); got != "low" {
		t.Errorf("it came back with %q", got)
	}
}

func (h *hive) do2(c *resp.Conn, args ...string) {
	h.t.Helper()
	if _, err := c.Do(h.context(), args...); err != nil {
		h.t.Errorf("%s: %v", strings.Join(args, " "), err)
	}
}

// A replica is ready only when it has what its primary had acknowledged.
func TestAReplicaOfAShardIsReadyWithAllItsData(t *testing.T) {
	for _, name := range []string{"redis-6.0", "valkey-9.1"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			h := newHive(b, testkit.Engine(t, name))
			h.start(0, 2)
			c := h.customer(0)
			eventually(t, "the primary serves", func() bool { _, err := c.Do(h.context(), "SET", lowKey, "x"); return err == nil })
			for i := range 500 {
				h.do(c, "SET", fmt.Sprintf("{b}%d", i), strings.Repeat("x", 100))
			}
			before, err := h.Probe(h.context(), h.spec(0))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Start(h.context(), h.spec(1)); err != nil {
				t.Fatal(err)
			}
			// Nobody writes, so what the replica got beyond that was sent to see it arrive.
			const more = 10 // bytes; the first replica moves the offset by one
			if after, err := h.AwaitReady(h.context(), h.spec(1)); err != nil || after.Offset < before.Offset+more {
				t.Errorf("the replica is called ready at offset %d, its primary was at %d: %v", after.Offset, before.Offset, err)
			}
			h.kill(0)
			h.leads[0] = 1
			if err := h.Reconfigure(h.context(), h.spec(1)); err != nil {
				t.Fatal(err)
			}
			if got := h.do(h.customer(1), "DBSIZE"); got != "500" {
				t.Errorf("%s of 500 keys are left", got)
			}
		})
	}
}

func TestAClusterWithoutItsReplicasHasNotFormed(t *testing.T) {
	b := newBench(t)
	h := newHive(b, testkit.Engine(t, "valkey-8.1"))
	h.start(0, 2)
	c := h.customer(0)
	eventually(t, "the primaries serve", func() bool { return strings.Contains(h.do(c, "CLUSTER", "INFO"), "cluster_state:ok") })
	ctx, cancel := contextFor(b, time.Second)
	defer cancel()
	if err := b.AwaitFormed(ctx, h.spec(0)); err == nil {
		t.Error("a cluster that lacks its replicas is called formed")
	}
}
