package elasticache

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/control"
)

func (h *handlers) increaseReplicaCount(ctx context.Context, in *elasticache.IncreaseReplicaCountInput) (*elasticache.IncreaseReplicaCountOutput, error) {
	shards, err := readReplicas(in.ReplicaConfiguration)
	if err != nil {
		return nil, err
	}
	g, err := h.ctl.IncreaseReplicaCount(ctx, region(ctx), aws.ToString(in.ReplicationGroupId), control.ReplicaCount{
		Immediately: aws.ToBool(in.ApplyImmediately), New: number(in.NewReplicaCount), Shards: shards,
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.IncreaseReplicaCountOutput{ReplicationGroup: new(showGroup(g))}, nil
}

func (h *handlers) decreaseReplicaCount(ctx context.Context, in *elasticache.DecreaseReplicaCountInput) (*elasticache.DecreaseReplicaCountOutput, error) {
	shards, err := readReplicas(in.ReplicaConfiguration)
	if err != nil {
		return nil, err
	}
	g, err := h.ctl.DecreaseReplicaCount(ctx, region(ctx), aws.ToString(in.ReplicationGroupId), control.ReplicaCount{
		Immediately: aws.ToBool(in.ApplyImmediately), New: number(in.NewReplicaCount), Shards: shards, Remove: in.ReplicasToRemove,
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.DecreaseReplicaCountOutput{ReplicationGroup: new(showGroup(g))}, nil
}

func (h *handlers) testFailover(ctx context.Context, in *elasticache.TestFailoverInput) (*elasticache.TestFailoverOutput, error) {
	g, err := h.ctl.TestFailover(ctx, region(ctx), aws.ToString(in.ReplicationGroupId), aws.ToString(in.NodeGroupId))
	if err != nil {
		return nil, err
	}
	return &elasticache.TestFailoverOutput{ReplicationGroup: new(showGroup(g))}, nil
}

// readReplicas takes over what is said of single node groups.
func readReplicas(all []types.ConfigureShard) ([]control.ShardReplicas, error) {
	var out []control.ShardReplicas
	for i := range all {
		s := &all[i]
		if err := refuse(ask{"ReplicaConfiguration.PreferredOutpostArns", len(s.PreferredOutpostArns) > 0}); err != nil {
			return nil, err
		}
		out = append(out, control.ShardReplicas{
			ID: aws.ToString(s.NodeGroupId), New: int(aws.ToInt32(s.NewReplicaCount)), Zones: s.PreferredAvailabilityZones,
		})
	}
	return out, nil
}
