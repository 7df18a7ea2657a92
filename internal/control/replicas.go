package control

import (
	"context"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// ReplicaCount is what IncreaseReplicaCount and DecreaseReplicaCount ask for. One of
// New, Shards and Remove is set.
type ReplicaCount struct {
	// Immediately is ApplyImmediately, which has to be true.
	Immediately bool
	// New is how many replicas each node group is to have.
	New *int
	// Shards says it for single node groups.
	Shards []ShardReplicas
	// Remove names the replicas that are to go.
	Remove []string
}

// ShardReplicas is how many replicas one node group is to have, and where its nodes
// are to be, the primary too; no Zones for our choice.
type ShardReplicas struct {
	ID    string
	New   int
	Zones []string
}

const maxReplicas = maxGroupNodes - 1

// check checks what needs no other knowledge.
func (in *ReplicaCount) check(region string) error {
	if !in.Immediately {
		return invalid("The parameter ApplyImmediately must be true: a number of replicas is changed at once.")
	}
	given := 0
	for _, is := range []bool{in.New != nil, len(in.Shards) > 0, len(in.Remove) > 0} {
		if is {
			given++
		}
	}
	if given != 1 {
		return conflict("Exactly one of the parameters that say which replicas are wanted must be provided: NewReplicaCount, ReplicaConfiguration or, to remove some, ReplicasToRemove.")
	}
	counts := []int{orElse(in.New, 0)}
	for _, s := range in.Shards {
		counts = append(counts, s.New)
		if n := len(s.Zones); n > 0 && n != s.New+1 {
			return invalid("The number of PreferredAvailabilityZones must be NewReplicaCount plus 1, for the primary. Provided: %d zones for %d replicas of node group %s.", n, s.New, s.ID)
		}
		if err := checkZones(region, s.Zones); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(counts, func(n int) bool { return n < 0 || n > maxReplicas }) {
		return invalid("The number of replicas per node group must be within 0 and %d.", maxReplicas)
	}
	return nil
}

// wanted says what is asked of each node group of a group; those of which nothing is
// said are left out.
func (in *ReplicaCount) wanted(g *Group) ([]ShardReplicas, error) {
	if in.New != nil {
		var out []ShardReplicas
		for _, s := range g.Shards() {
			out = append(out, ShardReplicas{ID: s.ID, New: *in.New})
		}
		return out, nil
	}
	seen := map[string]bool{}
	out := slices.Clone(in.Shards)
	for i := range out {
		if n := number(out[i].ID); n >= 0 && len(out[i].ID) <= 4 {
			out[i].ID = cache.NodeGroupName(n)
		}
		id := out[i].ID
		switch {
		case g.Shard(id) == nil:
			return nil, invalid("Replication group %s has no node group %s.", g.ID, id)
		case seen[id]:
			return nil, invalid("ReplicaConfiguration names the node group %s twice.", id)
		}
		seen[id] = true
	}
	return out, nil
}

func noOperation(g *Group) error {
	return cache.Faultf(codeNoOperation, "The node groups of replication group %s have as many replicas as asked for already.", g.ID)
}

// IncreaseReplicaCount writes new replicas of a group down.
func (c *Control) IncreaseReplicaCount(ctx context.Context, region, id string, in ReplicaCount) (*Group, error) {
	if err := in.check(region); err != nil {
		return nil, err
	}
	return c.grow(ctx, region, id, func(g *Group) ([]newcomer, error) { return in.newcomers(g) })
}

// grow adds the members that choose names to a group.
func (c *Control) grow(ctx context.Context, region, id string, choose func(*Group) ([]newcomer, error)) (*Group, error) {
	g, err := c.readGroup(ctx, region, id)
	if err != nil {
		return nil, err
	}
	all, err := choose(g)
	if err != nil {
		return nil, err
	}
	if err := c.checkRoom(ctx, g, all); err != nil {
		return nil, err
	}
	need := len(all)
	if g.ClusterEnabled && !c.ownHosts() {
		need *= 2 // the buses want ports, too
	}
	var out Group
	err = c.withAddresses(ctx, need, g.Port, func(tx *store.Tx, at []cache.Address, next int) (err error) {
		if out, err = fullGroup(tx, region, id); err != nil {
			return err
		}
		again, err := choose(&out)
		if err == nil && len(again) != len(all) {
			err = cache.Faultf(codeGroupState, "Replication group %s was changed meanwhile. Try again.", g.ID)
		}
		if err != nil {
			return err
		}
		return c.add(tx, &out, again, at, next)
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// newcomers are the replicas that are missing.
func (in *ReplicaCount) newcomers(g *Group) ([]newcomer, error) {
	if err := checkChangeable(g); err != nil {
		return nil, err
	}
	want, err := in.wanted(g)
	if err != nil {
		return nil, err
	}
	var out []newcomer
	for _, w := range want {
		have := len(g.Shard(w.ID).Members) - 1
		if w.New < have {
			return nil, invalid("Node group %s has %d replicas; the new number must be greater. Provided value: %d. To remove some, use DecreaseReplicaCount.", w.ID, have, w.New)
		}
		zones, err := zonesLeft(g, &w)
		if err != nil {
			return nil, err
		}
		for i := range w.New - have {
			n := newcomer{shard: w.ID}
			if i < len(zones) {
				n.zone = zones[i]
			}
			out = append(out, n)
		}
	}
	switch {
	case len(out) == 0:
		return nil, noOperation(g)
	case g.ClusterEnabled && len(g.Members)+len(out) > maxClusterNodes:
		return nil, cache.Faultf(codeClusterNodeQuota, "Cluster node quota exceeded. Each cluster can have at most %d nodes in this region.", maxClusterNodes)
	}
	return out, nil
}

// zonesLeft are the zones that were asked for and have no node yet. The nodes that
// there are stay where they are.
func zonesLeft(g *Group, w *ShardReplicas) ([]string, error) {
	if len(w.Zones) == 0 {
		return nil, nil
	}
	left := slices.Clone(w.Zones)
	for _, z := range zonesOf(g, w.ID) {
		i := slices.Index(left, z)
		if i < 0 {
			return nil, invalid("The nodes of node group %s are in %s. PreferredAvailabilityZones must hold those zones: nodes are not moved.",
				w.ID, listed(zonesOf(g, w.ID)))
		}
		left = slices.Delete(left, i, i+1)
	}
	return left, nil
}

// DecreaseReplicaCount writes down which replicas of a group are to go.
func (c *Control) DecreaseReplicaCount(ctx context.Context, region, id string, in ReplicaCount) (*Group, error) {
	if err := in.check(region); err != nil {
		return nil, err
	}
	g, err := c.readGroup(ctx, region, id)
	if err != nil {
		return nil, err
	}
	seen := c.offsets(ctx, g, &in)
	var out Group
	err = c.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if out, err = fullGroup(tx, region, id); err != nil {
			return err
		}
		if err := checkChangeable(&out); err != nil {
			return err
		}
		ids, err := in.leavers(&out, seen)
		if err != nil {
			return err
		}
		return c.remove(tx, &out, ids, "")
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// offsets says how far the replicas are among which there is a choice; those that do
// not say are left out.
func (c *Control) offsets(ctx context.Context, g *Group, in *ReplicaCount) map[string]int64 {
	out := map[string]int64{}
	if len(in.Remove) > 0 {
		return out
	}
	for i := range g.Members {
		if k := &g.Members[i]; !g.Leads(k.ID) {
			if h, ok := c.probe(ctx, g, k.ID); ok && h.LinkUp {
				out[k.ID] = h.Offset
			}
		}
	}
	return out
}

// addReplica writes one more replica of a group down, under a name that was asked for.
func (c *Control) addReplica(ctx context.Context, region string, in *NewCluster) (*cache.CacheCluster, error) {
	id := lower(in.ID)
	g, err := c.grow(ctx, region, in.GroupID, func(g *Group) ([]newcomer, error) {
		if err := checkReplica(g, in); err != nil {
			return nil, err
		}
		return []newcomer{{shard: cache.NodeGroupID, id: id, zone: in.Zone, tags: in.Tags}}, nil
	})
	if err != nil {
		return nil, err
	}
	var out cache.CacheCluster
	err = c.DB.View(ctx, func(tx *store.Tx) (err error) {
		out, _, err = records.Clusters.Get(tx, cache.Key(g.Region, id))
		return err
	})
	return &out, err
}
