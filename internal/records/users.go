package records

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// Users and UserGroups, keyed "<region>/<id>". The default user is no record.
var (
	Users      = store.NewTable[cache.User]("users")
	UserGroups = store.NewTable[cache.UserGroup]("usergroups")
)

// FindUser returns the user of that id, the default one too, and false if there is none.
func FindUser(tx *store.Tx, region, id string) (cache.User, bool, error) {
	if id == cache.BuiltInUser {
		return cache.DefaultUser(region), true, nil
	}
	if id == "" {
		return cache.User{}, false, nil
	}
	return Users.Get(tx, cache.Key(region, id))
}
