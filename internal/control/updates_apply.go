package control

import (
	"context"
	"errors"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// maxUpdateIDs is how many groups, and how many clusters, one request may name.
const maxUpdateIDs = 20

// UpdateBatch names a service update and caches that it is to be applied to, or stopped in.
type UpdateBatch struct {
	Name             string
	Groups, Clusters []string
}

// UpdateOutcome is what came of a batch in one cache: a status, or why there is none.
type UpdateOutcome struct {
	Group      bool
	ID, Update string
	Status     string
	Fault      *cache.Fault
}

// BatchApplyUpdateAction has caches be given a service update at once.
func (c *Control) BatchApplyUpdateAction(ctx context.Context, region string, b UpdateBatch) ([]UpdateOutcome, error) {
	return c.batch(ctx, region, b, c.applyUpdate)
}

// BatchStopUpdateAction has no more nodes be replaced. Those that have been stay as they are.
func (c *Control) BatchStopUpdateAction(ctx context.Context, region string, b UpdateBatch) ([]UpdateOutcome, error) {
	return c.batch(ctx, region, b, c.stopUpdate)
}

// updateStep does one thing with a service update in one cache and returns the status that
// follows.
type updateStep func(ctx context.Context, region string, x *cache.ServiceUpdate, group bool, id string) (string, error)

func (c *Control) batch(ctx context.Context, region string, b UpdateBatch, do updateStep) ([]UpdateOutcome, error) {
	switch {
	case b.Name == "":
		return nil, missing("ServiceUpdateName")
	case len(b.Groups)+len(b.Clusters) == 0:
		return nil, conflict("At least one of ReplicationGroupIds and CacheClusterIds must be provided.")
	case len(b.Groups) > maxUpdateIDs:
		return nil, invalid("The parameter ReplicationGroupIds must not name more than %d replication groups.", maxUpdateIDs)
	case len(b.Clusters) > maxUpdateIDs:
		return nil, invalid("The parameter CacheClusterIds must not name more than %d cache clusters.", maxUpdateIDs)
	}
	var x cache.ServiceUpdate
	err := c.DB.View(ctx, func(tx *store.Tx) (err error) {
		x, err = getUpdate(tx, b.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []UpdateOutcome
	for i, id := range append(append([]string(nil), b.Groups...), b.Clusters...) {
		o := UpdateOutcome{Group: i < len(b.Groups), ID: lower(id), Update: x.Name}
		o.Status, err = do(ctx, region, &x, o.Group, id)
		if err != nil && !errors.As(err, &o.Fault) {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// findUpdated reads a cache that a batch names.
func findUpdated(tx *store.Tx, region string, group bool, id string) (*parameterUser, error) {
	if group {
		g, err := fullGroup(tx, region, id)
		return &parameterUser{group: &g.ReplicationGroup, members: g.Members}, err
	}
	k, err := getCluster(tx, region, id)
	switch {
	case err != nil:
	case k.GroupID != "":
		err = invalid("Cache cluster %s is a member of replication group %s. Name the group in ReplicationGroupIds.", k.ID, k.GroupID)
	case k.Memcached != nil:
		err = invalid("Service updates are for Redis and Valkey: the nodes of a Memcached cluster cannot be replaced with the items that they hold.")
	}
	return &parameterUser{members: []cache.CacheCluster{k}}, err
}

func (c *Control) applyUpdate(ctx context.Context, region string, x *cache.ServiceUpdate, group bool, id string) (string, error) {
	seen, err := c.lookAtUpdated(ctx, region, x, group, id)
	if err != nil {
		return "", err
	}
	err = c.DB.Update(ctx, func(tx *store.Tx) error {
		u, err := findUpdated(tx, region, group, id)
		if err != nil {
			return err
		}
		return c.beginUpdate(tx, x, u, seen)
	})
	return cache.UpdateWaiting, err
}

// lookAtUpdated asks the primaries how much memory their data take.
func (c *Control) lookAtUpdated(ctx context.Context, region string, x *cache.ServiceUpdate, group bool, id string) (sizes, error) {
	in := &Change{Immediately: true, Same: Same{EngineVersion: x.EngineVersion}}
	if group {
		return c.lookAtGroup(ctx, region, id, in)
	}
	return c.lookAtCluster(ctx, region, id, in)
}

// beginUpdate has all nodes of a cache be replaced, as for another engine version.
func (c *Control) beginUpdate(tx *store.Tx, x *cache.ServiceUpdate, u *parameterUser, seen sizes) error {
	if err := checkApplicable(x, u); err != nil {
		return err
	}
	if err := u.checkAvailable(); err != nil {
		return err
	}
	s := u.settings()
	if !s.Pending.Empty() && !x.Begins(s) {
		return conflict("The modification of %s to %s is pending and would be overtaken. Apply it or cancel it first.", u.name(), s.Pending.What())
	}
	p := cache.Pending{Engine: x.Engine, EngineVersion: x.EngineVersion, Build: x.Build, AskedAt: c.Now(), Now: true}
	to, err := c.checkPending(tx, &p, s, u, asked{engine: true})
	if err != nil {
		return err
	}
	if err := c.checkMemory(tx, to, s, u, seen); err != nil {
		return err
	}
	s.Pending = &p
	u.setStatus(cache.StatusModifying)
	a := u.blank(x.Name)
	a.By = cache.ByCustomer
	if err := records.BeginUpdate(tx, a, c.Now()); err != nil {
		return err
	}
	return c.putUpdated(tx, u, "Service update "+x.Name+" is applied: nodes are replaced by such of "+x.Build)
}

// checkApplicable tells whether a service update is for a cache, and why not.
func checkApplicable(x *cache.ServiceUpdate, u *parameterUser) error {
	switch {
	case x.Status != cache.UpdateAvailable:
		return invalid("Service update %s is %s and cannot be applied any more.", x.Name, x.Status)
	case !x.Serves(u.settings()):
		return invalid("Service update %s is for %s %s and not applicable to %s, which is %s %s.",
			x.Name, x.Engine, x.EngineVersion, u.name(), u.settings().Engine, u.settings().EngineVersion)
	case !u.behind(x):
		return invalid("Service update %s is not applicable to %s: its nodes have it.", x.Name, u.name())
	case !u.clustered() && !cache.TakesAddresses(x.Build):
		return invalid("Service update %s cannot be applied to %s: a node of %s cannot take over the address of another one while it runs.",
			x.Name, u.name(), x.Build)
	}
	return nil
}

func (u *parameterUser) clustered() bool { return u.group != nil && u.group.ClusterEnabled }

func (u *parameterUser) checkAvailable() error {
	if u.group != nil {
		return checkChangeable(&Group{ReplicationGroup: *u.group})
	}
	if k := &u.members[0]; k.Status != cache.StatusAvailable {
		return notAvailable(k)
	}
	return nil
}

func (u *parameterUser) setStatus(s cache.Status) {
	if u.group != nil {
		u.group.Status = s
		return
	}
	u.members[0].Status = s
}

// putUpdated writes a cache down, and an event of it.
func (c *Control) putUpdated(tx *store.Tx, u *parameterUser, said string) error {
	if u.group != nil {
		if err := records.Groups.Put(tx, u.group.Key(), *u.group); err != nil {
			return err
		}
		return c.tell(tx, u.region(), cache.EventGroup, u.group.ID, said)
	}
	k := &u.members[0]
	if err := records.Clusters.Put(tx, k.Key(), *k); err != nil {
		return err
	}
	return c.tell(tx, u.region(), cache.EventCluster, k.ID, said)
}

func (c *Control) stopUpdate(ctx context.Context, region string, x *cache.ServiceUpdate, group bool, id string) (status string, err error) {
	err = c.DB.Update(ctx, func(tx *store.Tx) error {
		u, err := findUpdated(tx, region, group, id)
		if err != nil {
			return err
		}
		status, err = c.endUpdate(tx, x, u)
		return err
	})
	return status, err
}

// endUpdate has an update that has not begun be forgotten, and one that has go no further.
func (c *Control) endUpdate(tx *store.Tx, x *cache.ServiceUpdate, u *parameterUser) (string, error) {
	s, up := u.settings(), u.upgrade()
	a, known, err := records.FindUpdateAction(tx, u.blank(x.Name))
	if err != nil {
		return "", err
	}
	a.ChangedAt = c.Now()
	switch {
	case x.Updates(up) && up.Failed == "":
		up.Stopped, up.Failed = true, "BatchStopUpdateAction was called"
		if known {
			if err := records.UpdateActions.Put(tx, records.UpdateActionKey(&a), a); err != nil {
				return "", err
			}
		}
		return cache.UpdateStopping, c.putUpdated(tx, u, "Service update "+x.Name+" is being stopped")
	case x.Updates(up) && up.Stopped:
		return cache.UpdateStopping, nil
	case x.Begins(s):
		if s.Pending.Now {
			u.setStatus(cache.StatusAvailable)
		}
		s.Pending, a.StoppedAt = nil, c.Now()
		if err := records.UpdateActions.Put(tx, records.UpdateActionKey(&a), a); err != nil {
			return "", err
		}
		return cache.UpdateStopped, c.putUpdated(tx, u, "Service update "+x.Name+" is stopped, and nothing is changed")
	}
	return "", invalid("Service update %s is not being applied to %s.", x.Name, u.name())
}
