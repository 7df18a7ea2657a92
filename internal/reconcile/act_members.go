package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// actOnMembers does what changes who is in a group.
func (r *Runner) actOnMembers(ctx context.Context, v *View, a Action) (outcome, error) {
	switch {
	case v.Group == nil:
		return nil, nil
	case a.Kind == actTest:
		return r.testFailover(ctx, v, a.Target)
	case a.Kind == actSettle:
		return r.settle(v), nil
	case a.Kind == actDemote:
		return r.demote(ctx, v)
	}
	_, id := cache.SplitKey(a.Target)
	m := v.member(id)
	if m == nil || v.Group.Change == nil && !m.StandIn {
		return nil, nil
	}
	switch a.Kind {
	case actJoin:
		return r.join(ctx, v, m)
	case actCallOff:
		return r.callOff(v, m, a.Reason), nil
	case actLeave:
		return r.leave(v, m), nil
	}
	return r.part(ctx, v, m)
}

// join makes all nodes of a cluster know a new member, and the member available.
func (r *Runner) join(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	if !v.Group.Joining(m) || !isReady(m) {
		return nil, nil
	}
	if v.clustered() {
		if err := r.introduce(ctx, v, m); err != nil {
			return nil, err
		}
	}
	unapplied, err := r.Engines.Unapplied(ctx, v.asTold(m))
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || c.Status != cache.StatusCreating || !c.Node.Ready || !sameProcess(c.Node.Process, m.Node.Process) {
			return err // it ended meanwhile and is brought up first
		}
		if m.StandIn { // nobody is told of it
			return changeCluster(tx, m.Key(), func(c *cache.CacheCluster) { c.Status = cache.StatusAvailable })
		}
		if err := r.finishCluster(tx, m, unapplied); err != nil {
			return err
		}
		return r.event(tx, m.Region, cache.EventCluster, m.ID, "Added cache node %s in availability zone %s", cache.NodeID, m.Zone)
	}, nil
}

// introduce waits until every node that runs knows a new one, and the new one knows them.
func (r *Runner) introduce(ctx context.Context, v *View, m *cache.CacheCluster) error {
	self := v.asTold(m)
	work, wctx := errgroup.WithContext(ctx)
	running := []string{self.Cluster.Self}
	for _, o := range v.others(m) {
		running = append(running, v.busID(o.ID))
		work.Go(func() error { return r.Engines.Introduce(wctx, v.asTold(o), self.Cluster.Self) })
	}
	if err := work.Wait(); err != nil {
		return err
	}
	// One that does not run, or is about to come like this one, is not waited for.
	self.Cluster.Nodes = slices.DeleteFunc(self.Cluster.Nodes, func(n cache.ClusterNode) bool {
		return !slices.Contains(running, n.ID)
	})
	return r.awaitFormed(ctx, v, self)
}

// awaitFormed waits until a new member sees the cluster as it is. A failover meanwhile
// makes that another cluster, which nobody would wait for: the action is planned again.
func (r *Runner) awaitFormed(ctx context.Context, v *View, self cache.NodeSpec) error {
	limited, stop := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { stop(r.ledAnew(limited, v.Group)) })
	err := r.Engines.AwaitFormed(limited, self)
	stop(nil) // the first cause is kept
	watch.Wait()
	if cause := context.Cause(limited); err != nil && ctx.Err() == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// ledAnew returns errNotYet once the node groups of a group have other primaries than
// they had, and otherwise when the context ends.
func (r *Runner) ledAnew(ctx context.Context, before *cache.ReplicationGroup) error {
	w := r.DB.Watch(records.Groups.Prefix(before.Key()))
	defer w.Close()
	for {
		var now cache.ReplicationGroup
		err := r.DB.View(ctx, func(tx *store.Tx) (err error) {
			now, _, err = records.Groups.Get(tx, before.Key())
			return err
		})
		if err != nil {
			return err
		}
		if !slices.EqualFunc(before.NodeGroups, now.NodeGroups, func(a, b cache.NodeGroup) bool { return a.Primary == b.Primary }) {
			return errNotYet
		}
		select {
		case <-w.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// others are the members besides one that run and have their data.
func (v *View) others(m *cache.CacheCluster) []*cache.CacheCluster {
	var out []*cache.CacheCluster
	for i := range v.Members {
		if o := &v.Members[i]; o.ID != m.ID && !o.Departed && isReady(o) {
			out = append(out, o)
		}
	}
	return out
}

// leave writes down that a member is none any more, unless it leads or may have to: its
// primary may have died since this was planned. Whoever is told or started from here on
// knows nothing of it.
func (r *Runner) leave(v *View, m *cache.CacheCluster) outcome {
	return func(tx *store.Tx) error {
		now, err := v.afresh(tx)
		if err != nil || now == nil || now.Group.Leads(m.ID) || now.needed(m) {
			return err // calling it off, or a failover, is what is due
		}
		return changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
			c.Departed = c.Deletion != nil
			c.Node.Ready, c.Node.Recovering = false, false
		})
	}
}

// afresh is a group and its members as they are now; nil if it is gone.
func (v *View) afresh(tx *store.Tx) (*View, error) {
	g, ok, err := records.Groups.Get(tx, v.Group.Key())
	if err != nil || !ok {
		return nil, err
	}
	now := *v
	now.Group, now.Members = &g, nil
	for _, id := range g.Nodes() {
		c, ok, err := records.Clusters.Get(tx, cache.Key(g.Region, id))
		if err != nil {
			return nil, err
		}
		if ok {
			now.Members = append(now.Members, c)
		}
	}
	return &now, nil
}

// part makes all nodes of a cluster forget a member whose process and directory are
// gone, and deletes its records.
func (r *Runner) part(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	if !m.Departed || !m.Node.Gone {
		return nil, nil
	}
	if v.clustered() {
		work, wctx := errgroup.WithContext(ctx)
		for i := range v.Members {
			if o := &v.Members[i]; !o.Departed && o.Node.Process != nil {
				work.Go(func() error { return r.Engines.Forget(wctx, v.asTold(o), v.busID(m.ID)) })
			}
		}
		if err := work.Wait(); err != nil {
			return nil, err
		}
	}
	return func(tx *store.Tx) error {
		if err := records.Clusters.Delete(tx, m.Key()); err != nil {
			return err
		}
		if err := changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) { g.RemoveMember(m.ID) }); err != nil {
			return err
		}
		if err := records.ReleaseAddresses(tx, records.ClusterOwner(m.Key())); err != nil {
			return err
		}
		if err := records.ReleaseAddresses(tx, records.NextOwner(m.Key())); err != nil {
			return err
		}
		if m.StandIn {
			return forgetStepsOf(tx, m.Key())
		}
		if err := r.event(tx, m.Region, cache.EventCluster, m.ID, "Cache cluster deleted"); err != nil {
			return err
		}
		return forgetStepsOf(tx, m.Key())
	}, nil
}

// forgetStepsOf deletes what is written down of what was done with one member: another
// may come under its name.
func forgetStepsOf(tx *store.Tx, key string) error {
	for _, k := range []Kind{actStart, actReady, actConfigure, actJoin, actCallOff, actLeave, actRemove, actPart, actParameters, actAccess, actReboot, actRebooted, actProve, actExchange, actDismiss} {
		if err := records.Steps.Delete(tx, Action{Kind: k, Target: key}.ID()); err != nil {
			return err
		}
	}
	return nil
}

// callOff ends what was wanted of a member and cannot be: one that cannot come is
// taken away again, one that must not go stays, one that cannot lead follows.
func (r *Runner) callOff(v *View, m *cache.CacheCluster, reason string) outcome {
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || c.Departed {
			return err
		}
		g, ok, err := records.Groups.Get(tx, v.Group.Key())
		if err != nil || !ok || g.Change == nil {
			return err
		}
		var said string
		switch {
		case g.Joining(&c):
			// It may even lead by now, if the primary died: then it has come.
			if g.Leads(c.ID) {
				return nil
			}
			c.Status, c.Departed, c.Deletion = cache.StatusDeleting, true, &cache.Deletion{RequestedAt: r.Now()}
			c.Node.Ready = false
			said = fmt.Sprintf("Failed to add cache cluster %s: %s", c.ID, reason)
		case c.Deletion != nil:
			c.Status, c.Deletion = cache.StatusAvailable, nil
			said = fmt.Sprintf("Failed to remove cache cluster %s: %s", c.ID, reason)
		case g.Change.Promote == c.ID:
			g.Change.Promote, g.Change.Promoting = "", ""
			said = fmt.Sprintf("Failed to promote cache cluster %s to primary: %s", c.ID, reason)
			if err := records.Groups.Put(tx, g.Key(), g); err != nil {
				return err
			}
			if err := records.Steps.Delete(tx, Action{Kind: actDemote, Target: g.Key()}.ID()); err != nil {
				return err
			}
		default:
			return nil
		}
		if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
			return err
		}
		return r.unitEvent(tx, v, "%s", said)
	}
}

// settle ends a change of members, and a failover that was tested.
func (r *Runner) settle(v *View) outcome {
	return func(tx *store.Tx) error {
		now, err := v.afresh(tx)
		if err != nil || now == nil {
			return err
		}
		g := now.Group
		if t := g.Test; t != nil && t.Done {
			g.Test = nil
		}
		if c := g.Change; c != nil && now.settled() {
			g.Status, g.Change = cache.StatusAvailable, nil
			if err := r.tellCount(tx, v, c.Nodes, len(g.Members)); err != nil {
				return err
			}
			// One that was cut short, and that a failover made needless, would count for the next.
			if err := records.Steps.Delete(tx, Action{Kind: actDemote, Target: g.Key()}.ID()); err != nil {
				return err
			}
		}
		return records.Groups.Put(tx, g.Key(), *g)
	}
}

func (r *Runner) tellCount(tx *store.Tx, v *View, before, after int) error {
	if before == after {
		return nil
	}
	return r.unitEvent(tx, v, "Finished modifying number of nodes from %d to %d", before, after)
}
