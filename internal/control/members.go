package control

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Nodes looks at running nodes.
type Nodes interface {
	// Probe asks a node how it is. Of the spec the key, build, address and secret count.
	Probe(ctx context.Context, spec cache.NodeSpec) (cache.Health, error)
}

// probeWait is how long a node may take to say how it is. What it does not say is not known.
const probeWait = 2 * time.Second

// probe asks a member how it is.
func (c *Control) probe(ctx context.Context, g *Group, id string) (cache.Health, bool) {
	i := slices.IndexFunc(g.Members, func(k cache.CacheCluster) bool { return k.ID == id })
	if c.Nodes == nil || i < 0 || g.Members[i].Node.Process == nil {
		return cache.Health{}, false
	}
	k := &g.Members[i]
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	h, err := c.Nodes.Probe(ctx, cache.NodeSpec{
		Key: k.NodeKey(), Build: k.Node.Build, Address: k.Node.Address, Secret: g.Secret, Transit: g.NodeTransit(&k.Node),
	})
	return h, err == nil
}

// readGroup reads a group with its members, outside of any change.
func (c *Control) readGroup(ctx context.Context, region, id string) (*Group, error) {
	var out Group
	err := c.DB.View(ctx, func(tx *store.Tx) (err error) {
		out, err = fullGroup(tx, region, id)
		return err
	})
	return &out, err
}

func fullGroup(tx *store.Tx, region, id string) (Group, error) {
	g, err := getGroup(tx, region, id)
	if err != nil {
		return Group{}, err
	}
	return withMembers(tx, g)
}

// checkChangeable refuses a change of members while anything else is under way.
func checkChangeable(g *Group) error {
	switch {
	case g.Status != cache.StatusAvailable:
		return cache.Faultf(codeGroupState, "Replication group must be in available state to modify. Replication group %s has status %s.", g.ID, g.Status)
	case g.Test != nil:
		return cache.Faultf(codeGroupState, "A failover of node group %s of replication group %s is being tested. Try again when its node is back.", g.Test.NodeGroupID, g.ID)
	}
	return nil
}

// begin marks a group whose members change, after the members themselves.
func begin(tx *store.Tx, g *Group, change cache.MemberChange) error {
	change.Nodes = len(g.Members)
	g.Status, g.Change = cache.StatusModifying, &change
	return records.Groups.Put(tx, g.Key(), g.ReplicationGroup)
}

// newcomer is a member that is to be.
type newcomer struct {
	shard string
	id    string // "" for the next of its shard
	zone  string // "" for our choice
	tags  []cache.Tag
}

// add writes new members down, at addresses of which each has one, and in cluster mode
// without hosts of their own a second one for its bus.
func (c *Control) add(tx *store.Tx, g *Group, all []newcomer, at []cache.Address, next int) error {
	subnets, err := subnetGroup(tx, g.Region, g.SubnetGroup)
	if err != nil {
		return err
	}
	kind, _ := cache.FindNodeType(g.NodeType) // it was found when the group was made
	exceeded, err := c.reserve(tx, g.Region, len(all), kind)
	if err != nil {
		return err
	}
	var claims []records.AddressClaim
	before := len(g.Members)
	for i, n := range all {
		k, err := c.newMember(tx, g, n, subnets, at[i])
		if err != nil {
			return err
		}
		claims = append(claims, records.AddressClaim{Address: at[i], Owner: records.ClusterOwner(k.Key())})
		if len(at) > len(all) {
			bus := at[len(all)+i]
			k.Node.BusPort = bus.Port
			claims = append(claims, records.AddressClaim{Address: bus, Owner: records.ClusterOwner(k.Key())})
		}
		if err := putCluster(tx, k); err != nil {
			return err
		}
		g.AddMember(n.shard, k.ID)
		g.Members = append(g.Members, k)
	}
	if err := c.claim(tx, next, claims); err != nil {
		return err
	}
	g.Status, g.Change = cache.StatusModifying, &cache.MemberChange{Nodes: before}
	if err := records.Groups.Put(tx, g.Key(), g.ReplicationGroup); err != nil {
		return err
	}
	return c.tell(tx, g.Region, cache.EventGroup, g.ID, "Increasing number of requested nodes", exceeded)
}

// newMember makes the record of one more replica, like that of its primary.
func (c *Control) newMember(tx *store.Tx, g *Group, n newcomer, subnets *cache.SubnetGroup, at cache.Address) (cache.CacheCluster, error) {
	s := g.Shard(n.shard)
	k := cache.CacheCluster{
		Region: g.Region, ID: n.id, GroupID: g.ID, Settings: g.Settings, Zone: n.zone,
		CreatedAt: c.Now(), Status: cache.StatusCreating,
		Node: cache.Node{Address: at, Role: cache.RoleReplica},
	}
	k.SecurityGroupIDs, k.Tags, k.Parameters = slices.Clone(g.SecurityGroupIDs), mergeTags(g.Tags, n.tags), maps.Clone(g.Parameters)
	if err := checkTagCount(k.Tags); err != nil {
		return k, err
	}
	for i := range g.Members {
		if o := &g.Members[i]; o.ID == s.Primary || s.Primary == "" && k.Node.Build == "" { // any, for a new node group
			k.Node.Build, k.Node.BusPort = o.Node.Build, o.Node.BusPort
		}
	}
	if g.ClusterEnabled {
		k.NodeGroupID = n.shard
	}
	if k.Zone == "" {
		k.Zone = emptiest(place(g.Region, len(Zones(g.Region)), nil, subnets), zonesOf(g, n.shard))
	}
	if k.ID != "" {
		return k, nil
	}
	var err error
	k.ID, err = freeName(tx, &g.ReplicationGroup, n.shard)
	return k, err
}

// freeName is the name of the lowest number that nobody of the region has.
func freeName(tx *store.Tx, g *cache.ReplicationGroup, shard string) (string, error) {
	for i := 1; ; i++ {
		id := cache.MemberID(g.ID, i)
		if g.ClusterEnabled {
			id = cache.ShardMemberID(g.ID, shard, i)
		}
		_, taken, err := records.Clusters.Get(tx, cache.Key(g.Region, id))
		if err != nil || !taken {
			return id, err
		}
	}
}

// zonesOf are the zones of the nodes of a shard.
func zonesOf(g *Group, shard string) []string {
	var out []string
	for i := range g.Members {
		if k := &g.Members[i]; k.ShardID() == shard && k.Deletion == nil {
			out = append(out, k.Zone)
		}
	}
	return out
}

// emptiest is the first of those zones that hold the fewest nodes.
func emptiest(zones, taken []string) string {
	best, fewest := "", math.MaxInt
	for _, z := range zones {
		if n := count(taken, z); n < fewest {
			best, fewest = z, n
		}
	}
	return best
}

func count(all []string, one string) int {
	n := 0
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// checkRoom refuses replicas for whose data the machine has no memory, with both figures.
func (c *Control) checkRoom(ctx context.Context, g *Group, all []newcomer) error {
	used := map[string]int64{}
	var need int64
	for _, n := range all {
		if _, asked := used[n.shard]; !asked {
			h, _ := c.probe(ctx, g, g.Shard(n.shard).Primary)
			used[n.shard] = h.UsedMemory
		}
		need += used[n.shard]
	}
	if free := c.Memory.Available(); need > free {
		return cache.Faultf(codeInsufficientCapacity,
			"The data of the new replicas take %s of memory and this machine has %s free.", size(need), size(free))
	}
	return nil
}

// remove writes down that members are to go.
func (c *Control) remove(tx *store.Tx, g *Group, ids []string, final string) error {
	for i := range g.Members {
		k := &g.Members[i]
		if !slices.Contains(ids, k.ID) {
			continue
		}
		k.Status = cache.StatusDeleting
		k.Deletion = &cache.Deletion{RequestedAt: c.Now(), FinalSnapshot: final}
		if err := records.Clusters.Put(tx, k.Key(), *k); err != nil {
			return err
		}
	}
	if slices.Contains(ids, g.SnapshottingCluster) {
		g.SnapshottingCluster = nextSource(g)
		err := c.tell(tx, g.Region, cache.EventGroup, g.ID, "Automatic backups are taken of "+g.SnapshottingCluster+" from now on")
		if err != nil {
			return err
		}
	}
	return begin(tx, g, cache.MemberChange{})
}

// nextSource is the member whose automatic backups are taken from now on: a replica
// that stays, or the primary.
func nextSource(g *Group) string {
	for i := range g.Members {
		if k := &g.Members[i]; k.Deletion == nil && k.ID != g.Primary {
			return k.ID
		}
	}
	return g.Primary
}

// listed is a list for people.
func listed(ids []string) string { return strings.Join(ids, ", ") }
