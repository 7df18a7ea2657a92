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

func (h *handlers) describeCacheParameterGroups(ctx context.Context, in *elasticache.DescribeCacheParameterGroupsInput) (*elasticache.DescribeCacheParameterGroupsOutput, error) {
	out := &elasticache.DescribeCacheParameterGroupsOutput{}
	groups, err := h.ctl.DescribeCacheParameterGroups(ctx, region(ctx), aws.ToString(in.CacheParameterGroupName),
		paged(func(g *cache.ParameterGroup) string { return g.Name }, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	for i := range groups {
		out.CacheParameterGroups = append(out.CacheParameterGroups, showParameterGroup(ctx, &groups[i]))
	}
	return out, nil
}

func showParameterGroup(ctx context.Context, g *cache.ParameterGroup) types.CacheParameterGroup {
	return types.CacheParameterGroup{
		ARN:                       aws.String(cache.ARN(region(ctx), cache.KindParameterGroup, g.Name)),
		CacheParameterGroupName:   aws.String(g.Name),
		CacheParameterGroupFamily: aws.String(g.Family),
		Description:               aws.String(g.Description),
		IsGlobal:                  aws.Bool(false),
	}
}

func (h *handlers) createCacheParameterGroup(ctx context.Context, in *elasticache.CreateCacheParameterGroupInput) (*elasticache.CreateCacheParameterGroupOutput, error) {
	g, err := h.ctl.CreateCacheParameterGroup(ctx, region(ctx), control.NewParameterGroup{
		Name:        aws.ToString(in.CacheParameterGroupName),
		Family:      aws.ToString(in.CacheParameterGroupFamily),
		Description: aws.ToString(in.Description),
		Tags:        readTags(in.Tags),
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.CreateCacheParameterGroupOutput{CacheParameterGroup: new(showParameterGroup(ctx, g))}, nil
}

func (h *handlers) modifyCacheParameterGroup(ctx context.Context, in *elasticache.ModifyCacheParameterGroupInput) (*elasticache.ModifyCacheParameterGroupOutput, error) {
	var values []control.NewValue
	for _, v := range in.ParameterNameValues {
		values = append(values, control.NewValue{Name: aws.ToString(v.ParameterName), Value: aws.ToString(v.ParameterValue)})
	}
	name, err := h.ctl.ModifyCacheParameterGroup(ctx, region(ctx), aws.ToString(in.CacheParameterGroupName), values)
	if err != nil {
		return nil, err
	}
	return &elasticache.ModifyCacheParameterGroupOutput{CacheParameterGroupName: aws.String(name)}, nil
}

func (h *handlers) resetCacheParameterGroup(ctx context.Context, in *elasticache.ResetCacheParameterGroupInput) (*elasticache.ResetCacheParameterGroupOutput, error) {
	var names []string
	for _, v := range in.ParameterNameValues {
		names = append(names, aws.ToString(v.ParameterName))
	}
	name, err := h.ctl.ResetCacheParameterGroup(ctx, region(ctx), aws.ToString(in.CacheParameterGroupName), aws.ToBool(in.ResetAllParameters), names)
	if err != nil {
		return nil, err
	}
	return &elasticache.ResetCacheParameterGroupOutput{CacheParameterGroupName: aws.String(name)}, nil
}

func (h *handlers) deleteCacheParameterGroup(ctx context.Context, in *elasticache.DeleteCacheParameterGroupInput) (*elasticache.DeleteCacheParameterGroupOutput, error) {
	if err := h.ctl.DeleteCacheParameterGroup(ctx, region(ctx), aws.ToString(in.CacheParameterGroupName)); err != nil {
		return nil, err
	}
	return &elasticache.DeleteCacheParameterGroupOutput{}, nil
}

func (h *handlers) rebootCacheCluster(ctx context.Context, in *elasticache.RebootCacheClusterInput) (*elasticache.RebootCacheClusterOutput, error) {
	k, err := h.ctl.RebootCacheCluster(ctx, region(ctx), aws.ToString(in.CacheClusterId), in.CacheNodeIdsToReboot)
	if err != nil {
		return nil, err
	}
	return &elasticache.RebootCacheClusterOutput{CacheCluster: new(showCluster(k, false))}, nil
}

func parameterName(p *cache.Parameter) string { return p.Name }

func (h *handlers) describeCacheParameters(ctx context.Context, in *elasticache.DescribeCacheParametersInput) (*elasticache.DescribeCacheParametersOutput, error) {
	out := &elasticache.DescribeCacheParametersOutput{}
	list, err := h.ctl.DescribeCacheParameters(ctx, region(ctx), aws.ToString(in.CacheParameterGroupName), aws.ToString(in.Source),
		paged(parameterName, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	out.Parameters, out.CacheNodeTypeSpecificParameters = showParameters(list)
	return out, nil
}

func (h *handlers) describeEngineDefaultParameters(_ context.Context, in *elasticache.DescribeEngineDefaultParametersInput) (*elasticache.DescribeEngineDefaultParametersOutput, error) {
	d := &types.EngineDefaults{CacheParameterGroupFamily: in.CacheParameterGroupFamily}
	list, err := h.ctl.DescribeEngineDefaultParameters(aws.ToString(in.CacheParameterGroupFamily),
		paged(parameterName, in.Marker, in.MaxRecords, query.DescribeLimits, &d.Marker))
	if err != nil {
		return nil, err
	}
	d.Parameters, d.CacheNodeTypeSpecificParameters = showParameters(list)
	return &elasticache.DescribeEngineDefaultParametersOutput{EngineDefaults: d}, nil
}

// showParameters shows those with one value and those with one for each node type.
func showParameters(list []cache.Parameter) (one []types.Parameter, many []types.CacheNodeTypeSpecificParameter) {
	for i := range list {
		p := &list[i]
		if p.ByNodeType {
			many = append(many, showByNodeType(p))
			continue
		}
		one = append(one, types.Parameter{
			ParameterName:        aws.String(p.Name),
			ParameterValue:       aws.String(p.Value),
			Description:          aws.String(p.Description),
			Source:               aws.String(p.Source),
			DataType:             aws.String(p.Type),
			AllowedValues:        aws.String(p.Allowed),
			IsModifiable:         aws.Bool(p.Modifiable),
			MinimumEngineVersion: aws.String(p.MinVersion),
			ChangeType:           types.ChangeType(p.Change),
		})
	}
	return one, many
}

func showByNodeType(p *cache.Parameter) types.CacheNodeTypeSpecificParameter {
	out := types.CacheNodeTypeSpecificParameter{
		ParameterName:        aws.String(p.Name),
		Description:          aws.String(p.Description),
		Source:               aws.String(p.Source),
		DataType:             aws.String(p.Type),
		AllowedValues:        aws.String(p.Allowed),
		IsModifiable:         aws.Bool(p.Modifiable),
		MinimumEngineVersion: aws.String(p.MinVersion),
		ChangeType:           types.ChangeType(p.Change),
	}
	for _, t := range cache.NodeTypes() {
		if v := cache.NodeTypeValue(p.Name, t); v != "" {
			out.CacheNodeTypeSpecificValues = append(out.CacheNodeTypeSpecificValues,
				types.CacheNodeTypeSpecificValue{CacheNodeType: aws.String(t.Name), Value: aws.String(v)})
		}
	}
	return out
}
