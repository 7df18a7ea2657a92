package control

import (
	"context"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// NewGroup is what CreateReplicationGroup asks for.
type NewGroup struct {
	ID, Description string
	Asked
	// Nodes and Replicas are two ways to say how many members there are.
	Nodes, Replicas *int
	// Zones of the members, primary first; empty for our choice.
	Zones                      []string
	AutomaticFailover, MultiAZ bool
}

// Group is a replication group with its members in the order of their numbers.
type Group struct {
	cache.ReplicationGroup
	Members []cache.CacheCluster
}

const maxGroupNodes = 6 // one primary and five replicas

// CreateReplicationGroup writes a new group and its members down.
func (c *Control) CreateReplicationGroup(ctx context.Context, region string, in NewGroup) (*Group, error) {
	n, err := checkNewGroup(region, &in)
	if err != nil {
		return nil, err
	}
	id := lower(in.ID)
	if err := c.groupIsNew(ctx, region, id); err != nil {
		return nil, err
	}
	d, err := c.prepare(ctx, region, id, n, &in.Asked)
	if err != nil {
		return nil, err
	}
	// One address for each node, one for the primary endpoint, one for the readers.
	var out *Group
	err = c.withAddresses(ctx, n+2, d.Port, func(tx *store.Tx, at []cache.Address, next int) error {
		var err error
		out, err = c.putGroup(tx, region, id, &in, d, at, next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// checkNewGroup checks the request by itself and returns the number of members.
func checkNewGroup(region string, in *NewGroup) (int, error) {
	if err := checkID("ReplicationGroupId", in.ID, maxGroupID); err != nil {
		return 0, err
	}
	if err := checkDescription("ReplicationGroupDescription", in.Description); err != nil {
		return 0, err
	}
	if in.Engine == "" && in.SnapshotName == "" {
		in.Engine = cache.Redis // as the API has it for groups alone
	}
	if err := checkAsked(region, &in.Asked); err != nil {
		return 0, err
	}
	n, err := groupSize(in)
	if err != nil {
		return 0, err
	}
	switch {
	case in.AutomaticFailover && n < 2:
		return 0, conflict("When using automatic failover, there must be at least 2 cache clusters in the replication group.")
	case in.MultiAZ && !in.AutomaticFailover:
		return 0, conflict("MultiAZEnabled requires AutomaticFailoverEnabled.")
	case len(in.Zones) > 0 && len(in.Zones) != n:
		return 0, invalid("The number of availability zones must be equal to the number of cache clusters. Provided: %d zones for %d clusters.", len(in.Zones), n)
	}
	return n, checkZones(region, in.Zones)
}

func groupSize(in *NewGroup) (int, error) {
	n := orElse(in.Nodes, 1)
	if in.Replicas != nil {
		if r := *in.Replicas; r < 0 || r >= maxGroupNodes {
			return 0, invalid("The number of replicas per node group must be within 0 and %d.", maxGroupNodes-1)
		}
		if in.Nodes != nil && n != *in.Replicas+1 {
			return 0, conflict("NumCacheClusters %d and ReplicasPerNodeGroup %d contradict each other.", n, *in.Replicas)
		}
		n = *in.Replicas + 1
	}
	if n < 1 || n > maxGroupNodes {
		return 0, invalid("The parameter NumCacheClusters must be between 1 and %d. Provided value: %d", maxGroupNodes, n)
	}
	return n, nil
}

func (c *Control) groupIsNew(ctx context.Context, region, id string) error {
	return c.DB.View(ctx, func(tx *store.Tx) error { return checkNoGroup(tx, region, id) })
}

func checkNoGroup(tx *store.Tx, region, id string) error {
	_, taken, err := records.Groups.Get(tx, cache.Key(region, id))
	if err != nil {
		return err
	}
	if taken {
		return cache.Faultf(codeGroupExists, "Replication group %s already exists.", id)
	}
	return nil
}

// putGroup writes everything that belongs to a new group.
func (c *Control) putGroup(tx *store.Tx, region, id string, in *NewGroup, d *decided, at []cache.Address, next int) (*Group, error) {
	if err := checkNoGroup(tx, region, id); err != nil {
		return nil, err
	}
	subnets, err := subnetGroup(tx, region, d.SubnetGroup)
	if err != nil {
		return nil, err
	}
	n := len(at) - 2
	exceeded, err := c.reserve(tx, region, n, d.node)
	if err != nil {
		return nil, err
	}
	g := cache.ReplicationGroup{
		Region: region, ID: id, Description: in.Description, Settings: d.Settings,
		AutomaticFailover: in.AutomaticFailover, MultiAZ: in.MultiAZ,
		Seed: d.seed, CreatedAt: c.Now(), Status: cache.StatusCreating,
		PrimaryEndpoint: at[n], ReaderEndpoint: at[n+1], Secret: newSecret(),
	}
	owner := records.GroupOwner(g.Key())
	claims := []records.AddressClaim{{Address: at[n], Owner: owner}, {Address: at[n+1], Owner: owner}}
	zones := place(region, n, in.Zones, subnets)
	out := &Group{}
	for i := range n {
		role := cache.RoleReplica
		if i == 0 {
			role = cache.RolePrimary
		}
		k := d.newCluster(region, cache.MemberID(id, i+1), at[i], role)
		k.GroupID, k.Zone, k.CreatedAt = id, zones[i], g.CreatedAt
		if err := putCluster(tx, k); err != nil {
			return nil, err
		}
		claims = append(claims, records.AddressClaim{Address: at[i], Owner: records.ClusterOwner(k.Key())})
		g.Members = append(g.Members, k.ID)
		out.Members = append(out.Members, k)
	}
	g.Primary = g.Members[0]
	if g.SnapshotRetention > 0 {
		g.SnapshottingCluster = g.Members[n-1] // a replica where there is one
	}
	out.ReplicationGroup = g
	if err := c.claim(tx, next, claims); err != nil {
		return nil, err
	}
	if err := markRestore(tx, region, d.seed, g.Key()); err != nil {
		return nil, err
	}
	if err := records.Groups.Put(tx, g.Key(), g); err != nil {
		return nil, err
	}
	return out, c.tell(tx, region, cache.EventGroup, id, append(d.notes, exceeded)...)
}

// DescribeReplicationGroups returns the group of that id, or, if id is empty,
// the page of all groups of the region.
func (c *Control) DescribeReplicationGroups(ctx context.Context, region, id string, page Page[cache.ReplicationGroup]) ([]Group, error) {
	var out []Group
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		groups, err := listGroups(tx, region, id, page)
		if err != nil {
			return err
		}
		out = make([]Group, 0, len(groups))
		for _, g := range groups {
			full, err := withMembers(tx, g)
			if err != nil {
				return err
			}
			out = append(out, full)
		}
		return nil
	})
	return out, err
}

func listGroups(tx *store.Tx, region, id string, page Page[cache.ReplicationGroup]) ([]cache.ReplicationGroup, error) {
	if id != "" {
		g, err := getGroup(tx, region, id)
		return []cache.ReplicationGroup{g}, err
	}
	all, err := records.Groups.List(tx, records.InRegion(region))
	if err != nil {
		return nil, err
	}
	return page.of(all)
}

func getGroup(tx *store.Tx, region, id string) (cache.ReplicationGroup, error) {
	g, ok, err := records.Groups.Get(tx, cache.Key(region, lower(id)))
	if err == nil && !ok {
		err = groupNotFound(id)
	}
	return g, err
}

func withMembers(tx *store.Tx, g cache.ReplicationGroup) (Group, error) {
	out := Group{ReplicationGroup: g}
	for _, id := range g.Members {
		k, ok, err := records.Clusters.Get(tx, cache.Key(g.Region, id))
		if err != nil {
			return Group{}, err
		}
		if ok {
			out.Members = append(out.Members, k)
		}
	}
	return out, nil
}
