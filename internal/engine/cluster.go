package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

const (
	// nodesFile is where a node in cluster mode keeps what it knows of the others.
	nodesFile = "nodes.conf"
	// busDistance is how far the bus port of an engine that cannot be told another
	// one lies from its port.
	busDistance = 10000
	// nodeTimeout in milliseconds is ElastiCache's. Who leads is decided by whoever
	// calls this package, so nothing is to be won by a shorter one, and a busy machine
	// would have its nodes take each other for dead.
	nodeTimeout = "15000"
)

// checkCluster refuses what a node in cluster mode cannot be.
func checkCluster(d dialect, spec cache.NodeSpec) error {
	if spec.Cluster == nil {
		if spec.Parameters["cluster-enabled"] == "yes" {
			return fmt.Errorf("%w: the parameters turn cluster mode on and the node has no cluster", cache.ErrPermanent)
		}
		return nil
	}
	self, ok := spec.Cluster.Find(spec.Address)
	switch {
	case !ok || self.ID != spec.Cluster.Self:
		return fmt.Errorf("%w: the node is not part of its own cluster", cache.ErrPermanent)
	case !d.has(since70) && self.BusPort != spec.Address.Port+busDistance:
		return fmt.Errorf("%w: %s %d.%d can hear other nodes at port %d alone", cache.ErrPermanent,
			d.engine, d.version[0], d.version[1], spec.Address.Port+busDistance)
	}
	if !spec.Primary.IsZero() {
		if _, ok := spec.Cluster.Find(spec.Primary); !ok {
			return fmt.Errorf("%w: the node's primary is not part of its cluster", cache.ErrPermanent)
		}
	}
	return nil
}

// clusterLines are the directives of cluster mode.
func clusterLines(d dialect, spec cache.NodeSpec) []directive {
	if spec.Cluster == nil {
		return nil
	}
	self, _ := spec.Cluster.Find(spec.Address)
	lines := []directive{
		{"cluster-enabled", "yes"},
		{"cluster-config-file", nodesFile},
		{"cluster-node-timeout", nodeTimeout},
		{"cluster-announce-ip", spec.Address.Host},
		// Roles are given by whoever calls this package, and by nobody else.
		{"cluster-replica-no-failover", "yes"},
		{"cluster-migration-barrier", "100000"},
	}
	if d.has(since70) {
		lines = append(lines,
			directive{"cluster-port", strconv.Itoa(self.BusPort)},
			directive{"cluster-allow-replica-migration", "no"})
	}
	return lines
}

// writeNodes writes the file in which a node finds its cluster, as it should be
// and whatever it was when the node ran last. So nobody has to introduce nodes to
// each other, one that was replaced as a primary while it was dead comes up as a
// replica, and no answer of another node is needed for that. What is kept of the
// last run are the epochs, by which nodes settle whose claims are newer.
func (n *node) writeNodes(d dialect, spec cache.NodeSpec) error {
	if spec.Cluster == nil {
		return nil
	}
	path := filepath.Join(n.dir, nodesFile)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read the node's view of its cluster: %w", err)
	}
	return n.writeWhole(nodesFile, nodesText(d, spec.Cluster, otherPort(spec), string(old)))
}

// otherPort is what stands in the file beside the port at which nodes speak with each
// other: that for the other kind of clients.
func otherPort(spec cache.NodeSpec) string {
	plain, secure := ports(spec)
	if among(spec) == "yes" {
		return fmt.Sprintf("tcp-port=%d", plain)
	}
	return fmt.Sprintf("tls-port=%d", secure)
}

// nodesText is the file's content in the engines' form; other is otherPort.
func nodesText(d dialect, c *cache.ClusterSpec, other, old string) string {
	known, current := readEpochs(old)
	nodes, marks := remembered(c, old)
	primaries := map[string]uint64{}
	for _, o := range nodes {
		if o.Primary != "" {
			continue
		}
		e, ok := known[o.ID]
		if !ok {
			current++
			e = current
		}
		primaries[o.ID] = e
	}
	var b strings.Builder
	for _, o := range nodes {
		fmt.Fprintf(&b, "%s %s:%d@%d", o.ID, o.Address.Host, o.Address.Port, o.BusPort)
		if d.has(since72) {
			fmt.Fprintf(&b, ",,%s,shard-id=%s", other, o.Shard)
		}
		b.WriteByte(' ')
		if o.ID == c.Self {
			b.WriteString("myself,")
		}
		if o.Primary == "" {
			fmt.Fprintf(&b, "master - 0 0 %d connected %s", primaries[o.ID], strings.ReplaceAll(o.Slots.String(), ",", " "))
			for _, m := range marks {
				if o.ID == c.Self {
					b.WriteString(" " + m)
				}
			}
			b.WriteByte('\n')
		} else {
			// Redis 6.0 would take the epoch of its primary for its own, and not claim the slots
			// with a newer one when it takes them over: no other node would believe it.
			fmt.Fprintf(&b, "slave %s 0 0 0 connected\n", o.Primary)
		}
	}
	fmt.Fprintf(&b, "vars currentEpoch %d lastVoteEpoch 0\n", current)
	return b.String()
}

// readEpochs takes the primaries' epochs, by node id, and the cluster's own out of
// such a file. What cannot be read is as if it had never been there.
func readEpochs(text string) (primaries map[string]uint64, current uint64) {
	primaries = map[string]uint64{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 3 && f[0] == "vars":
			for i := 1; i+1 < len(f); i += 2 {
				if e, err := strconv.ParseUint(f[i+1], 10, 64); err == nil && f[i] == "currentEpoch" {
					current = max(current, e)
				}
			}
		case len(f) >= 8 && strings.Contains(f[2], "master"):
			if e, err := strconv.ParseUint(f[6], 10, 64); err == nil && e > 0 {
				primaries[f[0]] = e
				current = max(current, e)
			}
		}
	}
	return primaries, current
}

// seat is one line of CLUSTER NODES: where a node stands, as another one sees it.
type seat struct {
	id, primary string
	flags       []string
	// heard tells that there is a link to the node and that it has answered since the
	// one who is asked was started.
	heard bool
	slots string
}

func (s seat) is(flag string) bool {
	for _, f := range s.flags {
		if f == flag {
			return true
		}
	}
	return false
}

// askSeats reads the reply of CLUSTER NODES, by node id.
func askSeats(ctx context.Context, c *resp.Conn) (map[string]seat, error) {
	r, err := c.Do(ctx, "CLUSTER", "NODES")
	if err != nil {
		return nil, err
	}
	out := map[string]seat{}
	for line := range strings.Lines(string(r.Bytes)) {
		f := strings.Fields(line)
		if len(f) < 8 {
			return nil, fmt.Errorf("%w: CLUSTER NODES says %q", errReply, line)
		}
		s := seat{id: f[0], flags: strings.Split(f[2], ","), heard: f[7] == "connected" && f[5] != "0"}
		if f[3] != "-" {
			s.primary = f[3]
		}
		var slots []string
		for _, part := range f[8:] {
			if !strings.HasPrefix(part, "[") { // one that is on the move
				slots = append(slots, part)
			}
		}
		s.slots = strings.Join(slots, ",")
		out[s.id] = s
	}
	return out, nil
}

// wrong says why a node does not stand where it should; "" when it does.
func (s seat) wrong(want cache.ClusterNode, moving cache.Slots) string {
	switch {
	case s.is("fail") || s.is("fail?") || s.is("noaddr") || s.is("handshake"):
		return "is not reached"
	case !s.heard && !s.is("myself"):
		return "has not been heard of"
	case want.Primary != s.primary:
		return fmt.Sprintf("follows %q and should follow %q", s.primary, want.Primary)
	case want.Primary == "" && !s.holds(want.Slots, moving):
		return fmt.Sprintf("has slots %q and should have %q", s.slots, want.Slots)
	}
	return ""
}

// holds tells whether the node has these slots and no others, whoever has those that are
// on the move.
func (s seat) holds(want, moving cache.Slots) bool {
	if s.slots == want.String() {
		return true
	}
	var have cache.Slots
	if err := have.UnmarshalText([]byte(s.slots)); err != nil {
		return false
	}
	return len(moving) > 0 && have.Minus(moving).String() == want.Minus(moving).String()
}

// formedWait bounds one wait for a cluster to form.
const formedWait = 30 * time.Second

// AwaitFormed returns once a node in cluster mode serves its slots and sees all
// other nodes where its spec has them. It gives up after half a minute, with what
// is still missing, or at once if the node cannot be asked.
func (e *Engines) AwaitFormed(ctx context.Context, spec cache.NodeSpec) error {
	if spec.Cluster == nil {
		return nil
	}
	n, err := e.node(spec)
	if err != nil {
		return fmt.Errorf("cannot look at the cluster of %s: %w", spec.Key, err)
	}
	give := time.Now().Add(formedWait)
	for {
		missing := ""
		err := n.link.use(ctx, spec, func(c *resp.Conn) (err error) {
			missing, err = unformed(ctx, c, spec.Cluster)
			return err
		})
		switch {
		case err != nil:
			return fmt.Errorf("cannot look at the cluster of %s: %w", spec.Key, err)
		case missing == "":
			return nil
		case time.Now().After(give):
			return fmt.Errorf("the cluster has not formed, as %s sees it: %s", spec.Key, missing)
		}
		t := time.NewTimer(slowLook)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// unformed says what keeps a node's cluster from being complete; "" for nothing.
func unformed(ctx context.Context, c *resp.Conn, want *cache.ClusterSpec) (string, error) {
	r, err := c.Do(ctx, "CLUSTER", "INFO")
	if err != nil {
		return "", err
	}
	in := info{}
	in.read(string(r.Bytes))
	if in["cluster_state"] != "ok" {
		return "its state is " + in["cluster_state"], nil
	}
	seats, err := askSeats(ctx, c)
	if err != nil {
		return "", err
	}
	for _, o := range want.Nodes {
		s, ok := seats[o.ID]
		if !ok {
			return fmt.Sprintf("the node at %s is not known", hostPort(o.Address)), nil
		}
		if why := s.wrong(o, want.Moving); why != "" {
			return fmt.Sprintf("the node at %s %s", hostPort(o.Address), why), nil
		}
	}
	return "", nil
}

// settling tells whether a node in cluster mode, which says that it is a primary, is
// about to follow the one that it should: an engine turns to its primary only a
// moment after its start.
func (e *Engines) settling(ctx context.Context, spec cache.NodeSpec) (bool, error) {
	if spec.Cluster == nil || spec.Primary.IsZero() {
		return false, nil
	}
	n, err := e.node(spec)
	if err != nil {
		return false, err
	}
	lead, _ := spec.Cluster.Find(spec.Primary)
	var seats map[string]seat
	err = n.link.use(ctx, spec, func(c *resp.Conn) (err error) {
		seats, err = askSeats(ctx, c)
		return err
	})
	return err == nil && seats[spec.Cluster.Self].primary == lead.ID, err
}
