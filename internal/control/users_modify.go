package control

import (
	"context"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// UserChange is what ModifyUser asks for. Empty fields leave as it is.
type UserChange struct {
	ID, Engine                 string
	AccessString, AccessAppend string
	Login                      Login
}

// ModifyUser changes a user, and what the nodes of the caches that it may log in to are
// to know of it. Its connections stay, and have its new permissions.
func (c *Control) ModifyUser(ctx context.Context, region string, in UserChange) (*User, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	var out User
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		u, err := ownUser(tx, region, in.ID, "modified")
		if err != nil {
			return err
		}
		if err := in.apply(&u); err != nil {
			return err
		}
		if err := records.Users.Put(tx, u.Key(), u); err != nil {
			return err
		}
		groups, err := groupsOf(tx, region, u.ID)
		if err != nil {
			return err
		}
		for i := range groups {
			if err := checkUserGroup(tx, &groups[i]); err != nil {
				return err
			}
		}
		if err := spread(tx, region, groups); err != nil {
			return err
		}
		out, err = shownUser(tx, &u)
		if err != nil {
			return err
		}
		return c.tell(tx, region, cache.EventUser, u.ID, "User "+u.ID+" modified")
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func (in *UserChange) check() error {
	switch {
	case in.AccessString != "" && in.AccessAppend != "":
		return conflict("The parameters AccessString and AppendAccessString cannot be used together.")
	case in.AccessString == "" && in.AccessAppend == "" && in.Engine == "" && in.Login.Empty():
		return conflict("No modifications were requested.")
	}
	return nil
}

func (in *UserChange) apply(u *cache.User) error {
	var err error
	if in.Engine != "" {
		if u.Engine, err = userEngine(in.Engine); err != nil {
			return err
		}
	}
	text := in.AccessString
	if in.AccessAppend != "" {
		text = u.AccessString + " " + in.AccessAppend
	}
	if text != "" {
		if err := setAccess(u, text); err != nil {
			return err
		}
	}
	if !in.Login.Empty() {
		if err := in.Login.set(u); err != nil {
			return err
		}
	}
	return checkUser(u)
}

// ownUser finds a user that can be changed, and forgets those that are gone.
func ownUser(tx *store.Tx, region, id, what string) (cache.User, error) {
	if err := sweepUsers(tx, region); err != nil {
		return cache.User{}, err
	}
	seen, err := lookAtUsage(tx, region)
	if err != nil {
		return cache.User{}, err
	}
	u, err := getUser(tx, region, id, seen)
	switch {
	case err != nil:
		return u, err
	case u.ID == cache.BuiltInUser:
		return u, invalid("The user %s cannot be %s.", u.ID, what)
	case u.Deletion != nil:
		return u, cache.Faultf(codeUserState, "User %s has status %s and cannot be %s.", u.ID, cache.StatusDeleting, what)
	}
	return u, nil
}

// DeleteUser takes a user out of all user groups. It is gone once no node knows it any
// more; its connections end.
func (c *Control) DeleteUser(ctx context.Context, region, id string) (*User, error) {
	var out User
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		u, err := ownUser(tx, region, id, "deleted")
		if err != nil {
			return err
		}
		groups, err := groupsOf(tx, region, u.ID)
		if err != nil {
			return err
		}
		u.Deletion = &cache.UserDeletion{RequestedAt: c.Now()}
		if u.Deletion.GroupIDs, err = leaveGroups(tx, &u, groups); err != nil {
			return err
		}
		if err := records.Users.Put(tx, u.Key(), u); err != nil {
			return err
		}
		if err := spread(tx, region, groups); err != nil {
			return err
		}
		out = User{User: u, Status: cache.StatusDeleting}
		return c.tell(tx, region, cache.EventUser, u.ID, "User "+u.ID+" deleted")
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// leaveGroups takes a user out of user groups. It returns the caches that use them.
func leaveGroups(tx *store.Tx, u *cache.User, groups []cache.UserGroup) ([]string, error) {
	var told []string
	for i := range groups {
		g := &groups[i]
		if g.Engine == cache.Redis && u.Name == cache.BuiltInUser {
			return nil, cache.Faultf(codeDefaultUserInGroup, "User %s is the default user of the user group %s and cannot be deleted.", u.ID, g.ID)
		}
		g.UserIDs = slices.DeleteFunc(slices.Clone(g.UserIDs), func(id string) bool { return id == u.ID })
		if err := noteChange(tx, g, nil, []string{u.ID}); err != nil {
			return nil, err
		}
		if err := records.UserGroups.Put(tx, g.Key(), *g); err != nil {
			return nil, err
		}
		if g.Change != nil {
			told = append(told, g.Change.GroupIDs...)
		}
	}
	return told, nil
}

// sweepUsers forgets the users that are gone.
func sweepUsers(tx *store.Tx, region string) error {
	all, err := records.Users.List(tx, records.InRegion(region))
	if err != nil || !slices.ContainsFunc(all, func(u cache.User) bool { return u.Deletion != nil }) {
		return err
	}
	seen, err := lookAtUsage(tx, region)
	if err != nil {
		return err
	}
	for i := range all {
		if seen.gone(&all[i]) {
			if err := records.Users.Delete(tx, all[i].Key()); err != nil {
				return err
			}
		}
	}
	return nil
}
