package cache

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SlotCount is how many slots the keys of a cluster fall into.
const SlotCount = 16384

// SlotRange is a run of slots, both ends included.
type SlotRange struct{ First, Last int }

func (r SlotRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return strconv.Itoa(r.First) + "-" + strconv.Itoa(r.Last)
}

// Slots are those of one node group, in order and without overlap. As text, and so
// in records, they are "0-5460,7000-7100".
type Slots []SlotRange

// AllSlots is the whole keyspace.
func AllSlots() Slots { return Slots{{0, SlotCount - 1}} }

// ParseSlots reads slots as the API takes them.
func ParseSlots(text string) (Slots, error) {
	var out Slots
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			last = first
		}
		a, errA := strconv.Atoi(first)
		b, errB := strconv.Atoi(last)
		if errA != nil || errB != nil || a < 0 || b >= SlotCount || a > b {
			return nil, fmt.Errorf("%q is no range of slots within 0-%d", part, SlotCount-1)
		}
		out = append(out, SlotRange{a, b})
	}
	slices.SortFunc(out, func(x, y SlotRange) int { return x.First - y.First })
	for i := 1; i < len(out); i++ {
		if out[i].First <= out[i-1].Last {
			return nil, fmt.Errorf("slot %d is named twice", out[i].First)
		}
	}
	return out, nil
}

func (s Slots) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// MarshalText and UnmarshalText keep records readable.
func (s Slots) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Slots) UnmarshalText(b []byte) (err error) {
	*s = nil
	if len(b) > 0 {
		*s, err = ParseSlots(string(b))
	}
	return err
}

// Count is how many slots there are.
func (s Slots) Count() int {
	n := 0
	for _, r := range s {
		n += r.Last - r.First + 1
	}
	return n
}

// Common is how many slots are among both.
func (s Slots) Common(o Slots) int {
	n := 0
	for _, a := range s {
		for _, b := range o {
			n += max(0, min(a.Last, b.Last)-max(a.First, b.First)+1)
		}
	}
	return n
}

// EvenSlots spreads the keyspace over n node groups as evenly as can be.
func EvenSlots(n int) []Slots {
	out := make([]Slots, n)
	for i := range out {
		out[i] = Slots{{i * SlotCount / n, (i+1)*SlotCount/n - 1}}
	}
	return out
}

// NodeGroup is one shard of a replication group. Asked for: ID, Slots and
// Members. Seen: Primary.
type NodeGroup struct {
	ID string // "0001"
	// Slots of the keyspace that it holds.
	Slots Slots
	// Members are the ids of its cache clusters, in the order of their numbers.
	Members []string
	// Primary is the id of the member that is primary.
	Primary string
}

// NodeGroupName is the id of the nth node group, from 1.
func NodeGroupName(n int) string { return fmt.Sprintf("%04d", n) }

// ShardMemberID is the id of the nth node (from 1) of a node group of a group in
// cluster mode.
func ShardMemberID(group, nodeGroup string, n int) string {
	return fmt.Sprintf("%s-%s-%03d", group, nodeGroup, n)
}

// Shards are the node groups: those of a group in cluster mode, else the one that
// every group has.
func (g *ReplicationGroup) Shards() []NodeGroup {
	if g.ClusterEnabled {
		return g.NodeGroups
	}
	return []NodeGroup{{ID: NodeGroupID, Slots: AllSlots(), Members: g.Members, Primary: g.Primary}}
}

// Shard finds a node group by its id; nil if there is none.
func (g *ReplicationGroup) Shard(id string) *NodeGroup {
	all := g.Shards()
	i := slices.IndexFunc(all, func(n NodeGroup) bool { return n.ID == id })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// Leads tells whether a member is the primary of its node group.
func (g *ReplicationGroup) Leads(member string) bool {
	return slices.ContainsFunc(g.Shards(), func(n NodeGroup) bool { return n.Primary == member })
}

// SetPrimary writes down which member leads a node group.
func (g *ReplicationGroup) SetPrimary(nodeGroup, member string) {
	g.endHandover(nodeGroup)
	if !g.ClusterEnabled {
		g.Primary = member
		return
	}
	if n := g.Shard(nodeGroup); n != nil {
		n.Primary = member
	}
}

// ShardID is the node group that a member of a group belongs to.
func (c *CacheCluster) ShardID() string {
	if c.NodeGroupID == "" {
		return NodeGroupID
	}
	return c.NodeGroupID
}
