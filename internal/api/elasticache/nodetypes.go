package elasticache

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
)

func (h *handlers) listAllowedNodeTypeModifications(ctx context.Context, in *elasticache.ListAllowedNodeTypeModificationsInput) (*elasticache.ListAllowedNodeTypeModificationsOutput, error) {
	all, err := h.ctl.ListAllowedNodeTypeModifications(ctx, region(ctx), aws.ToString(in.CacheClusterId), aws.ToString(in.ReplicationGroupId))
	if err != nil {
		return nil, err
	}
	return &elasticache.ListAllowedNodeTypeModificationsOutput{ScaleUpModifications: all.Up, ScaleDownModifications: all.Down}, nil
}

// showKind puts what is pending of engine version and node type into what is shown.
func showKind(p *cache.Pending, out *types.PendingModifiedValues) {
	if p == nil {
		return
	}
	out.EngineVersion, out.CacheNodeType = optional(p.EngineVersion), optional(p.NodeType)
}
