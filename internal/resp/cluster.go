package resp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// SlotRange are the slots from First to Last, both included.
type SlotRange struct{ First, Last int }

// ClusterNode is one server of a cluster.
type ClusterNode struct {
	// ID is the node's name in the cluster; empty before Redis 4.0.
	ID string
	// Addr is host:port.
	Addr string
}

// Shard is a primary with its replicas and the slots that they hold.
type Shard struct {
	Primary  ClusterNode
	Replicas []ClusterNode
	// Slots are in ascending order.
	Slots []SlotRange
}

// Topology is a cluster as one of its nodes sees it: its shards in the order of
// their lowest slots. Shards without slots are not among them.
type Topology struct {
	Shards []Shard
}

// At returns the options for another node of the same cluster: user, password and
// TLS are the same. Its certificate may be for its own host, the name that it
// announces, the host at which the cluster was reached, or the name that was given.
func (o Options) At(addr string) Options {
	if o.TLS != nil && o.seed == "" && o.Network != "unix" && o.Addr != addr {
		if host, _, err := net.SplitHostPort(o.Addr); err == nil {
			o.seed = host
		}
	}
	o.Network, o.Addr = "tcp", addr
	return o
}

// Covered counts the slots that have an owner.
func (t *Topology) Covered() int {
	n := 0
	for i := range t.Shards {
		n += t.Shards[i].Count()
	}
	return n
}

// Count is the number of the shard's slots.
func (s *Shard) Count() int {
	n := 0
	for _, r := range s.Slots {
		n += r.Last - r.First + 1
	}
	return n
}

// Owners lists for each slot the index of its shard, -1 where there is none.
func (t *Topology) Owners() []int {
	out := make([]int, Slots)
	for i := range out {
		out[i] = -1
	}
	for i := range t.Shards {
		for _, r := range t.Shards[i].Slots {
			for slot := r.First; slot <= r.Last; slot++ {
				out[slot] = i
			}
		}
	}
	return out
}

// Equal tells whether two topologies give the same slots to the same primaries,
// with the same replicas.
func (t *Topology) Equal(u *Topology) bool {
	return slices.EqualFunc(t.Shards, u.Shards, func(a, b Shard) bool {
		return a.Primary == b.Primary && slices.Equal(a.Slots, b.Slots) && slices.Equal(a.Replicas, b.Replicas)
	})
}

// Addrs are the addresses of all nodes, primaries first.
func (t *Topology) Addrs() []string {
	var out []string
	for i := range t.Shards {
		out = append(out, t.Shards[i].Primary.Addr)
	}
	for i := range t.Shards {
		for _, r := range t.Shards[i].Replicas {
			out = append(out, r.Addr)
		}
	}
	return out
}

// IsCluster asks whether the server is a node of a cluster, by whatever the user
// may ask it: INFO, what it said when it was greeted, or CLUSTER INFO.
func (c *Conn) IsCluster(ctx context.Context) (bool, error) {
	if m := c.greeting.Mode; m != "" {
		return m == "cluster", nil
	}
	srv, err := c.Server(ctx)
	if err == nil && srv.Mode != "" {
		return srv.Mode == "cluster", nil
	}
	if err != nil && !IsServerError(err) {
		return false, err
	}
	if _, err = c.Do(ctx, "CLUSTER", "INFO"); err != nil && !IsServerError(err) {
		return false, err
	}
	return err == nil, nil
}

// Topology asks the server for the cluster's shards.
func (c *Conn) Topology(ctx context.Context) (*Topology, error) {
	r, err := c.Do(ctx, "CLUSTER", "SLOTS")
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for the shards of its cluster: %w", c.opt, err)
	}
	t, err := parseTopology(r, c.host())
	if err != nil {
		return nil, fmt.Errorf("cannot read CLUSTER SLOTS of %s: %w", c.opt, err)
	}
	c.noteNames(r)
	return t, nil
}

// noteNames remembers under which names nodes say that they are known, where that is
// not how they say that they are reached (cluster-announce-hostname, and
// cluster-preferred-endpoint-type ip).
func (c *Conn) noteNames(r *Reply) {
	for i := range r.Elems {
		for j := range r.Elems[i].Elems[2:] {
			e := &r.Elems[i].Elems[2+j]
			n, err := parseNode(e, c.host())
			if err != nil || len(e.Elems) < 4 {
				continue
			}
			told := e.Elems[3].Elems
			for k := 0; k+1 < len(told); k += 2 {
				if string(told[k].Bytes) == "hostname" {
					c.opt.names.set(n.Addr, string(told[k+1].Bytes))
				}
			}
		}
	}
}

// host is where the server is reached, for nodes that leave their host out.
func (c *Conn) host() string {
	if c.opt.Network == "unix" {
		return "127.0.0.1"
	}
	host, _, err := net.SplitHostPort(c.opt.Addr)
	if err != nil {
		return c.opt.Addr
	}
	return host
}

// Discover asks a server for its cluster; nil says that it is in none.
func Discover(ctx context.Context, opt Options) (*Topology, error) {
	c, err := Dial(ctx, opt.WithDB(0))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if is, err := c.IsCluster(ctx); err != nil || !is {
		return nil, err
	}
	return c.Topology(ctx)
}

// Refresh asks one node after the other for the shards, until one answers.
func Refresh(ctx context.Context, opt Options, addrs []string) (*Topology, error) {
	var all error
	for _, addr := range addrs {
		t, err := Discover(ctx, opt.At(addr))
		switch {
		case err == nil && t != nil && len(t.Shards) > 0:
			return t, nil
		case err == nil:
			err = fmt.Errorf("%s knows of no shards", opt.At(addr))
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		all = errors.Join(all, err)
	}
	return nil, fmt.Errorf("no node of the cluster tells its shards: %w", all)
}

// parseTopology reads CLUSTER SLOTS: first and last slot, then the primary and
// its replicas, each with host, port, id and more.
func parseTopology(r *Reply, host string) (*Topology, error) {
	if r.Kind != Array {
		return nil, fmt.Errorf("it is %s", r.Kind)
	}
	t := &Topology{}
	at := map[ClusterNode]int{}
	for i := range r.Elems {
		e := r.Elems[i].Elems
		if len(e) < 3 {
			return nil, errors.New("a range has no node")
		}
		slots := SlotRange{int(e[0].Int), int(e[1].Int)}
		if slots.First < 0 || slots.Last >= Slots || slots.First > slots.Last {
			return nil, fmt.Errorf("there are no slots %d to %d", slots.First, slots.Last)
		}
		nodes := make([]ClusterNode, 0, len(e)-2)
		for j := range e[2:] {
			n, err := parseNode(&e[2+j], host)
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
		}
		k, known := at[nodes[0]]
		if !known {
			k = len(t.Shards)
			at[nodes[0]] = k
			t.Shards = append(t.Shards, Shard{Primary: nodes[0], Replicas: nodes[1:]})
		}
		t.Shards[k].Slots = append(t.Shards[k].Slots, slots)
	}
	t.sort()
	return t, nil
}

// sort brings shards, slots and replicas into one order, since servers have none.
func (t *Topology) sort() {
	for i := range t.Shards {
		s := &t.Shards[i]
		slices.SortFunc(s.Slots, func(a, b SlotRange) int { return cmp.Compare(a.First, b.First) })
		slices.SortFunc(s.Replicas, func(a, b ClusterNode) int { return cmp.Compare(a.Addr, b.Addr) })
	}
	slices.SortFunc(t.Shards, func(a, b Shard) int { return cmp.Compare(a.Slots[0].First, b.Slots[0].First) })
}

// parseNode reads a node. One that does not know how clients reach it leaves its
// host out: it is where it was asked.
func parseNode(r *Reply, host string) (ClusterNode, error) {
	if len(r.Elems) < 2 {
		return ClusterNode{}, errors.New("a node has no address")
	}
	port := r.Elems[1].Int
	if port <= 0 || port > 65535 {
		return ClusterNode{}, fmt.Errorf("a node has the port %d", port)
	}
	n := ClusterNode{Addr: net.JoinHostPort(announced(string(r.Elems[0].Bytes), host), strconv.FormatInt(port, 10))}
	if len(r.Elems) > 2 {
		n.ID = string(r.Elems[2].Bytes)
	}
	return n, nil
}

// announced is the host that a node tells of itself, or where it was asked.
func announced(told, asked string) string {
	if told == "" || told == "?" {
		return asked
	}
	return told
}

// Redirect is a server's word on who is responsible for a slot instead of it.
type Redirect struct {
	// Ask: for this command alone, and after ASKING; otherwise from now on (MOVED).
	Ask  bool
	Slot int
	Addr string
}

// Redirection returns where an error reply of this connection sends its command;
// false if it does not.
func (c *Conn) Redirection(err error) (Redirect, bool) {
	return redirection(err, c.host())
}

func redirection(err error, host string) (Redirect, bool) {
	var se *ServerError
	if !errors.As(err, &se) {
		return Redirect{}, false
	}
	f := strings.Fields(se.Text)
	if len(f) < 3 || f[0] != "MOVED" && f[0] != "ASK" {
		return Redirect{}, false
	}
	slot, err := strconv.Atoi(f[1])
	// The last colon separates the port: older servers write an IPv6 address bare.
	colon := strings.LastIndexByte(f[2], ':')
	if err != nil || slot < 0 || slot >= Slots || colon < 0 || colon == len(f[2])-1 {
		return Redirect{}, false
	}
	to := announced(strings.Trim(f[2][:colon], "[]"), host)
	return Redirect{Ask: f[0] == "ASK", Slot: slot, Addr: net.JoinHostPort(to, f[2][colon+1:])}, true
}
