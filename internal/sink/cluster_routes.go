package sink

import (
	"context"
	"fmt"
	"slices"

	"holdfast.dev/internal/resp"
)

// routes is which node of a cluster is responsible for which slot.
type routes struct {
	owner    [resp.Slots]*node
	topology *resp.Topology
	// replicas are all that were ever seen: of a primary's address, its replicas'.
	replicas map[string][]string
	// databases: the cluster has others than database 0 (Valkey 9, if it is told to).
	databases bool
}

// joinCluster connects to all primaries.
func (s *Server) joinCluster(ctx context.Context, seed *resp.Conn) error {
	t, err := seed.Topology(ctx)
	if err != nil {
		return err
	}
	if n := t.Covered(); n != resp.Slots {
		return fmt.Errorf("cannot fill the cluster of %s: only %d of its %d slots are assigned; see redis-cli --cluster check", s.addr, n, resp.Slots)
	}
	s.routes = &routes{replicas: map[string][]string{}}
	s.reroute(t)
	for _, n := range s.nodes {
		c, err := resp.Dial(ctx, n.opt)
		if err != nil {
			return err
		}
		n.connect(c, s.inFlight(len(s.nodes)))
		if err := s.learn(ctx, n); err != nil {
			return err
		}
	}
	return s.countDatabases(ctx)
}

// countDatabases asks whether there is a database 1.
func (s *Server) countDatabases(ctx context.Context) error {
	c := s.nodes[0].conn
	_, err := c.Do(ctx, "SELECT", "1")
	if resp.IsServerError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	s.routes.databases = true
	_, err = c.Do(ctx, "SELECT", "0")
	return err
}

// reroute takes over a topology. A slot that it does not tell of keeps its owner.
func (s *Server) reroute(t *resp.Topology) {
	for i := range t.Shards {
		n := s.nodeAt(t.Shards[i].Primary.Addr)
		for _, r := range t.Shards[i].Slots {
			for slot := r.First; slot <= r.Last; slot++ {
				s.routes.owner[slot] = n
			}
		}
	}
	if s.routes.topology != nil {
		s.noteFailovers(s.routes.topology, t)
	}
	s.routes.topology = t
	for i := range t.Shards {
		of := t.Shards[i].Primary.Addr
		for _, r := range t.Shards[i].Replicas {
			if !slices.Contains(s.routes.replicas[of], r.Addr) {
				s.routes.replicas[of] = append(s.routes.replicas[of], r.Addr)
			}
		}
	}
}

// noteFailovers notes the primaries that replicas took over from.
func (s *Server) noteFailovers(before, after *resp.Topology) {
	was, is := before.Owners(), after.Owners()
	for slot := range was {
		if was[slot] >= 0 && is[slot] >= 0 {
			s.noteFailover(before.Shards[was[slot]].Primary.Addr, after.Shards[is[slot]].Primary.Addr)
		}
	}
}

// noteFailover notes that a slot's new node was a replica of its old one, if so: what
// the primary had confirmed last may not have come to it.
func (s *Server) noteFailover(before, after string) {
	if before == after || !slices.Contains(s.routes.replicas[before], after) {
		return
	}
	note := fmt.Sprintf("%s took over from %s", after, before)
	if !slices.Contains(s.events.Restarts, note) {
		s.events.Restarts = append(s.events.Restarts, note)
	}
}

// moved takes a node's word for it that a slot is elsewhere.
func (s *Server) moved(to *resp.Redirect) {
	s.noteFailover(s.routes.owner[to.Slot].addr, to.Addr)
	s.routes.owner[to.Slot] = s.nodeAt(to.Addr)
}

// nodeAt is the node with an address, which may have to be connected to.
func (s *Server) nodeAt(addr string) *node {
	for _, n := range s.nodes {
		if n.addr == addr {
			return n
		}
	}
	n := newNode(s.addr.At(addr))
	s.nodes = append(s.nodes, n)
	return n
}

// owner is the node that is responsible for a key.
func (s *Server) owner(key string) *node {
	if s.one != nil {
		return s.one
	}
	return s.routes.owner[resp.Slot([]byte(key))]
}

// refresh asks for the topology anew, the nodes that others point to first. Nothing
// is in flight.
func (s *Server) refresh(ctx context.Context, failed []pending) error {
	var addrs []string
	add := func(addr string) {
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	for i := range failed {
		if to := failed[i].to; to != nil {
			add(to.Addr)
		}
	}
	for _, n := range s.nodes {
		add(n.addr)
	}
	for _, addr := range s.routes.topology.Addrs() {
		add(addr)
	}
	for _, addr := range addrs {
		if n := s.nodeAt(addr); n.conn != nil {
			if t, err := n.conn.Topology(ctx); err == nil && len(t.Shards) > 0 {
				s.reroute(t)
				return nil
			}
		}
	}
	opt := s.addr
	opt.DialTimeout = redialTimeout
	t, err := resp.Refresh(ctx, opt, append(addrs, s.addr.Addr))
	if err == nil {
		s.reroute(t)
	}
	return err
}
