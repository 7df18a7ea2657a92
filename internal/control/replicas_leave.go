package control

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// leavers are the replicas that are to go: those that are named, or as many as there
// are too many. offsets says how far replicas are.
func (in *ReplicaCount) leavers(g *Group, offsets map[string]int64) ([]string, error) {
	if len(in.Remove) > 0 {
		return in.named(g)
	}
	want, err := in.wanted(g)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, w := range want {
		have := len(g.Shard(w.ID).Members) - 1
		if w.New > have {
			return nil, invalid("Node group %s has %d replicas; the new number must be smaller. Provided value: %d. To add some, use IncreaseReplicaCount.", w.ID, have, w.New)
		}
		if err := checkFloor(g, w.New); err != nil && w.New < have {
			return nil, err
		}
		ids, err := tooMany(g, &w, offsets)
		if err != nil {
			return nil, err
		}
		out = append(out, ids...)
	}
	if len(out) == 0 {
		return nil, noOperation(g)
	}
	return out, nil
}

// named are the replicas that were named, each once.
func (in *ReplicaCount) named(g *Group) ([]string, error) {
	var out []string
	for _, id := range in.Remove {
		id = lower(id)
		switch {
		case slices.Contains(out, id):
			return nil, invalid("ReplicasToRemove names %s twice.", id)
		case !slices.Contains(g.ReplicationGroup.Members, id):
			return nil, invalid("The cache cluster %s is not a member of replication group %s.", id, g.ID)
		case g.Leads(id):
			return nil, invalid("The cache cluster %s is a primary of replication group %s and cannot be removed.", id, g.ID)
		}
		out = append(out, id)
	}
	for _, s := range g.Shards() {
		gone := 0
		for _, id := range out {
			gone += count(s.Members, id)
		}
		if err := checkFloor(g, len(s.Members)-1-gone); err != nil && gone > 0 {
			return nil, err
		}
	}
	return out, nil
}

// checkFloor refuses fewer replicas than Multi-AZ needs.
func checkFloor(g *Group, replicas int) error {
	if g.MultiAZ && !g.ClusterEnabled && replicas < 1 {
		return conflict("Replication group %s has Multi-AZ enabled and must keep at least one replica.", g.ID)
	}
	return nil
}

// tooMany chooses the replicas of a shard that go: one after another of the zone that
// holds the most of its nodes, there the one that is furthest behind. Where zones were
// asked for, those go that stand elsewhere.
func tooMany(g *Group, w *ShardReplicas, offsets map[string]int64) ([]string, error) {
	s := g.Shard(w.ID)
	var all []*cache.CacheCluster
	for i := range g.Members {
		if k := &g.Members[i]; slices.Contains(s.Members, k.ID) && k.ID != s.Primary {
			all = append(all, k)
		}
	}
	zones := zonesOf(g, w.ID)
	surplus := slices.Clone(zones)
	for _, z := range w.Zones {
		i := slices.Index(surplus, z)
		if i < 0 {
			return nil, invalid("The nodes of node group %s are in %s. PreferredAvailabilityZones must be some of those: nodes are not moved.", w.ID, listed(zones))
		}
		surplus = slices.Delete(surplus, i, i+1)
	}
	var out []string
	for len(all) > w.New {
		i := worst(all, zones, surplus, len(w.Zones) > 0, offsets)
		if i < 0 {
			return nil, invalid("The primary of node group %s stays in its zone, which PreferredAvailabilityZones must hold.", w.ID)
		}
		for _, from := range []*[]string{&zones, &surplus} {
			if at := slices.Index(*from, all[i].Zone); at >= 0 {
				*from = slices.Delete(*from, at, at+1)
			}
		}
		out = append(out, all[i].ID)
		all = slices.Delete(all, i, i+1)
	}
	return out, nil
}

// worst is the replica that goes first; -1 if none may.
func worst(all []*cache.CacheCluster, zones, surplus []string, bound bool, offsets map[string]int64) int {
	best := -1
	for i, k := range all {
		if bound && !slices.Contains(surplus, k.Zone) {
			continue
		}
		if best < 0 || before(k, all[best], zones, offsets) {
			best = i
		}
	}
	return best
}

// before tells whether k goes before o.
func before(k, o *cache.CacheCluster, zones []string, offsets map[string]int64) bool {
	if a, b := count(zones, k.Zone), count(zones, o.Zone); a != b {
		return a > b
	}
	a, known := offsets[k.ID]
	b, otherKnown := offsets[o.ID]
	switch {
	case known != otherKnown:
		return !known
	case a != b:
		return a < b
	}
	return true // the one with the higher number
}
