package control

import (
	"context"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// UpdateAction is what has become of a service update in one cache.
type UpdateAction struct {
	cache.UpdateAction
	Of     cache.ServiceUpdate
	Status string
	Nodes  []NodeUpdate
	// AvailableAt is when the cache could first be given it.
	AvailableAt time.Time
	// Met tells whether all nodes had it in time: "yes", "no", or "n/a" where the cache is
	// younger, or the time is not over.
	Met string
}

// NodeUpdate is the part of one node.
type NodeUpdate struct {
	NodeGroupID, ClusterID, Status string
	// DeletedAt is when the node was asked to go.
	DeletedAt time.Time
}

// Updated counts the nodes that have it.
func (a *UpdateAction) Updated() int {
	n := 0
	for _, x := range a.Nodes {
		if x.Status == cache.UpdateComplete {
			n++
		}
	}
	return n
}

// Order is a name that sorts as DescribeUpdateActions does.
func (a *UpdateAction) Order() string { return a.Update + "/" + a.ID }

// DescribeUpdateActions returns the page of what is to be, is being or was done with service
// updates to the caches of a region.
func (c *Control) DescribeUpdateActions(ctx context.Context, region string, f UpdateFilter, page Page[UpdateAction]) ([]UpdateAction, error) {
	var out []UpdateAction
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		updates, err := records.ServiceUpdates.List(tx, "")
		if err != nil {
			return err
		}
		caches, err := updatable(tx, region)
		if err != nil {
			return err
		}
		for _, u := range keepIf(updates, f.matches) {
			for i := range caches {
				if !f.names(&caches[i]) {
					continue
				}
				a, ok, err := c.actionOf(tx, &u, &caches[i])
				if err != nil {
					return err
				}
				if ok && (len(f.Actions) == 0 || slices.Contains(f.Actions, a.Status)) {
					out = append(out, a)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b UpdateAction) int { return strings.Compare(a.Order(), b.Order()) })
	return page.of(out)
}

// names tells whether a cache is among those asked for.
func (f *UpdateFilter) names(u *parameterUser) bool {
	if len(f.Groups)+len(f.Clusters) == 0 {
		return true
	}
	ids, id := f.Clusters, u.members[0].ID
	if u.group != nil {
		ids, id = f.Groups, u.group.ID
	}
	return slices.ContainsFunc(ids, func(asked string) bool { return lower(asked) == id })
}

// updatable are the caches of a region that have nodes of Redis or Valkey.
func updatable(tx *store.Tx, region string) ([]parameterUser, error) {
	groups, err := records.Groups.List(tx, records.InRegion(region))
	if err != nil {
		return nil, err
	}
	var out []parameterUser
	for i := range groups {
		full, err := withMembers(tx, groups[i])
		if err != nil {
			return nil, err
		}
		if len(full.Members) > 0 {
			out = append(out, parameterUser{group: &groups[i], members: full.Members})
		}
	}
	all, err := records.Clusters.List(tx, records.InRegion(region))
	for _, k := range all {
		if k.GroupID == "" && k.Memcached == nil && !k.StandIn {
			out = append(out, parameterUser{members: []cache.CacheCluster{k}})
		}
	}
	return out, err
}

func (u *parameterUser) settings() *cache.Settings {
	if u.group != nil {
		return &u.group.Settings
	}
	return &u.members[0].Settings
}

func (u *parameterUser) upgrade() *cache.Upgrade {
	if u.group != nil {
		return u.group.Upgrade
	}
	return u.members[0].Upgrade
}

// blank is the record of an update action of which nothing is written down.
func (u *parameterUser) blank(update string) cache.UpdateAction {
	a := cache.UpdateAction{Update: update, Region: u.region(), ID: u.members[0].ID, CacheCreatedAt: u.members[0].CreatedAt}
	if u.group != nil {
		a.ID, a.Group, a.CacheCreatedAt = u.group.ID, true, u.group.CreatedAt
	}
	return a
}

// behind tells whether a node is older than a service update.
func (u *parameterUser) behind(x *cache.ServiceUpdate) bool {
	return slices.ContainsFunc(u.members, func(k cache.CacheCluster) bool { return cache.NewerBuild(x.Build, k.Node.Build) })
}

// actionOf tells how far a service update is in a cache; false where it never was for it.
func (c *Control) actionOf(tx *store.Tx, x *cache.ServiceUpdate, u *parameterUser) (UpdateAction, bool, error) {
	done, begun, err := records.FindUpdateAction(tx, u.blank(x.Name))
	if err != nil {
		return UpdateAction{}, false, err
	}
	offered := x.Status == cache.UpdateAvailable && x.Serves(u.settings()) && u.behind(x)
	if !begun && !offered {
		return UpdateAction{}, false, nil
	}
	a := UpdateAction{UpdateAction: done, Of: *x, Status: u.updateStatus(x, &done, offered), AvailableAt: x.ReleasedAt}
	if done.CacheCreatedAt.After(x.ReleasedAt) {
		a.AvailableAt = done.CacheCreatedAt
	}
	if a.ChangedAt.IsZero() {
		a.ChangedAt = a.AvailableAt
	}
	for i := range u.members {
		a.Nodes = append(a.Nodes, nodeUpdate(x, &u.members[i], a.Status))
	}
	a.Met = a.met(x, c.Now())
	return a, true, nil
}

func (u *parameterUser) updateStatus(x *cache.ServiceUpdate, done *cache.UpdateAction, offered bool) string {
	s, up := u.settings(), u.upgrade()
	switch {
	case x.Updates(up) && up.Stopped:
		return cache.UpdateStopping
	case x.Updates(up):
		return cache.UpdateInProgress
	case x.Begins(s) && s.Pending.Now:
		return cache.UpdateWaiting
	case x.Begins(s):
		return cache.UpdateScheduled
	case !done.CompletedAt.IsZero(), x.Serves(s) && !u.behind(x):
		return cache.UpdateComplete
	case !done.StoppedAt.IsZero():
		return cache.UpdateStopped
	case offered:
		return cache.UpdateNotApplied
	}
	return cache.UpdateNotApplicable
}

// nodeUpdate is how far it is in one node of a cache.
func nodeUpdate(x *cache.ServiceUpdate, k *cache.CacheCluster, all string) NodeUpdate {
	n := NodeUpdate{NodeGroupID: k.ShardID(), ClusterID: k.ID, Status: all}
	if k.Deletion != nil {
		n.DeletedAt = k.Deletion.RequestedAt
	}
	switch {
	case all == cache.UpdateComplete, k.Engine == x.Engine && !cache.NewerBuild(x.Build, k.Node.Build):
		n.Status = cache.UpdateComplete
	case all == cache.UpdateInProgress && k.Node.Next == nil, all == cache.UpdateScheduled:
		n.Status = cache.UpdateWaiting
	case all == cache.UpdateNotApplicable:
		n.Status = cache.UpdateNotApplied
	}
	return n
}

func (a *UpdateAction) met(x *cache.ServiceUpdate, now time.Time) string {
	by, at := x.ApplyBy(), a.CompletedAt
	switch {
	case a.CacheCreatedAt.After(by):
		return "n/a"
	case a.Status == cache.UpdateComplete && !at.After(by):
		return "yes"
	case now.After(by):
		return "no"
	}
	return "n/a"
}
