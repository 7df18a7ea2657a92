package control

import (
	"slices"

	"holdfast.dev/internal/access"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// UserGroupsOf is what a request says of the user groups of a replication group.
type UserGroupsOf struct {
	Add, Remove []string
	// RemoveAll is RemoveUserGroups.
	RemoveAll bool
}

// spread writes what has changed of user groups into the records of the caches that use
// them, where nodes are told of it from.
func spread(tx *store.Tx, region string, groups []cache.UserGroup) error {
	for i := range groups {
		caches, err := cachesOf(tx, region, groups[i].ID)
		if err != nil {
			return err
		}
		for j := range caches {
			if err := giveAccess(tx, &caches[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveAccess writes down who may log in to a cache.
func giveAccess(tx *store.Tx, g *cache.ReplicationGroup) error {
	a, err := userAccess(tx, g.Region, g.UserGroupIDs, &g.Settings, g.ClusterEnabled)
	if err != nil || a.Digest() == g.Access.Digest() {
		return err
	}
	if err := checkUsersLater(tx, g); err != nil {
		return err
	}
	full, err := withMembers(tx, *g)
	if err != nil {
		return err
	}
	g.Access = a
	for i := range full.Members {
		k := &full.Members[i]
		k.Access = a
		if err := records.Clusters.Put(tx, k.Key(), *k); err != nil {
			return err
		}
	}
	return records.Groups.Put(tx, g.Key(), *g)
}

// checkUsersLater refuses users that a cache cannot have as what it is about to become.
func checkUsersLater(tx *store.Tx, g *cache.ReplicationGroup) error {
	var becomes []cache.Settings
	if p := g.Pending; p != nil && p.EngineVersion != "" {
		s := g.Settings
		s.Engine, s.EngineVersion = p.Engine, p.EngineVersion
		becomes = append(becomes, s)
	}
	if u := g.Upgrade; u != nil {
		s := g.Settings
		s.Become(u.To)
		becomes = append(becomes, s)
	}
	for i := range becomes {
		if _, err := userAccess(tx, g.Region, g.UserGroupIDs, &becomes[i], g.ClusterEnabled); err != nil {
			return err
		}
	}
	return nil
}

// userAccess says who may log in to a cache with these user groups. It refuses users and
// user groups that the cache cannot have.
func userAccess(tx *store.Tx, region string, ids []string, s *cache.Settings, cluster bool) (*cache.Access, error) {
	out := &cache.Access{}
	for _, id := range ids {
		g, err := getUserGroup(tx, region, id)
		if err != nil {
			return nil, err
		}
		if err := fitsCache(&g, s); err != nil {
			return nil, err
		}
		users, err := usersOf(tx, &g)
		if err != nil {
			return nil, err
		}
		for i := range users {
			if err := userFitsCache(&users[i], s, cluster); err != nil {
				return nil, err
			}
			n, err := nodeUser(&users[i])
			if err != nil {
				return nil, err
			}
			out.Users = append(out.Users, n)
		}
	}
	return out, nil
}

// fitsCache refuses a user group that a cache cannot use.
func fitsCache(g *cache.UserGroup, s *cache.Settings) error {
	switch {
	case s.TransitEncryption == "":
		return conflict("User group based access control requires encryption-in-transit to be enabled on the replication group.")
	case cache.CompareVersions(s.EngineVersion, firstWithUsers(s.Engine)) < 0:
		return conflict("User group based access control requires %s %s or later. The engine version is %s.", s.Engine, firstWithUsers(s.Engine), s.EngineVersion)
	case g.Engine == cache.Valkey && s.Engine != cache.Valkey:
		return conflict("The user group %s of the engine valkey cannot be associated with a replication group of the engine %s.", g.ID, s.Engine)
	}
	return nil
}

// userFitsCache refuses a user that a cache cannot have.
func userFitsCache(u *cache.User, s *cache.Settings, cluster bool) error {
	least := u.MinVersion
	if s.Engine == cache.Valkey {
		least = newest(least, valkeyWithUsers)
	}
	switch {
	case u.Auth == cache.AuthIAM && cluster:
		return conflict("User %s has IAM authentication, which is not supported by this endpoint yet for replication groups with cluster mode enabled.", u.ID)
	case cache.CompareVersions(s.EngineVersion, least) < 0:
		return conflict("User %s requires the engine version %s or later. The engine version of the replication group is %s.", u.ID, least, s.EngineVersion)
	}
	return nil
}

// nodeUser is a user as an engine is told of it.
func nodeUser(u *cache.User) (cache.NodeUser, error) {
	s, err := access.Parse(u.AccessString)
	if err != nil {
		return cache.NodeUser{}, err
	}
	out := cache.NodeUser{Name: u.Name, ID: u.Mark(), IAM: u.Auth == cache.AuthIAM, Rules: s.Rules()}
	for _, h := range u.PasswordHashes {
		out.Rules = append(out.Rules, "#"+h)
	}
	if u.Auth == cache.AuthNoPassword {
		out.Rules = append(out.Rules, "nopass")
	}
	return out, nil
}

// userGroupIDs reads the ids of a request: one is what a cache can use.
func userGroupIDs(ids []string) ([]string, error) {
	var out []string
	for _, id := range ids {
		if id == "" {
			return nil, missing("UserGroupIds")
		}
		if !slices.Contains(out, lower(id)) {
			out = append(out, lower(id))
		}
	}
	if len(out) > 1 {
		return nil, conflict("At most one user group can be associated with a replication group. Provided: %d", len(out))
	}
	return out, nil
}

// useUserGroups has a cache that serves use other user groups. The notes are events.
func (in *UserGroupsOf) useUserGroups(tx *store.Tx, g *Group) (notes []string, err error) {
	if len(in.Add) == 0 && len(in.Remove) == 0 && !in.RemoveAll {
		return nil, nil
	}
	before := g.UserGroupIDs
	after, err := in.apply(before)
	if err != nil {
		return nil, err
	}
	change := &cache.UserGroupsChange{}
	for _, id := range after {
		if !slices.Contains(before, id) {
			change.Added = append(change.Added, id)
			notes = append(notes, "User group "+id+" associated with replication group "+g.ID)
		}
	}
	for _, id := range before {
		if !slices.Contains(after, id) {
			change.Removed = append(change.Removed, id)
			notes = append(notes, "User group "+id+" disassociated from replication group "+g.ID)
		}
	}
	g.UserGroupIDs, g.UserGroupsChange = after, change
	if len(after) == 0 {
		if len(g.AuthTokens) == 0 {
			g.Access = nil
		}
		return notes, nil
	}
	g.Access, err = userAccess(tx, g.Region, after, &g.Settings, g.ClusterEnabled)
	return notes, err
}

// apply says which user groups there are to be.
func (in *UserGroupsOf) apply(before []string) ([]string, error) {
	if in.RemoveAll {
		if len(in.Add) > 0 || len(in.Remove) > 0 {
			return nil, conflict("RemoveUserGroups cannot be used together with UserGroupIdsToAdd or UserGroupIdsToRemove.")
		}
		return nil, nil
	}
	left := slices.Clone(before)
	for _, id := range in.Remove {
		i := slices.Index(left, lower(id))
		if i < 0 {
			return nil, conflict("The user group %s is not associated with the replication group.", id)
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, id := range in.Add {
		if slices.Contains(left, lower(id)) {
			return nil, conflict("The user group %s is already associated with the replication group.", lower(id))
		}
	}
	return userGroupIDs(append(left, in.Add...))
}

// PendingUserGroups is what was changed of the user groups of a replication group and is
// not known to all nodes yet; nil for nothing.
func (g *Group) PendingUserGroups() *cache.UserGroupsChange {
	if slices.ContainsFunc(g.Members, func(k cache.CacheCluster) bool { return !k.AccessTold() }) {
		return g.UserGroupsChange
	}
	return nil
}

// adoptUserGroups says who may log in to a new group, as its user groups are in the
// transaction that writes it down.
func (n *newGroup) adoptUserGroups(tx *store.Tx) error {
	ids, err := userGroupIDs(n.in.UserGroupIDs)
	if err != nil || len(ids) == 0 {
		return err
	}
	n.in.UserGroupIDs = ids
	n.Access, err = userAccess(tx, n.region, ids, &n.Settings, n.cluster)
	return err
}
