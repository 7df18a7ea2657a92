package control

import (
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// checkReplica tells whether a group can have one more replica by CreateCacheCluster,
// and refuses what would have to differ from the group's.
func checkReplica(g *Group, in *NewCluster) error {
	if err := checkChangeable(g); err != nil {
		return err
	}
	switch {
	case g.ClusterEnabled:
		return conflict("Replication group %s has cluster mode enabled: add replicas to its node groups with IncreaseReplicaCount.", g.ID)
	case len(g.Members) >= maxGroupNodes:
		return cache.Faultf(codeClusterNodeQuota, "Cluster node quota exceeded. Each cluster can have at most %d nodes in this region.", maxGroupNodes)
	case in.SnapshotName != "" || len(in.SnapshotARNs) > 0:
		return conflict("SnapshotName and SnapshotArns cannot be used with ReplicationGroupId: a replica has the data of its primary.")
	}
	a := &in.Asked
	for _, c := range []struct {
		member    string
		different bool
	}{
		{"Engine", a.Engine != "" && lower(a.Engine) != g.Engine},
		{"EngineVersion", a.EngineVersion != "" && (&Same{EngineVersion: a.EngineVersion}).check(&g.Settings, g.Members[0].Node.Build) != nil},
		{"CacheNodeType", a.NodeType != "" && a.NodeType != g.NodeType},
		{"Port", orElse(a.Port, g.Port) != g.Port},
		{"CacheParameterGroupName", a.ParameterGroup != "" && lower(a.ParameterGroup) != g.ParameterGroup},
		{"CacheSubnetGroupName", a.SubnetGroup != "" && lower(a.SubnetGroup) != g.SubnetGroup},
		{"SecurityGroupIds", len(a.SecurityGroupIDs) > 0 && !slices.Equal(a.SecurityGroupIDs, g.SecurityGroupIDs)},
		{"AutoMinorVersionUpgrade", orElse(a.AutoMinorVersionUpgrade, g.AutoMinorVersionUpgrade) != g.AutoMinorVersionUpgrade},
		{"SnapshotRetentionLimit", orElse(a.SnapshotRetention, g.SnapshotRetention) != g.SnapshotRetention},
		{"SnapshotWindow", a.SnapshotWindow != "" && a.SnapshotWindow != g.SnapshotWindow},
		{"PreferredMaintenanceWindow", a.MaintenanceWindow != "" && lower(a.MaintenanceWindow) != g.MaintenanceWindow},
		{"NotificationTopicArn", a.NotificationTopicARN != "" && a.NotificationTopicARN != g.NotificationTopicARN},
	} {
		if c.different {
			return conflict("A replica has the settings of its replication group %s: leave the parameter %s out.", g.ID, c.member)
		}
	}
	return nil
}

// deleteReplica writes down that a replica of a group is to go.
func (c *Control) deleteReplica(tx *store.Tx, k *cache.CacheCluster, final string) error {
	g, err := fullGroup(tx, k.Region, k.GroupID)
	if err != nil {
		return err
	}
	if err := checkDeletable(&g, k); err != nil {
		return err
	}
	if final != "" {
		if err := checkSnapshots(&k.Settings); err != nil {
			return err
		}
		if err := c.countSnapshot(k); err != nil {
			return err
		}
		// What was counted is the record's that is written below.
		i := slices.IndexFunc(g.Members, func(o cache.CacheCluster) bool { return o.ID == k.ID })
		g.Members[i] = *k
		s := cache.SnapshotOfMember(&g.ReplicationGroup, k)
		if err := c.putSnapshot(tx, &s, final, nil); err != nil {
			return err
		}
	}
	if err := c.remove(tx, &g, []string{k.ID}, lower(final)); err != nil {
		return err
	}
	*k, _, err = records.Clusters.Get(tx, k.Key())
	return err
}

// checkDeletable tells whether DeleteCacheCluster may take a member of a group.
func checkDeletable(g *Group, k *cache.CacheCluster) error {
	switch {
	case len(g.Members) == 1:
		return cache.Faultf(codeClusterState,
			"Cannot delete the cache cluster since it is the only member of a replication group. Delete the replication group instead.")
	case g.Leads(k.ID):
		return cache.Faultf(codeClusterState, "Cache cluster %s is serving as primary for replication group %s and cannot be deleted. "+
			"To delete the entire replication group, use DeleteReplicationGroup.", k.ID, g.ID)
	case g.ClusterEnabled:
		return cache.Faultf(codeClusterState, "Cache cluster %s belongs to replication group %s, which has cluster mode enabled: remove replicas with DecreaseReplicaCount.", k.ID, g.ID)
	case k.Status != cache.StatusAvailable:
		return cache.Faultf(codeClusterState, "Cache cluster %s has status %s which is not valid for deletion.", k.ID, k.Status)
	case g.Status != cache.StatusAvailable || g.Test != nil:
		return cache.Faultf(codeGroupState, "Cache cluster %s is not in a valid state to be deleted", k.ID)
	case g.MultiAZ:
		return cache.Faultf(codeClusterState, "Cache cluster %s belongs to replication group %s, which has Multi-AZ enabled: remove replicas with DecreaseReplicaCount.", k.ID, g.ID)
	case g.AutomaticFailover && len(g.Members) == 2:
		return cache.Faultf(codeClusterState, "Cache cluster %s is the last replica of replication group %s, which has automatic failover enabled, and cannot be deleted.", k.ID, g.ID)
	}
	return nil
}
