package elasticache

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

func (h *handlers) createReplicationGroup(ctx context.Context, in *elasticache.CreateReplicationGroupInput) (*elasticache.CreateReplicationGroupOutput, error) {
	if err := refuseGroup(in); err != nil {
		return nil, err
	}
	req := control.NewGroup{
		ID:          aws.ToString(in.ReplicationGroupId),
		Description: aws.ToString(in.ReplicationGroupDescription),
		Asked: control.Asked{
			Engine:                  aws.ToString(in.Engine),
			EngineVersion:           aws.ToString(in.EngineVersion),
			NodeType:                aws.ToString(in.CacheNodeType),
			Port:                    number(in.Port),
			ParameterGroup:          aws.ToString(in.CacheParameterGroupName),
			SubnetGroup:             aws.ToString(in.CacheSubnetGroupName),
			SecurityGroupIDs:        in.SecurityGroupIds,
			AutoMinorVersionUpgrade: in.AutoMinorVersionUpgrade,
			SnapshotRetention:       number(in.SnapshotRetentionLimit),
			SnapshotWindow:          aws.ToString(in.SnapshotWindow),
			MaintenanceWindow:       aws.ToString(in.PreferredMaintenanceWindow),
			NotificationTopicARN:    aws.ToString(in.NotificationTopicArn),
			Tags:                    readTags(in.Tags),
			SnapshotName:            aws.ToString(in.SnapshotName),
			SnapshotARNs:            in.SnapshotArns,
		},
		Nodes:             number(in.NumCacheClusters),
		Replicas:          number(in.ReplicasPerNodeGroup),
		Zones:             in.PreferredCacheClusterAZs,
		AutomaticFailover: aws.ToBool(in.AutomaticFailoverEnabled),
		MultiAZ:           aws.ToBool(in.MultiAZEnabled),
	}
	if len(in.NodeGroupConfiguration) == 1 {
		if err := readShard(&req, &in.NodeGroupConfiguration[0]); err != nil {
			return nil, err
		}
	}
	g, err := h.ctl.CreateReplicationGroup(ctx, region(ctx), req)
	if err != nil {
		return nil, err
	}
	return &elasticache.CreateReplicationGroupOutput{ReplicationGroup: new(showGroup(g))}, nil
}

// readShard takes over what the configuration of the one shard says.
func readShard(req *control.NewGroup, n *types.NodeGroupConfiguration) error {
	if err := refuseShard(n); err != nil {
		return err
	}
	if n.ReplicaCount != nil {
		if req.Replicas != nil && *req.Replicas != int(*n.ReplicaCount) {
			return cache.Faultf("InvalidParameterCombination", "ReplicasPerNodeGroup and NodeGroupConfiguration.ReplicaCount contradict each other.")
		}
		req.Replicas = number(n.ReplicaCount)
	}
	if n.PrimaryAvailabilityZone == nil && len(n.ReplicaAvailabilityZones) == 0 {
		return nil
	}
	zones := append([]string{aws.ToString(n.PrimaryAvailabilityZone)}, n.ReplicaAvailabilityZones...)
	if len(req.Zones) > 0 && !slices.Equal(req.Zones, zones) {
		return cache.Faultf("InvalidParameterCombination", "PreferredCacheClusterAZs and the zones of NodeGroupConfiguration contradict each other.")
	}
	req.Zones = zones
	return nil
}

func (h *handlers) describeReplicationGroups(ctx context.Context, in *elasticache.DescribeReplicationGroupsInput) (*elasticache.DescribeReplicationGroupsOutput, error) {
	out := &elasticache.DescribeReplicationGroupsOutput{}
	groups, err := h.ctl.DescribeReplicationGroups(ctx, region(ctx), aws.ToString(in.ReplicationGroupId),
		paged(func(g *cache.ReplicationGroup) string { return g.ID }, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	out.ReplicationGroups = make([]types.ReplicationGroup, len(groups))
	for i := range groups {
		out.ReplicationGroups[i] = showGroup(&groups[i])
	}
	return out, nil
}

func (h *handlers) deleteReplicationGroup(ctx context.Context, in *elasticache.DeleteReplicationGroupInput) (*elasticache.DeleteReplicationGroupOutput, error) {
	if err := refuse(ask{"RetainPrimaryCluster", aws.ToBool(in.RetainPrimaryCluster)}); err != nil {
		return nil, err
	}
	g, err := h.ctl.DeleteReplicationGroup(ctx, region(ctx), aws.ToString(in.ReplicationGroupId), aws.ToString(in.FinalSnapshotIdentifier))
	if err != nil {
		return nil, err
	}
	return &elasticache.DeleteReplicationGroupOutput{ReplicationGroup: new(showGroup(g))}, nil
}

// showGroup shows a group. Its endpoints are shown while it can be used.
func showGroup(g *control.Group) types.ReplicationGroup {
	return types.ReplicationGroup{
		ARN:                        aws.String(cache.ARN(g.Region, cache.KindGroup, g.ID)),
		ReplicationGroupId:         aws.String(g.ID),
		Description:                aws.String(g.Description),
		Status:                     aws.String(string(g.Status)),
		ReplicationGroupCreateTime: aws.Time(g.CreatedAt),
		MemberClusters:             g.ReplicationGroup.Members,
		NodeGroups:                 []types.NodeGroup{showNodeGroup(g)},
		AutomaticFailover:          onOff[types.AutomaticFailoverStatus](g.AutomaticFailover),
		MultiAZ:                    onOff[types.MultiAZStatus](g.MultiAZ),
		CacheNodeType:              aws.String(g.NodeType),
		Engine:                     aws.String(g.Engine),
		AutoMinorVersionUpgrade:    aws.Bool(g.AutoMinorVersionUpgrade),
		SnapshotRetentionLimit:     integer(g.SnapshotRetention),
		SnapshotWindow:             aws.String(g.SnapshotWindow),
		SnapshottingClusterId:      optional(g.SnapshottingCluster),
		NetworkType:                types.NetworkType(g.NetworkType),
		IpDiscovery:                types.IpDiscovery(g.IPDiscovery),
		ClusterEnabled:             aws.Bool(false),
		ClusterMode:                types.ClusterModeDisabled,
		DataTiering:                types.DataTieringStatusDisabled,
		AuthTokenEnabled:           aws.Bool(false),
		TransitEncryptionEnabled:   aws.Bool(false),
		AtRestEncryptionEnabled:    aws.Bool(false),
		PendingModifiedValues:      &types.ReplicationGroupPendingModifiedValues{},
	}
}

// usable tells whether a cache of this status answers.
func usable(s cache.Status) bool {
	switch s {
	case cache.StatusAvailable, cache.StatusSnapshotting, cache.StatusModifying:
		return true
	}
	return false
}

// showNodeGroup shows the one shard, its primary first.
func showNodeGroup(g *control.Group) types.NodeGroup {
	status := g.Status
	if status == cache.StatusSnapshotting {
		status = cache.StatusAvailable // a shard has no word for it
	}
	n := types.NodeGroup{NodeGroupId: aws.String(cache.NodeGroupID), Status: aws.String(string(status))}
	shown := usable(g.Status)
	if shown {
		n.PrimaryEndpoint, n.ReaderEndpoint = showEndpoint(g.PrimaryEndpoint), showEndpoint(g.ReaderEndpoint)
	}
	for i := range g.Members {
		k := &g.Members[i]
		m := types.NodeGroupMember{
			CacheClusterId:            aws.String(k.ID),
			CacheNodeId:               aws.String(cache.NodeID),
			PreferredAvailabilityZone: optional(k.Zone),
			CurrentRole:               aws.String(string(cache.RoleReplica)),
		}
		if shown {
			m.ReadEndpoint = showEndpoint(k.Node.Address)
		}
		if k.ID != g.Primary {
			n.NodeGroupMembers = append(n.NodeGroupMembers, m)
			continue
		}
		m.CurrentRole = aws.String(string(cache.RolePrimary))
		n.NodeGroupMembers = slices.Insert(n.NodeGroupMembers, 0, m)
	}
	return n
}
