package elasticache

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

func (h *handlers) modifyReplicationGroupShardConfiguration(ctx context.Context, in *elasticache.ModifyReplicationGroupShardConfigurationInput) (*elasticache.ModifyReplicationGroupShardConfigurationOutput, error) {
	req := control.Reshard{
		Immediately: aws.ToBool(in.ApplyImmediately), NodeGroups: int(aws.ToInt32(in.NodeGroupCount)),
		Remove: in.NodeGroupsToRemove, Retain: in.NodeGroupsToRetain,
	}
	for _, z := range in.ReshardingConfiguration {
		req.Zones = append(req.Zones, control.ShardZones{ID: aws.ToString(z.NodeGroupId), Zones: z.PreferredAvailabilityZones})
	}
	g, err := h.ctl.ModifyShards(ctx, region(ctx), aws.ToString(in.ReplicationGroupId), req)
	if err != nil {
		return nil, err
	}
	return &elasticache.ModifyReplicationGroupShardConfigurationOutput{ReplicationGroup: new(showGroup(g))}, nil
}

// showResharding shows how far slots have been moved.
func showResharding(x *cache.Resharding) *types.ReshardingStatus {
	if x == nil {
		return nil
	}
	return &types.ReshardingStatus{SlotMigration: &types.SlotMigration{ProgressPercentage: aws.Float64(x.Percent())}}
}

// shardStatus is that of one node group: of those of a group that is resharded some come
// and others go.
func shardStatus(g *control.Group, s *cache.NodeGroup) cache.Status {
	coming, going := len(s.Members) > 0, len(s.Members) > 0
	for i := range g.Members {
		if k := &g.Members[i]; k.ShardID() == s.ID {
			coming, going = coming && k.Status == cache.StatusCreating, going && k.Status == cache.StatusDeleting
		}
	}
	switch {
	case g.Status == cache.StatusSnapshotting:
		return cache.StatusAvailable // a shard has no word for it
	case g.Status != cache.StatusModifying:
		return g.Status
	case coming:
		return cache.StatusCreating
	case going:
		return cache.StatusDeleting
	}
	return g.Status
}
