package control

import (
	"context"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// RebootCacheCluster writes down that the node of a cluster is to be started anew,
// with whatever its parameter group has been given meanwhile.
func (c *Control) RebootCacheCluster(ctx context.Context, region, id string, nodes []string) (*cache.CacheCluster, error) {
	if id == "" {
		return nil, missing("CacheClusterId")
	}
	if len(nodes) == 0 {
		return nil, missing("CacheNodeIdsToReboot")
	}
	var k cache.CacheCluster
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if k, err = getCluster(tx, region, id); err != nil {
			return err
		}
		if k.Memcached != nil {
			return c.rebootMemcached(tx, &k, nodes)
		}
		for i, n := range nodes {
			if n != cache.NodeID || slices.Contains(nodes[:i], n) {
				return invalid("The parameter CacheNodeIdsToReboot must name nodes of cache cluster %s, each once: %s. Provided value: %s", k.ID, cache.NodeID, n)
			}
		}
		if err := checkReboot(tx, &k); err != nil {
			return err
		}
		k.Status, k.Reboot = cache.StatusRebooting, &cache.Reboot{RequestedAt: c.Now()}
		return records.Clusters.Put(tx, k.Key(), k)
	})
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// checkReboot tells whether a node can be rebooted. That of a primary whose replicas
// have not got its data is refused: it would come back empty, and they would follow.
func checkReboot(tx *store.Tx, k *cache.CacheCluster) error {
	refuse := func(why string) error {
		return cache.Faultf(codeClusterState, "Cache cluster %s cannot be rebooted: %s", k.ID, why)
	}
	if k.Status != cache.StatusAvailable {
		return cache.Faultf(codeClusterState, "Cache cluster must be in available state to reboot. Cache cluster %s has status %s.", k.ID, k.Status)
	}
	if k.GroupID == "" {
		return nil
	}
	g, err := getGroup(tx, k.Region, k.GroupID)
	if err != nil {
		return err
	}
	full, err := withMembers(tx, g)
	if err != nil {
		return err
	}
	ready := 0
	for i := range full.Members {
		m := &full.Members[i]
		if m.Status == cache.StatusRebooting {
			return refuse("cache cluster " + m.ID + " of the same replication group is being rebooted. Wait until it is available.")
		}
		if m.ID != k.ID && m.Node.Process != nil && m.Node.Ready {
			ready++
		}
	}
	switch {
	case g.ClusterEnabled:
		return refuse("it belongs to the replication group " + g.ID + " with cluster mode enabled. " +
			"To start its nodes anew, back the group up and restore the backup.")
	case g.Status != cache.StatusAvailable:
		return cache.Faultf(codeClusterState, "Replication group %s has status %s: its nodes cannot be rebooted.", g.ID, g.Status)
	case g.Leads(k.ID) && len(full.Members) > 1 && ready == 0:
		return refuse("it is the primary of replication group " + g.ID + " and no replica has its data. Wait until one has.")
	}
	return nil
}
