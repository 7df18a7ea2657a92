package control

import (
	"context"
	"errors"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// TagsOf returns the tags that a resource has, whatever its state, so that conditions
// can be held against them; none for one that is not there.
func (c *Control) TagsOf(ctx context.Context, arn string) ([]cache.Tag, error) {
	parts := strings.SplitN(arn, ":", 7)
	if len(parts) != 7 {
		return nil, nil
	}
	region, kind, name := parts[3], parts[5], parts[6]
	var out []cache.Tag
	err := c.DB.View(ctx, func(tx *store.Tx) (err error) {
		out, err = tagsOf(tx, region, kind, name, arn)
		return err
	})
	return out, err
}

func tagsOf(tx *store.Tx, region, kind, name, arn string) ([]cache.Tag, error) {
	key := cache.Key(region, name)
	switch kind {
	case cache.KindGroup:
		g, _, err := records.Groups.Get(tx, key)
		return g.Tags, err
	case cache.KindCluster:
		k, _, err := records.Clusters.Get(tx, key)
		return k.Tags, err
	case cache.KindSnapshot:
		s, _, err := records.Snapshots.Get(tx, key)
		return s.Tags, err
	case cache.KindSubnetGroup:
		g, _, err := records.SubnetGroups.Get(tx, key)
		return g.Tags, err
	case cache.KindParameterGroup:
		g, _, err := records.FindParameterGroup(tx, region, name)
		return g.Tags, err
	}
	r, err := findTagged(tx, region, arn)
	var fault *cache.Fault
	switch {
	case errors.As(err, &fault):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return r.tags, nil
}

// DefaultParameterGroup names the group that a creation gets when it names none; "" when
// the version cannot be served.
func (c *Control) DefaultParameterGroup(engine, version string) string {
	choice, err := c.Catalogue.Resolve(strings.ToLower(engine), version)
	if err != nil {
		return ""
	}
	return cache.DefaultParameterGroup(choice.Family)
}
