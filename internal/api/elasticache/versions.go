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

// engineNames are what engines are called in descriptions.
var engineNames = map[string]string{cache.Redis: "Redis", cache.Valkey: "Valkey", cache.Memcached: "memcached"}

func (h *handlers) describeCacheEngineVersions(_ context.Context, in *elasticache.DescribeCacheEngineVersionsInput) (*elasticache.DescribeCacheEngineVersionsOutput, error) {
	out := &elasticache.DescribeCacheEngineVersionsOutput{}
	filter := control.VersionFilter{
		Engine:      aws.ToString(in.Engine),
		Version:     aws.ToString(in.EngineVersion),
		Family:      aws.ToString(in.CacheParameterGroupFamily),
		DefaultOnly: aws.ToBool(in.DefaultOnly),
	}
	list, err := h.ctl.DescribeCacheEngineVersions(filter,
		paged(func(v *control.Version) string { return control.VersionOrder(*v) }, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		about := v.Description
		if about == "" {
			about = v.Engine + " version " + v.FullVersion
		}
		out.CacheEngineVersions = append(out.CacheEngineVersions, types.CacheEngineVersion{
			Engine:                        aws.String(v.Engine),
			EngineVersion:                 aws.String(v.Asked),
			CacheParameterGroupFamily:     aws.String(v.Family),
			CacheEngineDescription:        aws.String(engineNames[v.Engine]),
			CacheEngineVersionDescription: aws.String(about),
		})
	}
	return out, nil
}
