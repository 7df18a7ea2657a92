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
			AtRestEncryption:        aws.ToBool(in.AtRestEncryptionEnabled),
			KmsKeyID:                aws.ToString(in.KmsKeyId),
			Transit:                 control.Transit{Enabled: in.TransitEncryptionEnabled, Mode: string(in.TransitEncryptionMode)},
			SnapshotName:            aws.ToString(in.SnapshotName),
			SnapshotARNs:            in.SnapshotArns,
			AuthToken:               aws.ToString(in.AuthToken),
		},
		Nodes:             number(in.NumCacheClusters),
		Replicas:          number(in.ReplicasPerNodeGroup),
		Zones:             in.PreferredCacheClusterAZs,
		NodeGroups:        number(in.NumNodeGroups),
		AutomaticFailover: aws.ToBool(in.AutomaticFailoverEnabled),
		MultiAZ:           aws.ToBool(in.MultiAZEnabled),
		UserGroupIDs:      in.UserGroupIds,
	}
	req.ClusterMode = string(in.ClusterMode)
	for i := range in.NodeGroupConfiguration {
		shard, err := readShard(&in.NodeGroupConfiguration[i])
		if err != nil {
			return nil, err
		}
		req.Shards = append(req.Shards, shard)
	}
	g, err := h.ctl.CreateReplicationGroup(ctx, region(ctx), req)
	if err != nil {
		return nil, err
	}
	return &elasticache.CreateReplicationGroupOutput{ReplicationGroup: new(showGroup(g))}, nil
}

// readShard takes over what the configuration of a node group says.
func readShard(n *types.NodeGroupConfiguration) (control.NewShard, error) {
	return control.NewShard{
		ID: aws.ToString(n.NodeGroupId), Slots: aws.ToString(n.Slots), Replicas: number(n.ReplicaCount),
		PrimaryZone: aws.ToString(n.PrimaryAvailabilityZone), ReplicaZones: n.ReplicaAvailabilityZones,
	}, refuseShard(n)
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
		NodeGroups:                 showNodeGroups(g),
		ConfigurationEndpoint:      showConfiguration(g),
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
		ClusterEnabled:             aws.Bool(g.ClusterEnabled),
		ClusterMode:                onOff[types.ClusterMode](g.ClusterEnabled),
		DataTiering:                types.DataTieringStatusDisabled,
		AuthTokenEnabled:           aws.Bool(hasToken(g.Access)),
		AuthTokenLastModifiedDate:  tokenDate(g.Access),
		TransitEncryptionEnabled:   aws.Bool(g.TransitEncryption != ""),
		TransitEncryptionMode:      types.TransitEncryptionMode(g.TransitEncryption),
		AtRestEncryptionEnabled:    aws.Bool(g.AtRestEncryption),
		KmsKeyId:                   optional(g.KmsKeyID),
		UserGroupIds:               g.UserGroupIDs,
		PendingModifiedValues:      showPending(g),
	}
}

// showPending shows what is asked for and not yet so.
func showPending(g *control.Group) *types.ReplicationGroupPendingModifiedValues {
	out := &types.ReplicationGroupPendingModifiedValues{Resharding: showResharding(g.Resharding)}
	if c := g.Change; c != nil {
		out.PrimaryClusterId = optional(c.Promote)
	}
	if t := g.TransitChange; t != nil {
		out.TransitEncryptionEnabled, out.TransitEncryptionMode = aws.Bool(t.To != ""), types.TransitEncryptionMode(t.To)
	}
	out.UserGroups = showUserGroupsChange(g)
	out.AuthTokenStatus = types.AuthTokenUpdateStatus(g.PendingToken())
	return out
}

// usable tells whether a cache of this status answers.
func usable(s cache.Status) bool {
	switch s {
	case cache.StatusAvailable, cache.StatusSnapshotting, cache.StatusModifying, cache.StatusRebooting:
		return true
	}
	return false
}

// showConfiguration is the address of a cluster that can be used.
func showConfiguration(g *control.Group) *types.Endpoint {
	if !usable(g.Status) {
		return nil
	}
	return showEndpoint(g.ConfigurationEndpoint)
}

// showNodeGroups shows the shards.
func showNodeGroups(g *control.Group) []types.NodeGroup {
	shards := g.Shards()
	out := make([]types.NodeGroup, len(shards))
	for i := range shards {
		out[i] = showNodeGroup(g, &shards[i])
	}
	return out
}

// showNodeGroup shows one shard, its primary first. In cluster mode clients ask the
// nodes themselves who leads and where to read, so neither is told here.
func showNodeGroup(g *control.Group, s *cache.NodeGroup) types.NodeGroup {
	n := types.NodeGroup{NodeGroupId: aws.String(s.ID), Status: aws.String(string(shardStatus(g, s)))}
	shown := usable(g.Status)
	switch {
	case g.ClusterEnabled:
		n.Slots = optional(s.Slots.String()) // a new node group has none yet
	case shown:
		n.PrimaryEndpoint, n.ReaderEndpoint = showEndpoint(g.PrimaryEndpoint), showEndpoint(g.ReaderEndpoint)
	}
	for i := range g.Members {
		k := &g.Members[i]
		if k.ShardID() != s.ID {
			continue
		}
		m := showMember(g, k, shown)
		if !g.ClusterEnabled && k.ID == s.Primary {
			n.NodeGroupMembers = slices.Insert(n.NodeGroupMembers, 0, m)
		} else {
			n.NodeGroupMembers = append(n.NodeGroupMembers, m)
		}
	}
	return n
}

func showMember(g *control.Group, k *cache.CacheCluster, shown bool) types.NodeGroupMember {
	m := types.NodeGroupMember{
		CacheClusterId:            aws.String(k.ID),
		CacheNodeId:               aws.String(cache.NodeID),
		PreferredAvailabilityZone: optional(k.Zone),
	}
	if g.ClusterEnabled {
		return m
	}
	m.CurrentRole = aws.String(string(cache.RoleReplica))
	if g.Leads(k.ID) {
		m.CurrentRole = aws.String(string(cache.RolePrimary))
	}
	if shown && usable(k.Status) {
		m.ReadEndpoint = showEndpoint(k.Node.Address)
	}
	return m
}
