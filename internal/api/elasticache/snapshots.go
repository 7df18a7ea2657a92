package elasticache

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

func (h *handlers) createSnapshot(ctx context.Context, in *elasticache.CreateSnapshotInput) (*elasticache.CreateSnapshotOutput, error) {
	s, err := h.ctl.CreateSnapshot(ctx, region(ctx), control.NewSnapshot{
		Name:      aws.ToString(in.SnapshotName),
		GroupID:   aws.ToString(in.ReplicationGroupId),
		ClusterID: aws.ToString(in.CacheClusterId),
		Tags:      readTags(in.Tags),
		KmsKeyID:  aws.ToString(in.KmsKeyId),
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.CreateSnapshotOutput{Snapshot: new(showSnapshot(s, false))}, nil
}

func (h *handlers) copySnapshot(ctx context.Context, in *elasticache.CopySnapshotInput) (*elasticache.CopySnapshotOutput, error) {
	s, err := h.ctl.CopySnapshot(ctx, region(ctx), control.SnapshotCopy{
		Source:   aws.ToString(in.SourceSnapshotName),
		Target:   aws.ToString(in.TargetSnapshotName),
		Bucket:   aws.ToString(in.TargetBucket),
		KmsKeyID: aws.ToString(in.KmsKeyId),
		Tags:     readTags(in.Tags),
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.CopySnapshotOutput{Snapshot: new(showSnapshot(s, false))}, nil
}

func (h *handlers) deleteSnapshot(ctx context.Context, in *elasticache.DeleteSnapshotInput) (*elasticache.DeleteSnapshotOutput, error) {
	s, err := h.ctl.DeleteSnapshot(ctx, region(ctx), aws.ToString(in.SnapshotName))
	if err != nil {
		return nil, err
	}
	return &elasticache.DeleteSnapshotOutput{Snapshot: new(showSnapshot(s, false))}, nil
}

func (h *handlers) describeSnapshots(ctx context.Context, in *elasticache.DescribeSnapshotsInput) (*elasticache.DescribeSnapshotsOutput, error) {
	out := &elasticache.DescribeSnapshotsOutput{}
	filter := control.SnapshotFilter{
		Name:      aws.ToString(in.SnapshotName),
		GroupID:   aws.ToString(in.ReplicationGroupId),
		ClusterID: aws.ToString(in.CacheClusterId),
		Source:    aws.ToString(in.SnapshotSource),
	}
	list, err := h.ctl.DescribeSnapshots(ctx, region(ctx), filter,
		paged(func(s *cache.Snapshot) string { return s.Name }, in.Marker, in.MaxRecords, query.SnapshotLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	out.Snapshots = make([]types.Snapshot, len(list))
	for i := range list {
		out.Snapshots[i] = showSnapshot(&list[i], aws.ToBool(in.ShowNodeGroupConfig))
	}
	return out, nil
}

func showSnapshot(s *cache.Snapshot, shards bool) types.Snapshot {
	out := types.Snapshot{
		ARN:                        aws.String(cache.ARN(s.Region, cache.KindSnapshot, s.Name)),
		SnapshotName:               aws.String(s.Name),
		SnapshotStatus:             aws.String(string(s.Status)),
		SnapshotSource:             aws.String(s.Source),
		CacheNodeType:              aws.String(s.NodeType),
		Engine:                     aws.String(s.Engine),
		EngineVersion:              aws.String(snapshotVersion(s)),
		Port:                       integer(s.Port),
		CacheParameterGroupName:    aws.String(s.ParameterGroup),
		CacheSubnetGroupName:       optional(s.SubnetGroup),
		VpcId:                      optional(s.VpcID),
		TopicArn:                   optional(s.NotificationTopicARN),
		AutoMinorVersionUpgrade:    aws.Bool(s.AutoMinorVersionUpgrade),
		SnapshotRetentionLimit:     integer(s.SnapshotRetention),
		SnapshotWindow:             aws.String(s.SnapshotWindow),
		PreferredMaintenanceWindow: aws.String(s.MaintenanceWindow),
		KmsKeyId:                   optional(s.KmsKeyID),
		AutomaticFailover:          onOff[types.AutomaticFailoverStatus](s.AutomaticFailover),
		DataTiering:                types.DataTieringStatusDisabled,
		NodeSnapshots:              showShards(s, shards),
	}
	if s.ClusterID != "" {
		out.CacheClusterId = aws.String(s.ClusterID)
		out.CacheClusterCreateTime = aws.Time(s.SourceCreatedAt)
		out.PreferredAvailabilityZone = optional(s.Zone)
		out.NumCacheNodes = aws.Int32(1)
		return out
	}
	out.ReplicationGroupId = optional(s.GroupID)
	out.ReplicationGroupDescription = optional(s.GroupDescription)
	out.NumNodeGroups = integer(max(1, len(s.NodeGroups)))
	return out
}

// snapshotVersion is the version of the engine that wrote the file, once there is
// one, else that of the cache.
func snapshotVersion(s *cache.Snapshot) string {
	for _, shard := range s.Shards {
		if m := shard.Manifest; m != nil && m.Version != "" {
			return shownVersion(s.EngineVersion, s.Engine+"-"+m.Version)
		}
	}
	return shownVersion(s.EngineVersion, "")
}

// showShards shows the files of a snapshot, or those that are to come.
func showShards(s *cache.Snapshot, config bool) []types.NodeSnapshot {
	list := s.Shards
	if len(list) == 0 {
		list = shardsToCome(s)
	}
	out := make([]types.NodeSnapshot, len(list))
	for i, shard := range list {
		out[i] = types.NodeSnapshot{
			CacheNodeId:         aws.String(cache.NodeID),
			CacheNodeCreateTime: aws.Time(s.SourceCreatedAt),
			CacheClusterId:      optional(shard.ClusterID),
			NodeGroupId:         optional(shard.NodeGroupID),
			CacheSize:           aws.String(cacheSize(shard.Manifest)),
			SnapshotCreateTime:  optional(shard.TakenAt),
		}
		if config {
			out[i].NodeGroupConfiguration = showShardConfig(s, shard.NodeGroupID)
		}
	}
	return out
}

func shardsToCome(s *cache.Snapshot) []cache.ShardSnapshot {
	if len(s.NodeGroups) == 0 {
		return []cache.ShardSnapshot{{NodeGroupID: cache.NodeGroupID, ClusterID: s.ClusterID}}
	}
	out := make([]cache.ShardSnapshot, len(s.NodeGroups))
	for i := range s.NodeGroups {
		out[i].NodeGroupID = s.NodeGroups[i].ID
	}
	return out
}

// showShardConfig shows a node group as it was when the snapshot was taken.
func showShardConfig(s *cache.Snapshot, id string) *types.NodeGroupConfiguration {
	out := &types.NodeGroupConfiguration{
		NodeGroupId:             aws.String(id),
		Slots:                   aws.String(cache.AllSlots().String()),
		PrimaryAvailabilityZone: optional(s.Zone),
	}
	for _, n := range s.NodeGroups {
		if n.ID == id {
			out.Slots, out.ReplicaCount = aws.String(n.Slots.String()), integer(max(0, len(n.Members)-1))
		}
	}
	return out
}

// cacheSize is the size of a file in whole megabytes, never 0; empty before there is one.
func cacheSize(m *cache.Manifest) string {
	if m == nil {
		return ""
	}
	const mb = 1 << 20
	return fmt.Sprintf("%d MB", max(1, (m.Bytes+mb-1)/mb))
}
