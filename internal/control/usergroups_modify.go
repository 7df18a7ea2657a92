package control

import (
	"context"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// UserGroupChange is what ModifyUserGroup asks for.
type UserGroupChange struct {
	ID, Engine  string
	Add, Remove []string
}

// ModifyUserGroup changes who is in a user group. The nodes of the caches that use it are
// told; the connections of users who have left end.
func (c *Control) ModifyUserGroup(ctx context.Context, region string, in UserGroupChange) (*UserGroup, error) {
	if len(in.Add) == 0 && len(in.Remove) == 0 && in.Engine == "" {
		return nil, conflict("No modifications were requested.")
	}
	var out UserGroup
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := getUserGroup(tx, region, in.ID)
		if err != nil {
			return err
		}
		if err := in.apply(&g); err != nil {
			return err
		}
		if err := checkUserGroup(tx, &g); err != nil {
			return err
		}
		if err := noteChange(tx, &g, lowered(in.Add), lowered(in.Remove)); err != nil {
			return err
		}
		if err := records.UserGroups.Put(tx, g.Key(), g); err != nil {
			return err
		}
		if err := spread(tx, region, []cache.UserGroup{g}); err != nil {
			return err
		}
		if out, err = shownUserGroup(tx, &g); err != nil {
			return err
		}
		return c.tell(tx, region, cache.EventUserGroup, g.ID, "User group "+g.ID+" modified")
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func (in *UserGroupChange) apply(g *cache.UserGroup) error {
	var err error
	if in.Engine != "" {
		if g.Engine, err = userEngine(in.Engine); err != nil {
			return err
		}
	}
	left := slices.Clone(g.UserIDs)
	for _, id := range lowered(in.Remove) {
		i := slices.Index(left, id)
		switch {
		case i < 0:
			return conflict("User %s is not a member of the user group %s.", id, g.ID)
		case slices.Contains(lowered(in.Add), id):
			return conflict("User %s cannot be added and removed at the same time.", id)
		}
		left = slices.Delete(left, i, i+1)
	}
	g.UserIDs, err = joined(left, "UserIdsToAdd", in.Add)
	return err
}

func lowered(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = lower(id)
	}
	return out
}

// noteChange remembers what is changed of a user group for as long as nodes have to be
// told of it.
func noteChange(tx *store.Tx, g *cache.UserGroup, added, removed []string) error {
	g.Change = nil
	caches, err := cachesOf(tx, g.Region, g.ID)
	if err != nil || len(caches) == 0 {
		return err
	}
	g.Change = &cache.UserGroupChange{Added: added, Removed: removed}
	for i := range caches {
		g.Change.GroupIDs = append(g.Change.GroupIDs, caches[i].ID)
	}
	return nil
}

// DeleteUserGroup removes a user group that no cache uses. Its users stay.
func (c *Control) DeleteUserGroup(ctx context.Context, region, id string) (*UserGroup, error) {
	var out UserGroup
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := getUserGroup(tx, region, id)
		if err != nil {
			return err
		}
		if out, err = shownUserGroup(tx, &g); err != nil {
			return err
		}
		if len(out.CacheIDs) > 0 {
			return cache.Faultf(codeUserGroupState, "User group %s is associated with the replication group %s and cannot be deleted.", g.ID, out.CacheIDs[0])
		}
		out.Status = cache.StatusDeleting
		if err := records.UserGroups.Delete(tx, g.Key()); err != nil {
			return err
		}
		return c.tell(tx, region, cache.EventUserGroup, g.ID, "User group "+g.ID+" deleted")
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}
