package control

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// newGroup is a group about to be written down.
type newGroup struct {
	region, id string
	in         *NewGroup
	*decided
	shards []layout
	// at are its addresses: of the nodes in order, of the endpoints, and, where nodes
	// share a host, of the nodes' buses.
	at []cache.Address
	// bus is the port at which nodes of a cluster hear each other, 0 where each needs
	// an address for that.
	bus int
}

// busDistance is how far the bus port of an engine lies from its port by default.
const busDistance = 10000

// busPort chooses the port at which the nodes of a cluster hear each other.
func (c *Control) busPort(d *decided) (int, error) {
	if !d.cluster {
		return 0, nil
	}
	// Redis before 7.0 cannot be told another port than this.
	fixed := d.Engine == cache.Redis && cache.CompareVersions(d.choice.FullVersion, "7.0") < 0
	switch {
	case !c.ownHosts() && fixed:
		return 0, invalid("Cluster mode needs redis 7.0 or valkey on this platform, where all nodes share one address.")
	case !c.ownHosts():
		return 0, nil
	case d.Port+busDistance <= highestPort:
		return d.Port + busDistance, nil
	case fixed:
		return 0, invalid("The parameter Port must not be greater than %d with cluster mode and redis %s. Provided value: %d",
			highestPort-busDistance, d.EngineVersion, d.Port)
	}
	return d.Port - busDistance, nil
}

// ownHosts tells whether every node has a host of its own.
func (c *Control) ownHosts() bool { return c.Addresses.Range }

// addressNeed is how many addresses a group needs: one for each node, and those of
// the primary endpoint and of the readers, or the configuration endpoint.
func addressNeed(d *decided, shards []layout, ownHosts bool) int {
	nodes := 0
	for i := range shards {
		nodes += shards[i].nodes
	}
	switch {
	case !d.cluster:
		return nodes + 2
	case ownHosts:
		return nodes + 1
	}
	return 2*nodes + 1
}

// putGroup writes everything that belongs to a new group.
func (c *Control) putGroup(tx *store.Tx, n newGroup, next int) (*Group, error) {
	if err := checkNoGroup(tx, n.region, n.id); err != nil {
		return nil, err
	}
	subnets, err := subnetGroup(tx, n.region, n.SubnetGroup)
	if err != nil {
		return nil, err
	}
	if err := adoptParameters(tx, n.region, &n.Settings, n.cluster); err != nil {
		return nil, err
	}
	if err := checkDurability(n.Parameters, n.in.MultiAZ); err != nil {
		return nil, err
	}
	if err := n.adoptUserGroups(tx); err != nil {
		return nil, err
	}
	g := n.group(c)
	if err := n.protect(&g); err != nil {
		return nil, err
	}
	members := n.members(&g, subnets)
	exceeded, err := c.reserve(tx, n.region, len(members), n.node)
	if err != nil {
		return nil, err
	}
	for i := range members {
		if err := putCluster(tx, members[i]); err != nil {
			return nil, err
		}
	}
	if err := c.claim(tx, next, n.claims(&g, members)); err != nil {
		return nil, err
	}
	if err := markRestore(tx, n.region, n.seed, g.Key()); err != nil {
		return nil, err
	}
	if err := records.Groups.Put(tx, g.Key(), g); err != nil {
		return nil, err
	}
	return &Group{ReplicationGroup: g, Members: members}, c.tell(tx, n.region, cache.EventGroup, n.id, append(n.notes, exceeded)...)
}

func (n *newGroup) group(c *Control) cache.ReplicationGroup {
	return cache.ReplicationGroup{
		Region: n.region, ID: n.id, Description: n.in.Description, Settings: n.Settings,
		ClusterEnabled: n.cluster, AutomaticFailover: n.in.AutomaticFailover, MultiAZ: n.in.MultiAZ,
		Seed: n.seed, CreatedAt: c.Now(), Status: cache.StatusCreating, Secret: newSecret(),
		UserGroupIDs: n.in.UserGroupIDs,
	}
}

// members makes the records of the nodes and completes the group's.
func (n *newGroup) members(g *cache.ReplicationGroup, subnets *cache.SubnetGroup) []cache.CacheCluster {
	var out []cache.CacheCluster
	for i, l := range n.shards {
		zones := place(n.region, i+l.nodes, nil, subnets)[i:] // each shard begins in the next one
		if len(n.in.Zones) > 0 {
			zones = place(n.region, l.nodes, n.in.Zones, subnets)
		}
		copy(zones, l.zones)
		shard := cache.NodeGroup{ID: l.id, Slots: l.slots}
		for j := range l.nodes {
			role := cache.RoleReplica
			if j == 0 {
				role = cache.RolePrimary
			}
			k := n.newCluster(n.region, n.memberID(l.id, j+1), n.at[len(out)], role)
			k.GroupID, k.Zone, k.CreatedAt = n.id, zones[j], g.CreatedAt
			if n.cluster {
				k.NodeGroupID = l.id
			}
			shard.Members = append(shard.Members, k.ID)
			out = append(out, k)
		}
		shard.Primary = shard.Members[0]
		g.Members = append(g.Members, shard.Members...)
		g.NodeGroups = append(g.NodeGroups, shard)
	}
	n.settle(g, out)
	return out
}

func (n *newGroup) memberID(shard string, number int) string {
	if n.cluster {
		return cache.ShardMemberID(n.id, shard, number)
	}
	return cache.MemberID(n.id, number)
}

// settle gives the endpoints and the buses their addresses.
func (n *newGroup) settle(g *cache.ReplicationGroup, members []cache.CacheCluster) {
	rest := n.at[len(members):]
	if !n.cluster {
		g.Primary, g.NodeGroups = g.Members[0], nil
		g.PrimaryEndpoint, g.ReaderEndpoint = rest[0], rest[1]
		if g.SnapshotRetention > 0 {
			g.SnapshottingCluster = g.Members[len(g.Members)-1] // a replica where there is one
		}
		return
	}
	g.ConfigurationEndpoint = rest[0]
	for i := range members {
		members[i].Node.BusPort = n.bus
		if n.bus == 0 {
			members[i].Node.BusPort = rest[1+i].Port
		}
	}
}

// claims are the group's addresses with their owners.
func (n *newGroup) claims(g *cache.ReplicationGroup, members []cache.CacheCluster) []records.AddressClaim {
	owner := records.GroupOwner(g.Key())
	out := make([]records.AddressClaim, 0, len(n.at))
	for i, at := range n.at {
		c := records.AddressClaim{Address: at, Owner: owner}
		if i < len(members) {
			c.Owner = records.ClusterOwner(members[i].Key())
		}
		out = append(out, c)
	}
	return out
}
