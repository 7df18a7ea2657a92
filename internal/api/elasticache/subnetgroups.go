package elasticache

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

func (h *handlers) createCacheSubnetGroup(ctx context.Context, in *elasticache.CreateCacheSubnetGroupInput) (*elasticache.CreateCacheSubnetGroupOutput, error) {
	g, err := h.ctl.CreateCacheSubnetGroup(ctx, region(ctx), control.NewSubnetGroup{
		Name:        aws.ToString(in.CacheSubnetGroupName),
		Description: aws.ToString(in.CacheSubnetGroupDescription),
		Subnets:     in.SubnetIds,
		Tags:        readTags(in.Tags),
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.CreateCacheSubnetGroupOutput{CacheSubnetGroup: new(showSubnetGroup(g))}, nil
}

func (h *handlers) modifyCacheSubnetGroup(ctx context.Context, in *elasticache.ModifyCacheSubnetGroupInput) (*elasticache.ModifyCacheSubnetGroupOutput, error) {
	g, err := h.ctl.ModifyCacheSubnetGroup(ctx, region(ctx), control.SubnetGroupChange{
		Name:        aws.ToString(in.CacheSubnetGroupName),
		Description: in.CacheSubnetGroupDescription,
		Subnets:     in.SubnetIds,
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.ModifyCacheSubnetGroupOutput{CacheSubnetGroup: new(showSubnetGroup(g))}, nil
}

func (h *handlers) deleteCacheSubnetGroup(ctx context.Context, in *elasticache.DeleteCacheSubnetGroupInput) (*elasticache.DeleteCacheSubnetGroupOutput, error) {
	if err := h.ctl.DeleteCacheSubnetGroup(ctx, region(ctx), aws.ToString(in.CacheSubnetGroupName)); err != nil {
		return nil, err
	}
	return &elasticache.DeleteCacheSubnetGroupOutput{}, nil
}

func (h *handlers) describeCacheSubnetGroups(ctx context.Context, in *elasticache.DescribeCacheSubnetGroupsInput) (*elasticache.DescribeCacheSubnetGroupsOutput, error) {
	out := &elasticache.DescribeCacheSubnetGroupsOutput{}
	groups, err := h.ctl.DescribeCacheSubnetGroups(ctx, region(ctx), aws.ToString(in.CacheSubnetGroupName),
		paged(func(g *cache.SubnetGroup) string { return g.Name }, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	out.CacheSubnetGroups = make([]types.CacheSubnetGroup, len(groups))
	for i := range groups {
		out.CacheSubnetGroups[i] = showSubnetGroup(&groups[i])
	}
	return out, nil
}

func showSubnetGroup(g *cache.SubnetGroup) types.CacheSubnetGroup {
	ipv4 := []types.NetworkType{types.NetworkTypeIpv4}
	out := types.CacheSubnetGroup{
		ARN:                         aws.String(cache.ARN(g.Region, cache.KindSubnetGroup, g.Name)),
		CacheSubnetGroupName:        aws.String(g.Name),
		CacheSubnetGroupDescription: aws.String(g.Description),
		VpcId:                       aws.String(g.VpcID),
		SupportedNetworkTypes:       ipv4,
	}
	for _, s := range g.Subnets {
		out.Subnets = append(out.Subnets, types.Subnet{
			SubnetIdentifier:       aws.String(s.ID),
			SubnetAvailabilityZone: &types.AvailabilityZone{Name: aws.String(s.Zone)},
			SupportedNetworkTypes:  ipv4,
		})
	}
	return out
}
