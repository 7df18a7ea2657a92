package testkit

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
)

// clusterTimeout bounds what a cluster does by gossip; it is generous since nodes
// that get no time suspect each other.
const clusterTimeout = 90 * time.Second

// totalSlots is the number of a cluster's slots.
const totalSlots = 16384

// ClusterServers is a running cluster.
type ClusterServers struct {
	t testing.TB
	// Primaries hold the slots in order: the first one begins at slot 0.
	Primaries []*Server
	// Replicas of each primary, in its order.
	Replicas [][]*Server
}

// StartCluster starts a cluster of so many primaries, each with so many replicas,
// and waits until every node knows that all slots are served.
func StartCluster(t testing.TB, b catalog.Build, primaries, replicas int, opts ...Option) *ClusterServers {
	t.Helper()
	opts = append([]Option{Cluster(), Config(
		// Long enough for a starved machine: no test waits for a node to be
		// taken for failed, they fail over by order.
		"cluster-node-timeout 15000", "cluster-replica-validity-factor 0", "cluster-migration-barrier 100",
	)}, opts...)
	c := &ClusterServers{t: t, Replicas: make([][]*Server, primaries)}
	for range primaries {
		c.Primaries = append(c.Primaries, StartServer(t, b, opts...))
	}
	for i := range c.Replicas {
		for range replicas {
			c.Replicas[i] = append(c.Replicas[i], StartServer(t, b, opts...))
		}
	}
	c.assign()
	c.meet()
	c.WaitOK()
	return c
}

// All are the nodes, primaries first.
func (c *ClusterServers) All() []*Server {
	all := slices.Clone(c.Primaries)
	for _, r := range c.Replicas {
		all = append(all, r...)
	}
	return all
}

// Addr is where one of the nodes answers.
func (c *ClusterServers) Addr() string { return c.Primaries[0].Addr() }

// assign gives the slots out, one command each: ADDSLOTSRANGE came with 7.0.
func (c *ClusterServers) assign() {
	c.t.Helper()
	n := len(c.Primaries)
	for i, p := range c.Primaries {
		args := []any{"CLUSTER", "ADDSLOTS"}
		for slot := i * totalSlots / n; slot < (i+1)*totalSlots/n; slot++ {
			args = append(args, slot)
		}
		p.Must(args...)
		// Epochs that differ spare the nodes the finding out.
		p.Must("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
}

// meet makes the nodes known to each other, and then replicas of the primaries.
func (c *ClusterServers) meet() {
	c.t.Helper()
	first := c.Primaries[0]
	for _, s := range c.All()[1:] {
		s.Must("CLUSTER", "MEET", first.Host, first.Port)
	}
	for i, of := range c.Replicas {
		id := c.Primaries[i].Must("CLUSTER", "MYID").(string)
		for _, r := range of {
			Wait(c.t, clusterTimeout, func() bool {
				_, err := r.Try("CLUSTER", "REPLICATE", id)
				return err == nil
			}, "replica %s does not come to know its primary", r.Addr())
		}
	}
}

// WaitOK waits until every node takes all slots for served, by the same primaries, and
// replicas have their data.
func (c *ClusterServers) WaitOK() {
	c.t.Helper()
	for _, s := range c.All() {
		Wait(c.t, clusterTimeout, func() bool {
			info, err := s.Try("CLUSTER", "INFO")
			text, _ := info.(string)
			return err == nil && strings.Contains(text, "cluster_state:ok") && strings.Contains(text, "cluster_slots_ok:16384") &&
				strings.Contains(text, fmt.Sprintf("cluster_known_nodes:%d\r", len(c.All())))
		}, "the cluster is not complete for %s; its log:\n%s", s.Addr(), logOf{s})
	}
	for _, s := range c.All() {
		Wait(c.t, clusterTimeout, func() bool {
			slots, err := s.Try("CLUSTER", "SLOTS")
			return err == nil && listed(slots) == len(c.All())
		}, "%s does not know all primaries and replicas; its log:\n%s", s.Addr(), logOf{s})
	}
	for _, of := range c.Replicas {
		for _, r := range of {
			r.WaitLink()
		}
	}
}

// listed counts the nodes in the reply of CLUSTER SLOTS.
func listed(slots any) int {
	ids := map[any]bool{}
	ranges, _ := slots.([]any)
	for _, r := range ranges {
		for _, n := range r.([]any)[2:] {
			ids[n.([]any)[2]] = true
		}
	}
	return len(ids)
}

// Owner is the primary that takes a slot for its own.
func (c *ClusterServers) Owner(slot int) *Server {
	c.t.Helper()
	for _, p := range c.All() {
		slots, _ := p.Must("CLUSTER", "SLOTS").([]any)
		for _, r := range slots {
			e := r.([]any)
			node := e[2].([]any)
			if e[0].(int64) <= int64(slot) && int64(slot) <= e[1].(int64) && node[2] == p.Must("CLUSTER", "MYID") {
				return p
			}
		}
	}
	c.t.Fatalf("nobody owns slot %d", slot)
	return nil
}

// Keys counts the keys of all primaries.
func (c *ClusterServers) Keys() int64 {
	c.t.Helper()
	n := int64(0)
	for _, p := range c.Primaries {
		n += p.Must("DBSIZE").(int64)
	}
	return n
}

// MoveSlot moves a slot with its keys from one primary to another while clients go
// on, as redis-cli --cluster reshard does. It may be called from any goroutine.
func (c *ClusterServers) MoveSlot(slot int, from, to *Server) error {
	if err := c.OpenSlot(slot, from, to); err != nil {
		return err
	}
	for {
		n, err := c.MoveKeys(slot, from, to, 100)
		if err != nil {
			return err
		}
		if n == 0 {
			return c.CloseSlot(slot, to)
		}
	}
}

// OpenSlot begins to move a slot: both sides know of it, no key has moved.
func (c *ClusterServers) OpenSlot(slot int, from, to *Server) error {
	source, err := from.Try("CLUSTER", "MYID")
	if err != nil {
		return err
	}
	target, err := to.Try("CLUSTER", "MYID")
	if err != nil {
		return err
	}
	if _, err := to.Try("CLUSTER", "SETSLOT", slot, "IMPORTING", source); err != nil {
		return fmt.Errorf("cannot import slot %d: %w", slot, err)
	}
	if _, err := from.Try("CLUSTER", "SETSLOT", slot, "MIGRATING", target); err != nil {
		return fmt.Errorf("cannot migrate slot %d: %w", slot, err)
	}
	return nil
}

// MoveKeys moves at most so many keys of an open slot, and tells how many there were.
func (c *ClusterServers) MoveKeys(slot int, from, to *Server, most int) (int, error) {
	reply, err := from.Try("CLUSTER", "GETKEYSINSLOT", slot, most)
	if err != nil {
		return 0, err
	}
	keys, _ := reply.([]any)
	if len(keys) == 0 {
		return 0, nil
	}
	args := []any{"MIGRATE", to.Host, to.Port, "", 0, 60000}
	if to.password != "" {
		args = append(args, "AUTH", to.password)
	}
	if _, err := from.Try(append(append(args, "KEYS"), keys...)...); err != nil {
		return 0, fmt.Errorf("cannot move the keys of slot %d: %w", slot, err)
	}
	return len(keys), nil
}

// CloseSlot ends the moving of a slot: it belongs to its new primary.
func (c *ClusterServers) CloseSlot(slot int, to *Server) error {
	id, err := to.Try("CLUSTER", "MYID")
	if err != nil {
		return err
	}
	// The new primary first: until the others know, they send clients to the old
	// one, and that one sends them on.
	for _, s := range append([]*Server{to}, c.Primaries...) {
		if _, err := s.Try("CLUSTER", "SETSLOT", slot, "NODE", id); err != nil {
			return fmt.Errorf("cannot assign slot %d: %w", slot, err)
		}
	}
	return nil
}

// MigrateSlots moves a range of slots at once, as Valkey 9 can, and waits until they moved.
func (c *ClusterServers) MigrateSlots(first, last int, from, to *Server) error {
	id, err := to.Try("CLUSTER", "MYID")
	if err != nil {
		return err
	}
	if _, err := from.Try("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", id); err != nil {
		return fmt.Errorf("cannot migrate slots %d to %d: %w", first, last, err)
	}
	var state string
	done := poll(clusterTimeout, func() bool {
		var jobs any
		if jobs, err = from.Try("CLUSTER", "GETSLOTMIGRATIONS"); err != nil {
			return true
		}
		state = fmt.Sprint(jobs)
		return strings.Contains(state, "success") || strings.Contains(state, "failed") || strings.Contains(state, "cancelled")
	})
	if err != nil || !done || !strings.Contains(state, "success") {
		return fmt.Errorf("slots %d to %d were not migrated: %s: %w", first, last, state, err)
	}
	return nil
}

// Resharding is a moving of slots that is under way.
type Resharding struct {
	done  chan struct{}
	quit  chan struct{}
	once  sync.Once
	moved int
	err   error
}

// Reshard moves slots in the background, one after the other, to one primary. One
// alone, since nodes that take slots from each other faster than they can tell
// may disagree for good.
func (c *ClusterServers) Reshard(slots []int, to *Server) *Resharding {
	c.t.Helper()
	r := &Resharding{done: make(chan struct{}), quit: make(chan struct{})}
	from := map[int]*Server{}
	for _, slot := range slots {
		if owner := c.Owner(slot); owner != to {
			from[slot] = owner
		}
	}
	go func() {
		defer close(r.done)
		for _, slot := range slots {
			select {
			case <-r.quit:
				return
			default:
			}
			if from[slot] == nil {
				continue
			}
			if r.err = c.MoveSlot(slot, from[slot], to); r.err != nil {
				return
			}
			from[slot] = nil // slots may be listed twice
			r.moved++
		}
	}()
	c.t.Cleanup(func() { _, _ = r.Stop() })
	return r
}

// Done is closed when all slots have moved, or one could not.
func (r *Resharding) Done() <-chan struct{} { return r.done }

// Stop waits for the slot that is being moved and tells how many were.
func (r *Resharding) Stop() (int, error) {
	r.once.Do(func() { close(r.quit) })
	<-r.done
	return r.moved, r.err
}

// Failover makes a replica take over from its primary, without loss, and waits for it. A
// failover by hand may time out in a cluster that gets no time: it is asked for again.
func (c *ClusterServers) Failover(replica *Server) {
	c.t.Helper()
	leads := func() bool { return replica.Info("replication")["role"] == "master" }
	Wait(c.t, clusterTimeout, func() bool {
		if leads() {
			return true
		}
		_, err := replica.Try("CLUSTER", "FAILOVER")
		return err == nil && poll(manualFailover, leads)
	}, "replica %s does not take over; its log:\n%s", replica.Addr(), logOf{replica})
}

// manualFailover is a little more than what engines allow for one.
const manualFailover = 6 * time.Second
