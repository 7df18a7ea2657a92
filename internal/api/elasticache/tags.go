package elasticache

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
)

func (h *handlers) addTagsToResource(ctx context.Context, in *elasticache.AddTagsToResourceInput) (*elasticache.AddTagsToResourceOutput, error) {
	tags, err := h.ctl.AddTagsToResource(ctx, region(ctx), aws.ToString(in.ResourceName), readTags(in.Tags))
	if err != nil {
		return nil, err
	}
	return &elasticache.AddTagsToResourceOutput{TagList: showTags(tags)}, nil
}

func (h *handlers) removeTagsFromResource(ctx context.Context, in *elasticache.RemoveTagsFromResourceInput) (*elasticache.RemoveTagsFromResourceOutput, error) {
	tags, err := h.ctl.RemoveTagsFromResource(ctx, region(ctx), aws.ToString(in.ResourceName), in.TagKeys)
	if err != nil {
		return nil, err
	}
	return &elasticache.RemoveTagsFromResourceOutput{TagList: showTags(tags)}, nil
}

func (h *handlers) listTagsForResource(ctx context.Context, in *elasticache.ListTagsForResourceInput) (*elasticache.ListTagsForResourceOutput, error) {
	tags, err := h.ctl.ListTagsForResource(ctx, region(ctx), aws.ToString(in.ResourceName))
	if err != nil {
		return nil, err
	}
	return &elasticache.ListTagsForResourceOutput{TagList: showTags(tags)}, nil
}
