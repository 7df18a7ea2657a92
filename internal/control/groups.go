package control

import (
	"context"
	"slices"

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
	Zones []string
	// NodeGroups is how many shards there are to be, and Shards what is said of each.
	NodeGroups                 *int
	Shards                     []NewShard
	AutomaticFailover, MultiAZ bool
	// UserGroupIDs are the user groups whose users may log in; one at most.
	UserGroupIDs []string
}

// Group is a replication group with its members in the order of their numbers.
type Group struct {
	cache.ReplicationGroup
	Members []cache.CacheCluster
}

const maxGroupNodes = 6 // one primary and five replicas

// CreateReplicationGroup writes a new group and its members down.
func (c *Control) CreateReplicationGroup(ctx context.Context, region string, in NewGroup) (*Group, error) {
	if err := checkNewGroup(region, &in); err != nil {
		return nil, err
	}
	id := lower(in.ID)
	if err := c.groupIsNew(ctx, region, id); err != nil {
		return nil, err
	}
	d, from, err := c.prepare(ctx, region, id, &in.Asked)
	if err != nil {
		return nil, err
	}
	shards, err := in.layouts(d, from)
	if err != nil {
		return nil, err
	}
	if err := c.fits(d, from, shards); err != nil {
		return nil, err
	}
	bus, err := c.busPort(d)
	if err != nil {
		return nil, err
	}
	need := addressNeed(d, shards, c.ownHosts())
	var out *Group
	err = c.withAddresses(ctx, need, d.Port, func(tx *store.Tx, at []cache.Address, next int) error {
		var err error
		out, err = c.putGroup(tx, newGroup{region, id, &in, d, shards, at, bus}, next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// checkNewGroup checks what needs no other knowledge.
func checkNewGroup(region string, in *NewGroup) error {
	if err := checkID("ReplicationGroupId", in.ID, maxGroupID); err != nil {
		return err
	}
	if err := checkDescription("ReplicationGroupDescription", in.Description); err != nil {
		return err
	}
	if in.Engine == "" && in.SnapshotName == "" {
		in.Engine = cache.Redis // as the API has it for groups alone
	}
	if err := checkAsked(region, &in.Asked); err != nil {
		return err
	}
	if n := orElse(in.NodeGroups, 1); n < 1 {
		return invalid("The parameter NumNodeGroups must be at least 1. Provided value: %d", n)
	}
	if in.MultiAZ && !in.AutomaticFailover {
		return conflict("MultiAZEnabled requires AutomaticFailoverEnabled.")
	}
	zones := slices.Clone(in.Zones)
	for _, s := range in.Shards {
		if s.PrimaryZone != "" {
			zones = append(zones, s.PrimaryZone)
		}
		zones = append(zones, s.ReplicaZones...)
	}
	if in.ClusterMode == "" && in.ParameterGroup == "" && (orElse(in.NodeGroups, 1) > 1 || len(in.Shards) > 1) {
		in.ClusterMode = ClusterOn // nothing else can be meant
	}
	return checkZones(region, zones)
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
