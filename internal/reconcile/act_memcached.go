package reconcile

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// memcachedView reads a Memcached cluster afresh; nil if the unit is another kind of
// cache, or gone.
func (r *Runner) memcachedView(ctx context.Context, unit string) (*MemcachedView, error) {
	kind, key, _ := strings.Cut(unit, " ")
	if kind != "cluster" {
		return nil, nil
	}
	v := &MemcachedView{}
	err := r.DB.View(ctx, func(tx *store.Tx) (err error) {
		v.Cluster, _, err = records.Clusters.Get(tx, key)
		return err
	})
	if err != nil || v.Cluster.Memcached == nil {
		return nil, err
	}
	v.Fronts = r.standing(key)
	return v, nil
}

// standing are the fronts of a cluster; nil for none.
func (r *Runner) standing(key string) *cache.MemcachedFronts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fronts[key]
}

// note remembers which fronts of a cluster stand.
func (r *Runner) note(key string, f *cache.MemcachedFronts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fronts = maps.Clone(r.fronts) // the former is being read
	if f == nil {
		delete(r.fronts, key)
		return
	}
	r.fronts[key] = f
}

func (r *Runner) actOnMemcached(ctx context.Context, unit string, v *MemcachedView, a Action) (outcome, error) {
	c := &v.Cluster
	switch a.Kind {
	case actFront:
		return nil, r.front(ctx, c)
	case actUnfront:
		if err := r.Discovery.Remove(ctx, c.Key()); err != nil {
			return nil, err
		}
		r.note(c.Key(), nil)
		return nil, nil
	case actList:
		return r.list(v), nil
	case actApply:
		return r.applyPending(c), nil
	case actFinish:
		return r.finishMemcached(v), nil
	case actGiveUp:
		return r.giveUp(unit, &View{Members: []cache.CacheCluster{*c}}, a.Reason), nil
	case actDrop:
		return r.dropMemcached(unit, c), nil
	}
	n := c.Memcached.Find(strings.TrimPrefix(a.Target, c.Key()+"/"))
	if n == nil {
		return nil, fmt.Errorf("%s is no node of %s any more", a.Target, unit)
	}
	spec := c.MemcachedSpec(n.ID)
	switch a.Kind {
	case actStart:
		return r.startMemcached(ctx, c, n, spec)
	case actReady:
		return r.readyMemcached(ctx, c, n, spec)
	case actRestart:
		return r.restartMemcached(ctx, c, n, spec)
	case actRemove:
		return r.removeMemcached(ctx, c, n, spec)
	}
	return nil, fmt.Errorf("there is no action %q", a.Kind)
}

// front makes the fronts stand. Until that has come to its end nobody knows which do.
func (r *Runner) front(ctx context.Context, c *cache.CacheCluster) error {
	want := c.Memcached.Fronts()
	r.note(c.Key(), &cache.MemcachedFronts{})
	if err := r.Discovery.Set(ctx, c.Key(), want); err != nil {
		return err
	}
	r.note(c.Key(), &want)
	return nil
}

// list writes a new list down. It is told afterwards, so that no version is ever told
// of two lists.
func (r *Runner) list(v *MemcachedView) outcome {
	return func(tx *store.Tx) error {
		return changeCluster(tx, v.Cluster.Key(), func(c *cache.CacheCluster) {
			now := MemcachedView{Cluster: *c, Fronts: v.Fronts}
			if nodes := newMemcachedPlanner(&now, r.Now()).relisted(); nodes != nil {
				c.Memcached.Nodes = nodes
				c.Memcached.Discovery++
			}
		})
	}
}

func (r *Runner) applyPending(c *cache.CacheCluster) outcome {
	return func(tx *store.Tx) error {
		now, ok, err := records.Clusters.Get(tx, c.Key())
		if err != nil || !ok || now.Status != cache.StatusAvailable {
			return err
		}
		notes, err := records.ApplyMemcachedPending(tx, &now, r.Now())
		if err != nil {
			return err
		}
		for _, n := range notes {
			if err := r.event(tx, c.Region, cache.EventCluster, c.ID, "%s", n); err != nil {
				return err
			}
		}
		return records.Clusters.Put(tx, c.Key(), now)
	}
}

func (r *Runner) startMemcached(ctx context.Context, c *cache.CacheCluster, n *cache.MemcachedNode, spec cache.MemcachedSpec) (outcome, error) {
	spec.Keep = r.Memcacheds.CanKeep(spec)
	p, err := r.Memcacheds.Start(ctx, spec)
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		return changeMemcached(tx, c.Key(), n.ID, func(_ *cache.CacheCluster, n *cache.MemcachedNode) {
			n.Process, n.Ready, n.StartedAt = &p, false, r.Now()
			n.Build, n.NodeType, n.Told = spec.Build, c.NodeType, c.ParametersMark()
			if n.Reboot {
				n.Reboot, n.Restarting = false, true
			}
		})
	}, nil
}

// readyMemcached waits until a node answers, and says what became of its items if it was
// restarted on purpose.
func (r *Runner) readyMemcached(ctx context.Context, c *cache.CacheCluster, n *cache.MemcachedNode, spec cache.MemcachedSpec) (outcome, error) {
	if n.Process == nil {
		return nil, errNotYet
	}
	p := *n.Process
	if err := r.Memcacheds.AwaitReady(ctx, spec, p); err != nil {
		return nil, err
	}
	items := 0
	if n.Restarting {
		stats, err := r.Memcacheds.Stats(ctx, spec)
		if err != nil {
			return nil, err
		}
		items, _ = strconv.Atoi(stats["curr_items"]) // none, as far as anybody can tell
	}
	return func(tx *store.Tx) error {
		var notes []string
		err := changeMemcached(tx, c.Key(), n.ID, func(_ *cache.CacheCluster, n *cache.MemcachedNode) {
			if !sameProcess(n.Process, &p) {
				return // it ended meanwhile, and what ended is not ready
			}
			if n.Recovering {
				notes = append(notes, "Finished recovery for cache nodes "+n.ID)
			}
			if n.Restarting {
				notes = append(notes, fmt.Sprintf("Cache node %s restarted", n.ID), itemsNote(n.ID, items))
			}
			n.Ready, n.Recovering, n.Restarting = true, false, false
		})
		return r.tellAll(tx, c, notes, err)
	}, nil
}

func itemsNote(node string, items int) string {
	if items == 0 {
		return fmt.Sprintf("Cache node %s has no items after the restart", node)
	}
	return fmt.Sprintf("Cache node %s has kept its items over the restart: %d", node, items)
}

// tellAll adds lines to DescribeEvents about a cluster, unless err says that nothing came to pass.
func (r *Runner) tellAll(tx *store.Tx, c *cache.CacheCluster, notes []string, err error) error {
	for _, n := range notes {
		if err != nil {
			return err
		}
		err = r.event(tx, c.Region, cache.EventCluster, c.ID, "%s", n)
	}
	return err
}

// restartMemcached stops a node on purpose, with its items kept if that can be; planning
// starts it again. That its end is no failure is written down before.
func (r *Runner) restartMemcached(ctx context.Context, c *cache.CacheCluster, n *cache.MemcachedNode, spec cache.MemcachedSpec) (outcome, error) {
	if n.Process == nil {
		return nil, nil
	}
	p := *n.Process
	err := r.DB.Update(ctx, func(tx *store.Tx) error {
		return changeMemcached(tx, c.Key(), n.ID, func(c *cache.CacheCluster, n *cache.MemcachedNode) {
			n.Restarting = true
			c.Memcached.RolledAt = r.Now()
		})
	})
	if err != nil {
		return nil, err
	}
	if _, err := r.Memcacheds.StopKeeping(ctx, spec); err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error { return r.noteMemcachedExit(tx, c.Key(), n.ID, p) }, nil
}

// removeMemcached takes away everything of a node. Its cluster forgets one that leaves it.
func (r *Runner) removeMemcached(ctx context.Context, c *cache.CacheCluster, n *cache.MemcachedNode, spec cache.MemcachedSpec) (outcome, error) {
	if err := r.Memcacheds.Stop(ctx, spec, n.Process); err != nil {
		return nil, err
	}
	if err := r.Memcacheds.Remove(ctx, spec); err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		now, ok, err := records.Clusters.Get(tx, c.Key())
		if err != nil || !ok {
			return err
		}
		n := now.Memcached.Find(n.ID)
		if n == nil {
			return nil
		}
		if now.Deletion != nil || now.Status == cache.StatusRestoreFailed {
			n.Process, n.Ready, n.Recovering, n.Gone = nil, false, false, true
			return records.Clusters.Put(tx, c.Key(), now)
		}
		if err := records.ReleaseAddresses(tx, records.MemcachedOwner(c.Key(), n.ID)); err != nil {
			return err
		}
		note := "Removed cache nodes " + n.ID
		now.Memcached.Remove(n.ID)
		return r.tellAll(tx, c, []string{note}, records.Clusters.Put(tx, c.Key(), now))
	}, nil
}

// finishMemcached makes a cluster available, and tells what has changed.
func (r *Runner) finishMemcached(v *MemcachedView) outcome {
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, v.Cluster.Key())
		if err != nil || !ok || c.Status == cache.StatusAvailable || c.Deletion != nil {
			return err
		}
		now := MemcachedView{Cluster: c, Fronts: v.Fronts}
		if !newMemcachedPlanner(&now, r.Now()).whole() {
			return nil // a node ended meanwhile and is brought up first
		}
		notes := r.changeNotes(&c)
		c.Status, c.Memcached.Change, c.Memcached.Scale = cache.StatusAvailable, nil, nil
		return r.tellAll(tx, &c, notes, records.Clusters.Put(tx, c.Key(), c))
	}
}

func (r *Runner) changeNotes(c *cache.CacheCluster) (notes []string) {
	m := c.Memcached
	served := fmt.Sprintf("Engine version %s %s is served by the installed build %s", c.Engine, c.EngineVersion, c.Node.Build)
	if c.Status == cache.StatusCreating {
		notes = append(notes, served)
		if names := r.Memcacheds.Unapplied(c.MemcachedSpec(m.Nodes[0].ID)); len(names) > 0 {
			notes = append(notes, fmt.Sprintf("Parameters of %s that the build does not know and that have no effect: %s", c.ParameterGroup, strings.Join(names, ", ")))
		}
		for i := range m.Nodes {
			notes = append(notes, addedNote(&m.Nodes[i]))
		}
		return append(notes, "Cache cluster created")
	}
	ch := m.Change
	if ch == nil {
		return nil
	}
	if ch.From != 0 {
		for i := range m.Nodes {
			if n := &m.Nodes[i]; ch.Added(n.ID) {
				notes = append(notes, addedNote(n))
			}
		}
		notes = append(notes, fmt.Sprintf("Finished modifying number of nodes from %d to %d", ch.From, len(m.Nodes)))
	}
	if ch.EngineVersion != "" {
		notes = append(notes, served)
	}
	if ch.NodeType != "" {
		notes = append(notes, fmt.Sprintf("Succeeded applying modification to cache node type to %s.", ch.NodeType))
	}
	return notes
}

func addedNote(n *cache.MemcachedNode) string {
	return fmt.Sprintf("Added cache node %s in availability zone %s", n.ID, n.Zone)
}

// dropMemcached deletes the record of a cluster whose processes and directories are gone.
func (r *Runner) dropMemcached(unit string, c *cache.CacheCluster) outcome {
	return func(tx *store.Tx) error {
		owners := []string{records.ClusterOwner(c.Key())}
		for i := range c.Memcached.Nodes {
			owners = append(owners, records.MemcachedOwner(c.Key(), c.Memcached.Nodes[i].ID))
		}
		if p := c.Memcached.Pending; p != nil {
			for i := range p.Add {
				owners = append(owners, records.MemcachedOwner(c.Key(), p.Add[i].ID))
			}
		}
		for _, o := range owners {
			if err := records.ReleaseAddresses(tx, o); err != nil {
				return err
			}
		}
		if err := records.Clusters.Delete(tx, c.Key()); err != nil {
			return err
		}
		return r.tellAll(tx, c, []string{"Cache cluster deleted"}, forgetSteps(tx, unit))
	}
}

// changeMemcached changes one node's part of its cluster's record; one that is gone is left gone.
func changeMemcached(tx *store.Tx, key, node string, change func(*cache.CacheCluster, *cache.MemcachedNode)) error {
	return changeCluster(tx, key, func(c *cache.CacheCluster) {
		if c.Memcached == nil {
			return
		}
		if n := c.Memcached.Find(node); n != nil {
			change(c, n)
		}
	})
}

// attendMemcached waits for the end of every process of a cluster; see attend.
func (r *Runner) attendMemcached(ctx context.Context, c *cache.CacheCluster) {
	for i := range c.Memcached.Nodes {
		n := &c.Memcached.Nodes[i]
		if n.Process == nil || r.attended[*n.Process] {
			continue
		}
		r.attended[*n.Process] = true
		spec, p := c.MemcachedSpec(n.ID), *n.Process
		r.work.Go(func() { r.awaitMemcachedExit(ctx, spec, p) })
	}
}

func (r *Runner) awaitMemcachedExit(ctx context.Context, spec cache.MemcachedSpec, p cache.Process) {
	var alive bool
	if !r.insist(ctx, "cannot watch a node's process", spec.Key(), func() (err error) {
		alive, err = r.Memcacheds.Adopt(ctx, spec, p)
		return err
	}) {
		return
	}
	if alive {
		select {
		case <-r.Memcacheds.Exited(p):
		case <-ctx.Done():
			return
		}
	}
	r.insist(ctx, "cannot write a node's end down", spec.Key(), func() error {
		return r.DB.Update(ctx, func(tx *store.Tx) error { return r.noteMemcachedExit(tx, spec.Cluster, spec.Node, p) })
	})
}

// noteMemcachedExit writes down that a node's process has ended, on purpose or not.
func (r *Runner) noteMemcachedExit(tx *store.Tx, key, node string, p cache.Process) error {
	c, ok, err := records.Clusters.Get(tx, key)
	if err != nil || !ok || c.Memcached == nil {
		return err
	}
	n := c.Memcached.Find(node)
	if n == nil || !sameProcess(n.Process, &p) {
		return nil
	}
	var notes []string
	wasReady := n.Ready
	n.Process, n.Ready, n.ExitedAt = nil, false, r.Now()
	switch {
	case n.Restarting && wasReady:
		n.Reboot, n.Failures = false, 0
		notes = append(notes, fmt.Sprintf("Cache node %s shutdown", node))
	case c.Deletion != nil || n.Leaving || c.Status == cache.StatusRestoreFailed:
	default:
		n.Failures = proc.DefaultBackoff.Failures(n.Failures, n.StartedAt, n.ExitedAt)
		if wasReady {
			n.Recovering = true
			notes = append(notes, "Recovering cache nodes "+node)
		}
	}
	return r.tellAll(tx, &c, notes, records.Clusters.Put(tx, key, c))
}

// NoteMemcachedStopped writes down, while no Runner runs, that a node was stopped on purpose.
func NoteMemcachedStopped(tx *store.Tx, key, node string) error {
	return changeMemcached(tx, key, node, func(_ *cache.CacheCluster, n *cache.MemcachedNode) {
		n.Process, n.Ready, n.Failures = nil, false, 0
	})
}
