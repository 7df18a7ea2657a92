package control

import (
	"holdfast.dev/internal/cache"
)

// DescribeCacheParameterGroups returns the group of that name, or the page of all.
func (c *Control) DescribeCacheParameterGroups(name string, page Page[cache.ParameterGroup]) ([]cache.ParameterGroup, error) {
	if name != "" {
		g, err := findParameterGroup(name)
		return []cache.ParameterGroup{g}, err
	}
	return page.of(cache.ParameterGroups())
}

func findParameterGroup(name string) (cache.ParameterGroup, error) {
	g, ok := cache.FindParameterGroup(lower(name))
	if !ok {
		return g, cache.Faultf(codeParameterGroupNotFound, "CacheParameterGroup %s not found.", name)
	}
	return g, nil
}

// DescribeCacheParameters returns the page of a group's parameters from one
// source: "system" for those of default groups, "user" for values that somebody
// has set, of which a default group has none, or "" for all.
func (c *Control) DescribeCacheParameters(group, source string, page Page[cache.Parameter]) ([]cache.Parameter, error) {
	g, err := findParameterGroup(group)
	if err != nil {
		return nil, err
	}
	all := cache.Parameters(g.Family, g.ClusterMode)
	switch source {
	case "", cache.SourceSystem:
	case cache.SourceUser, "engine-default":
		all = nil
	default:
		return nil, invalid("The parameter Source must be user, system or engine-default. Provided value: %s", source)
	}
	return page.of(all)
}

// DescribeEngineDefaultParameters returns the page of a family's parameters.
func (c *Control) DescribeEngineDefaultParameters(family string, page Page[cache.Parameter]) ([]cache.Parameter, error) {
	f, ok := cache.FindFamily(lower(family))
	if !ok {
		return nil, invalid("CacheParameterGroupFamily %s is not a valid parameter group family.", family)
	}
	return page.of(cache.Parameters(f.Name, false))
}
