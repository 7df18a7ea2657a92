package control

import (
	"context"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// AddTagsToResource puts tags on the resource of an ARN and returns all it has.
func (c *Control) AddTagsToResource(ctx context.Context, region, arn string, tags []cache.Tag) ([]cache.Tag, error) {
	if err := checkTags(tags); err != nil {
		return nil, err
	}
	return c.retag(ctx, region, arn, func(old []cache.Tag) ([]cache.Tag, error) {
		out := mergeTags(old, tags)
		return out, checkTagCount(out)
	})
}

// RemoveTagsFromResource takes tags off the resource of an ARN and returns those
// that are left. A key that the resource does not have is a fault.
func (c *Control) RemoveTagsFromResource(ctx context.Context, region, arn string, keys []string) ([]cache.Tag, error) {
	return c.retag(ctx, region, arn, func(old []cache.Tag) ([]cache.Tag, error) {
		for _, k := range keys {
			if !slices.ContainsFunc(old, func(t cache.Tag) bool { return t.Key == k }) {
				return nil, cache.Faultf(codeTagNotFound, "The tag %s is not found on %s.", k, arn)
			}
		}
		return slices.DeleteFunc(slices.Clone(old), func(t cache.Tag) bool { return slices.Contains(keys, t.Key) }), nil
	})
}

// ListTagsForResource returns the tags of the resource of an ARN.
func (c *Control) ListTagsForResource(ctx context.Context, region, arn string) ([]cache.Tag, error) {
	var out []cache.Tag
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		r, err := findTagged(tx, region, arn)
		if err == nil {
			out = r.tags
		}
		return err
	})
	return out, err
}

func (c *Control) retag(ctx context.Context, region, arn string, change func([]cache.Tag) ([]cache.Tag, error)) ([]cache.Tag, error) {
	var out []cache.Tag
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		r, err := findTagged(tx, region, arn)
		if err != nil {
			return err
		}
		if out, err = change(r.tags); err != nil {
			return err
		}
		return r.put(out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// tagged is a resource seen as something that has tags.
type tagged struct {
	tags []cache.Tag
	put  func([]cache.Tag) error
}

// findTagged finds the resource of an ARN. Caches must be available, which is what
// their clients wait for and retry on, or be so while they are backed up.
func findTagged(tx *store.Tx, region, arn string) (*tagged, error) {
	parts := strings.SplitN(arn, ":", 7)
	if len(parts) != 7 || parts[0] != "arn" || !strings.HasPrefix(parts[1], "aws") || parts[2] != "elasticache" || parts[6] == "" {
		return nil, cache.Faultf(codeInvalidARN, "%s is not a valid ARN of ElastiCache.", arn)
	}
	kind, name := parts[5], lower(parts[6])
	if parts[3] != region || parts[4] != cache.Account {
		return nil, cache.Faultf(codeInvalidARN, "The ARN %s is not of this account and region (%s, %s).", arn, cache.Account, region)
	}
	switch kind {
	case cache.KindGroup:
		return taggedGroup(tx, region, name)
	case cache.KindCluster:
		return taggedCluster(tx, region, name)
	case cache.KindSnapshot:
		return taggedSnapshot(tx, region, name)
	case cache.KindSubnetGroup:
		return taggedSubnetGroup(tx, region, name)
	case cache.KindParameterGroup:
		return taggedParameterGroup(tx, region, name)
	case cache.KindUser:
		return taggedUser(tx, region, name)
	case cache.KindUserGroup:
		return taggedUserGroup(tx, region, name)
	}
	return nil, cache.Faultf(codeInvalidARN, "Resources of the kind %s are not supported by this endpoint yet: %s", kind, arn)
}

func taggedGroup(tx *store.Tx, region, id string) (*tagged, error) {
	g, err := getGroup(tx, region, id)
	if err != nil {
		return nil, err
	}
	if !modifiable(g.Status) {
		return nil, cache.Faultf(codeGroupState, "Cluster not in available state to perform tagging operations.")
	}
	return &tagged{g.Tags, func(tags []cache.Tag) error {
		// What the group gets its members get, what it loses they lose; tags of
		// their own they keep.
		for _, id := range g.Members {
			k, err := getCluster(tx, region, id)
			if err != nil {
				return err
			}
			own := keepIf(slices.Clone(k.Tags), func(t *cache.Tag) bool { return !hasTag(g.Tags, t.Key) })
			k.Tags = mergeTags(own, tags)
			if err := records.Clusters.Put(tx, k.Key(), k); err != nil {
				return err
			}
		}
		g.Tags = tags
		return records.Groups.Put(tx, g.Key(), g)
	}}, nil
}

func hasTag(tags []cache.Tag, key string) bool {
	return slices.ContainsFunc(tags, func(t cache.Tag) bool { return t.Key == key })
}

func taggedCluster(tx *store.Tx, region, id string) (*tagged, error) {
	k, err := getCluster(tx, region, id)
	if err != nil {
		return nil, err
	}
	if !modifiable(k.Status) {
		return nil, cache.Faultf(codeClusterNotFound, "%s is either not present or not available.", k.ID)
	}
	return &tagged{k.Tags, func(tags []cache.Tag) error {
		k.Tags = tags
		return records.Clusters.Put(tx, k.Key(), k)
	}}, nil
}

func taggedSnapshot(tx *store.Tx, region, name string) (*tagged, error) {
	s, err := getSnapshot(tx, region, name)
	return &tagged{s.Tags, func(tags []cache.Tag) error {
		s.Tags = tags
		return records.Snapshots.Put(tx, s.Key(), s)
	}}, err
}

func taggedSubnetGroup(tx *store.Tx, region, name string) (*tagged, error) {
	g, err := getSubnetGroup(tx, region, name)
	return &tagged{g.Tags, func(tags []cache.Tag) error {
		g.Tags = tags
		return records.SubnetGroups.Put(tx, g.Key(), g)
	}}, err
}

func taggedParameterGroup(tx *store.Tx, region, name string) (*tagged, error) {
	g, err := findParameterGroup(tx, region, name)
	return &tagged{g.Tags, func(tags []cache.Tag) error {
		if g.Default() {
			return invalid("Default parameter groups cannot be tagged: %s", g.Name)
		}
		g.Tags = tags
		return records.ParameterGroups.Put(tx, g.Key(), g)
	}}, err
}

func taggedUser(tx *store.Tx, region, id string) (*tagged, error) {
	seen, err := lookAtUsage(tx, region)
	if err != nil {
		return nil, err
	}
	u, err := getUser(tx, region, id, seen)
	return &tagged{u.Tags, func(tags []cache.Tag) error {
		if u.ID == cache.BuiltInUser {
			return invalid("The user %s cannot be tagged.", u.ID)
		}
		u.Tags = tags
		return records.Users.Put(tx, u.Key(), u)
	}}, err
}

func taggedUserGroup(tx *store.Tx, region, id string) (*tagged, error) {
	g, err := getUserGroup(tx, region, id)
	return &tagged{g.Tags, func(tags []cache.Tag) error {
		g.Tags = tags
		return records.UserGroups.Put(tx, g.Key(), g)
	}}, err
}
