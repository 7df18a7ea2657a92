package control

import (
	"context"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// ElastiCache's bounds.
const (
	maxParameterGroups    = 300
	maxParameterGroupName = 255
)

// NewParameterGroup is what CreateCacheParameterGroup asks for.
type NewParameterGroup struct {
	Name, Family, Description string
	Tags                      []cache.Tag
}

// CreateCacheParameterGroup makes a copy of a family's default group.
func (c *Control) CreateCacheParameterGroup(ctx context.Context, region string, in NewParameterGroup) (*cache.ParameterGroup, error) {
	if err := checkID("CacheParameterGroupName", in.Name, maxParameterGroupName); err != nil {
		return nil, err
	}
	family, err := findFamily(in.Family)
	if err != nil {
		return nil, err
	}
	if in.Description == "" {
		return nil, missing("Description")
	}
	if err := checkDescription("Description", in.Description); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	g := cache.ParameterGroup{Region: region, Name: lower(in.Name), Family: family, Description: in.Description, Tags: in.Tags}
	err = c.DB.Update(ctx, func(tx *store.Tx) error {
		_, taken, err := records.FindParameterGroup(tx, region, g.Name)
		if err != nil {
			return err
		}
		if taken {
			return cache.Faultf(codeParameterGroupExists, "A cache parameter group with the name %s already exists.", g.Name)
		}
		n, err := records.ParameterGroups.Count(tx, records.InRegion(region))
		if err != nil {
			return err
		}
		if n >= maxParameterGroups {
			return cache.Faultf(codeParameterGroupQuota, "You have reached your quota of %d cache parameter groups in this region.", maxParameterGroups)
		}
		return records.ParameterGroups.Put(tx, g.Key(), g)
	})
	if err != nil {
		return nil, err
	}
	return &g, nil
}

func findFamily(name string) (string, error) {
	if name == "" {
		return "", missing("CacheParameterGroupFamily")
	}
	f, ok := cache.FindFamily(lower(name))
	if !ok {
		return "", invalid("CacheParameterGroupFamily %s is not a valid parameter group family.", name)
	}
	return f.Name, nil
}

// DeleteCacheParameterGroup removes a group that no cache uses.
func (c *Control) DeleteCacheParameterGroup(ctx context.Context, region, name string) error {
	return c.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := ownParameterGroup(tx, region, name, "deleted")
		if err != nil {
			return err
		}
		users, err := parameterGroupUsers(tx, &g)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return cache.Faultf(codeParameterGroupState,
				"One or more cache clusters are still members of this parameter group %s, so the group cannot be deleted: %s", g.Name, users[0].name())
		}
		return records.ParameterGroups.Delete(tx, g.Key())
	})
}

// findParameterGroup finds a group, a default one too.
func findParameterGroup(tx *store.Tx, region, name string) (cache.ParameterGroup, error) {
	if name == "" {
		return cache.ParameterGroup{}, missing("CacheParameterGroupName")
	}
	g, ok, err := records.FindParameterGroup(tx, region, lower(name))
	if err == nil && !ok {
		err = cache.Faultf(codeParameterGroupNotFound, "CacheParameterGroup %s not found.", name)
	}
	return g, err
}

// ownParameterGroup finds a group that can be changed.
func ownParameterGroup(tx *store.Tx, region, name, what string) (cache.ParameterGroup, error) {
	g, err := findParameterGroup(tx, region, name)
	if err == nil && g.Default() {
		err = cache.Faultf(codeParameterGroupState, "The default cache parameter group %s cannot be %s.", g.Name, what)
	}
	return g, err
}

// DescribeCacheParameterGroups returns the group of that name, or the page of all,
// those of the owner's own among the default ones.
func (c *Control) DescribeCacheParameterGroups(ctx context.Context, region, name string, page Page[cache.ParameterGroup]) ([]cache.ParameterGroup, error) {
	var out []cache.ParameterGroup
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		if name != "" {
			g, err := findParameterGroup(tx, region, name)
			out = []cache.ParameterGroup{g}
			return err
		}
		own, err := records.ParameterGroups.List(tx, records.InRegion(region))
		if err != nil {
			return err
		}
		all := append(cache.ParameterGroups(), own...)
		slices.SortFunc(all, func(a, b cache.ParameterGroup) int { return strings.Compare(a.Name, b.Name) })
		out, err = page.of(all)
		return err
	})
	return out, err
}

// DescribeCacheParameters returns the page of a group's parameters from one
// source: "user" for values that somebody has set, "system" for those that are the
// family's, or "" for all. There is none that only the engine has chosen.
func (c *Control) DescribeCacheParameters(ctx context.Context, region, group, source string, page Page[cache.Parameter]) ([]cache.Parameter, error) {
	var out []cache.Parameter
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		g, err := findParameterGroup(tx, region, group)
		if err != nil {
			return err
		}
		all := g.Parameters()
		switch source {
		case "":
		case cache.SourceSystem, cache.SourceUser, "engine-default":
			all = keepIf(all, func(p *cache.Parameter) bool { return p.Source == source })
		default:
			return invalid("The parameter Source must be user, system or engine-default. Provided value: %s", source)
		}
		out, err = page.of(all)
		return err
	})
	return out, err
}

// DescribeEngineDefaultParameters returns the page of a family's parameters.
func (c *Control) DescribeEngineDefaultParameters(family string, page Page[cache.Parameter]) ([]cache.Parameter, error) {
	name, err := findFamily(family)
	if err != nil {
		return nil, err
	}
	return page.of(cache.Parameters(name, false))
}
