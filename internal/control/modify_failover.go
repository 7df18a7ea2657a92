package control

import (
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// changeFailover turns automatic failover and Multi-AZ on and off. Neither touches an
// engine. The notes are the events.
func (in *GroupChange) changeFailover(g *Group) (notes []string, err error) {
	failover, multi := orElse(in.AutomaticFailover, g.AutomaticFailover), orElse(in.MultiAZ, g.MultiAZ)
	switch {
	case g.ClusterEnabled && !orElse(in.AutomaticFailover, true):
		return nil, conflict("Turning off automatic failover for replication group with cluster mode enabled is not supported.")
	case multi && !failover && !g.MultiAZ:
		return nil, conflict("MultiAZEnabled requires AutomaticFailoverEnabled.")
	case multi && !failover:
		return nil, conflict("Automatic failover cannot be turned off while Multi-AZ is enabled. Turn MultiAZEnabled off as well.")
	}
	if failover && !g.AutomaticFailover {
		if err := canFailOver(g); err != nil {
			return nil, err
		}
	}
	if multi && !g.MultiAZ {
		if err := canSpanZones(g); err != nil {
			return nil, err
		}
	}
	for _, c := range []struct {
		what string
		from *bool
		to   bool
	}{{"Automatic failover", &g.AutomaticFailover, failover}, {"Multi-AZ", &g.MultiAZ, multi}} {
		if *c.from == c.to {
			continue
		}
		*c.from = c.to
		turned := map[bool]string{true: "on", false: "off"}[c.to]
		notes = append(notes, c.what+" has been turned "+turned+" for replication group "+g.ID)
	}
	return notes, nil
}

func canFailOver(g *Group) error {
	switch {
	case len(g.Members) < 2:
		return conflict("When using automatic failover, there must be at least 2 cache clusters in the replication group.")
	case strings.HasPrefix(g.NodeType, "cache.t1."):
		return conflict("Automatic failover is not supported on the node type %s.", g.NodeType)
	}
	return nil
}

// canSpanZones tells whether every shard outlives the end of a zone.
func canSpanZones(g *Group) error {
	if err := checkDurability(g.EffectiveParameters(g.Parameters), true); err != nil {
		return err
	}
	for _, s := range g.Shards() {
		if len(s.Members) < 2 {
			return conflict("MultiAZEnabled requires at least one replica in each node group. Node group %s has none.", s.ID)
		}
		zones := zonesOf(g, s.ID)
		slices.Sort(zones)
		if len(slices.Compact(zones)) < 2 {
			return conflict("MultiAZEnabled requires nodes in at least two availability zones. All of node group %s are in %s.", s.ID, zones[0])
		}
	}
	return nil
}

// promote writes down that another member is to lead a group, by hand.
func (in *GroupChange) promote(tx *store.Tx, g *Group) error {
	to := lower(in.PrimaryCluster)
	if to == "" {
		return nil
	}
	if g.ClusterEnabled {
		return conflict("PrimaryClusterId cannot be used with cluster mode enabled: there is a primary for each node group.")
	}
	if _, err := getCluster(tx, g.Region, to); err != nil {
		return err
	}
	i := slices.IndexFunc(g.Members, func(k cache.CacheCluster) bool { return k.ID == to })
	switch {
	case i < 0:
		return invalid("The cache cluster %s is not a member of replication group %s.", to, g.ID)
	case to == g.Primary:
		return nil
	case g.AutomaticFailover:
		return cache.Faultf(codeGroupState, "Cannot manually promote a new master cache cluster while autofailover is enabled")
	case !in.Immediately:
		return conflict("PrimaryClusterId asks for another primary, which takes over at once: ApplyImmediately must be true.")
	}
	if err := checkChangeable(g); err != nil {
		return err
	}
	if k := &g.Members[i]; k.Node.Process == nil || !k.Node.Ready {
		return cache.Faultf(codeClusterState, "Cache cluster %s is being recovered and cannot be promoted. Try again when it is back.", to)
	}
	return begin(tx, g, cache.MemberChange{Promote: to, Promoting: g.Primary})
}
