package control

import (
	"context"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// NewUserGroup is what CreateUserGroup asks for.
type NewUserGroup struct {
	ID, Engine string
	UserIDs    []string
	Tags       []cache.Tag
}

// UserGroup is a user group as it is shown.
type UserGroup struct {
	cache.UserGroup
	Status cache.Status
	// CacheIDs are the replication groups that use it. Change is shown until their nodes know of it.
	CacheIDs []string
	// MinVersion is the oldest engine version that understands all of its users.
	MinVersion string
}

// CreateUserGroup makes a set of users.
func (c *Control) CreateUserGroup(ctx context.Context, region string, in NewUserGroup) (*UserGroup, error) {
	if err := checkUserID("UserGroupId", in.ID); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	engine, err := userEngine(in.Engine)
	if err != nil {
		return nil, err
	}
	g := cache.UserGroup{Region: region, ID: lower(in.ID), Engine: engine, Tags: in.Tags, CreatedAt: c.Now()}
	if g.UserIDs, err = joined(nil, "UserIds", in.UserIDs); err != nil {
		return nil, err
	}
	var out UserGroup
	err = c.DB.Update(ctx, func(tx *store.Tx) error {
		if err := checkUserGroupRoom(tx, region, g.ID); err != nil {
			return err
		}
		if err := checkUserGroup(tx, &g); err != nil {
			return err
		}
		if err := records.UserGroups.Put(tx, g.Key(), g); err != nil {
			return err
		}
		if out, err = shownUserGroup(tx, &g); err != nil {
			return err
		}
		return c.tell(tx, region, cache.EventUserGroup, g.ID, "User group "+g.ID+" created")
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func checkUserGroupRoom(tx *store.Tx, region, id string) error {
	_, taken, err := records.UserGroups.Get(tx, cache.Key(region, id))
	if err != nil {
		return err
	}
	if taken {
		return cache.Faultf(codeUserGroupExists, "User group %s already exists.", id)
	}
	n, err := records.UserGroups.Count(tx, records.InRegion(region))
	if err == nil && n >= maxUserGroups {
		err = cache.Faultf(codeUserGroupQuota, "You have reached your quota of %d user groups in this region.", maxUserGroups)
	}
	return err
}

// joined adds ids to those that are there, in order.
func joined(there []string, parameter string, ids []string) ([]string, error) {
	out := slices.Clone(there)
	for _, id := range ids {
		if id == "" {
			return nil, missing(parameter)
		}
		if slices.Contains(out, lower(id)) {
			if slices.Contains(there, lower(id)) {
				return nil, conflict("User %s is already a member of the user group.", lower(id))
			}
			return nil, conflict("User %s is given more than once in %s.", lower(id), parameter)
		}
		out = append(out, lower(id))
	}
	slices.Sort(out)
	return out, nil
}

// usersOf are the users of a user group.
func usersOf(tx *store.Tx, g *cache.UserGroup) ([]cache.User, error) {
	out := make([]cache.User, 0, len(g.UserIDs))
	for _, id := range g.UserIDs {
		u, ok, err := records.FindUser(tx, g.Region, id)
		switch {
		case err != nil:
			return nil, err
		case !ok || u.Deletion != nil:
			return nil, cache.Faultf(codeUserNotFound, "User %s not found.", id)
		}
		out = append(out, u)
	}
	return out, nil
}

// checkUserGroup holds the users of a group against each other and against its engine.
func checkUserGroup(tx *store.Tx, g *cache.UserGroup) error {
	if len(g.UserIDs) > maxUsersPerGroup {
		return cache.Faultf(codeUserGroupQuota, "A user group can have at most %d users.", maxUsersPerGroup)
	}
	users, err := usersOf(tx, g)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for i := range users {
		u := &users[i]
		if err := fitsGroup(u, g); err != nil {
			return err
		}
		if other, taken := names[u.Name]; taken {
			return cache.Faultf(codeDuplicateUserName, "The users %s and %s of the user group %s have the same user name %s.", other, u.ID, g.ID, u.Name)
		}
		names[u.Name] = u.ID
	}
	if _, ok := names[cache.BuiltInUser]; !ok && g.Engine == cache.Redis {
		return cache.Faultf(codeDefaultUserRequired, "The user group %s needs to contain a user with the user name default.", g.ID)
	}
	return nil
}

func fitsGroup(u *cache.User, g *cache.UserGroup) error {
	switch {
	case g.Engine == cache.Redis && u.Engine != cache.Redis:
		return conflict("User %s is of the engine %s and cannot be in the user group %s of the engine redis.", u.ID, u.Engine, g.ID)
	case g.Engine == cache.Valkey && u.Auth == cache.AuthNoPassword:
		return conflict("User %s needs no password and cannot be in the user group %s of the engine valkey.", u.ID, g.ID)
	}
	return nil
}

// DescribeUserGroups returns the user group of that id, or the page of all.
func (c *Control) DescribeUserGroups(ctx context.Context, region, id string, page Page[cache.UserGroup]) ([]UserGroup, error) {
	var out []UserGroup
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		seen, err := lookAtUsage(tx, region)
		if err != nil {
			return err
		}
		all := seen.groups
		if id != "" {
			g, err := getUserGroup(tx, region, id)
			if err != nil {
				return err
			}
			all = []cache.UserGroup{g}
		} else if all, err = page.of(all); err != nil {
			return err
		}
		out = make([]UserGroup, len(all))
		for i := range all {
			if out[i], err = seen.userGroup(tx, &all[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

func getUserGroup(tx *store.Tx, region, id string) (cache.UserGroup, error) {
	if id == "" {
		return cache.UserGroup{}, missing("UserGroupId")
	}
	g, ok, err := records.UserGroups.Get(tx, cache.Key(region, lower(id)))
	if err == nil && !ok {
		err = cache.Faultf(codeUserGroupNotFound, "User group %s not found.", id)
	}
	return g, err
}

// userGroup shows a user group.
func (s *usage) userGroup(tx *store.Tx, g *cache.UserGroup) (UserGroup, error) {
	out := UserGroup{UserGroup: *g, Status: s.status(g), CacheIDs: s.caches[g.ID], MinVersion: firstWithUsers(g.Engine)}
	if c := g.Change; c != nil && !slices.ContainsFunc(c.GroupIDs, func(id string) bool { return s.waiting[id] }) {
		out.Change = nil
	}
	users, err := usersOf(tx, g)
	for i := range users {
		out.MinVersion = newest(out.MinVersion, users[i].MinVersion)
	}
	return out, err
}

func shownUserGroup(tx *store.Tx, g *cache.UserGroup) (UserGroup, error) {
	seen, err := lookAtUsage(tx, g.Region)
	if err != nil {
		return UserGroup{}, err
	}
	return seen.userGroup(tx, g)
}
