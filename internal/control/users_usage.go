package control

import (
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// usage is who uses what of the users and user groups of a region, and where that is not
// known yet. Status is nowhere written down: it follows from this.
type usage struct {
	groups []cache.UserGroup
	// caches are the ids of the replication groups that use a user group, by its id.
	caches map[string][]string
	// waiting are the replication groups with nodes that have not been told of a change.
	waiting map[string]bool
}

func lookAtUsage(tx *store.Tx, region string) (*usage, error) {
	seen := &usage{caches: map[string][]string{}, waiting: map[string]bool{}}
	var err error
	if seen.groups, err = records.UserGroups.List(tx, records.InRegion(region)); err != nil {
		return nil, err
	}
	caches, err := records.Groups.List(tx, records.InRegion(region))
	if err != nil {
		return nil, err
	}
	for i := range caches {
		for _, id := range caches[i].UserGroupIDs {
			seen.caches[id] = append(seen.caches[id], caches[i].ID)
		}
	}
	nodes, err := records.Clusters.List(tx, records.InRegion(region))
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		if k := &nodes[i]; k.GroupID != "" && !k.AccessTold() {
			seen.waiting[k.GroupID] = true
		}
	}
	return seen, nil
}

// gone tells whether a user has been deleted and no node knows it any more.
func (s *usage) gone(u *cache.User) bool {
	return u.Deletion != nil && !slices.ContainsFunc(u.Deletion.GroupIDs, func(id string) bool { return s.waiting[id] })
}

// user shows a user.
func (s *usage) user(u *cache.User) User {
	out := User{User: *u, Status: cache.StatusActive}
	for i := range s.groups {
		g := &s.groups[i]
		if !slices.Contains(g.UserIDs, u.ID) {
			continue
		}
		out.GroupIDs = append(out.GroupIDs, g.ID)
		if s.status(g) != cache.StatusActive {
			out.Status = cache.StatusModifying
		}
	}
	if u.Deletion != nil {
		out.Status = cache.StatusDeleting
	}
	return out
}

func (s *usage) status(g *cache.UserGroup) cache.Status {
	if slices.ContainsFunc(s.caches[g.ID], func(id string) bool { return s.waiting[id] }) {
		return cache.StatusModifying
	}
	return cache.StatusActive
}

func shownUser(tx *store.Tx, u *cache.User) (User, error) {
	seen, err := lookAtUsage(tx, u.Region)
	if err != nil {
		return User{}, err
	}
	return seen.user(u), nil
}

// groupsOf are the user groups that a user is in.
func groupsOf(tx *store.Tx, region, user string) ([]cache.UserGroup, error) {
	all, err := records.UserGroups.List(tx, records.InRegion(region))
	if err != nil {
		return nil, err
	}
	return keepIf(slices.Clone(all), func(g *cache.UserGroup) bool { return slices.Contains(g.UserIDs, user) }), nil
}

// cachesOf are the replication groups that use a user group.
func cachesOf(tx *store.Tx, region, userGroup string) ([]cache.ReplicationGroup, error) {
	all, err := records.Groups.List(tx, records.InRegion(region))
	if err != nil {
		return nil, err
	}
	return keepIf(slices.Clone(all), func(g *cache.ReplicationGroup) bool { return slices.Contains(g.UserGroupIDs, userGroup) }), nil
}
