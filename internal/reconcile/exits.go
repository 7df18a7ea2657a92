package reconcile

import (
	"context"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// attend waits for the end of every process that stands in the records, those
// that an earlier run of the service started too.
func (r *Runner) attend(ctx context.Context, clusters []cache.CacheCluster) {
	for _, c := range clusters {
		if c.Memcached != nil {
			r.attendMemcached(ctx, &c)
			continue
		}
		r.attendNode(ctx, c)
		if c.Node.Next != nil {
			next := c.Replacement()
			r.attendNode(ctx, next)
		}
	}
}

func (r *Runner) attendNode(ctx context.Context, c cache.CacheCluster) {
	if c.Node.Process == nil || r.attended[*c.Node.Process] {
		return
	}
	r.attended[*c.Node.Process] = true
	r.work.Go(func() { r.awaitExit(ctx, c) })
}

func (r *Runner) awaitExit(ctx context.Context, c cache.CacheCluster) {
	p := *c.Node.Process
	spec := cache.NodeSpec{Key: c.NodeKey(), Build: c.Node.Build, Address: c.Node.Address}
	var alive bool
	// Whether it lives has to be known: a node that was taken for dead by mistake
	// would be replaced while it serves.
	if !r.insist(ctx, "cannot watch a node's process", c.Key(), func() (err error) {
		alive, err = r.Engines.Adopt(ctx, spec, p)
		return err
	}) {
		return
	}
	if alive {
		select {
		case <-r.Engines.Exited(p):
		case <-ctx.Done():
			return
		}
	}
	r.insist(ctx, "cannot write a node's end down", c.Key(), func() error { return r.noteExit(ctx, c.Key(), p) })
}

// insist does something until it succeeds, and returns false if the context
// ends before that.
func (r *Runner) insist(ctx context.Context, trouble, node string, do func() error) bool {
	for attempts := 1; ; attempts++ {
		err := do()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		r.Log.Error(trouble, "node", node, "error", err)
		r.rest(ctx, retryDelay(attempts))
	}
}

// rest lets time pass, unless the context ends.
func (r *Runner) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// noteExit writes down that a node's process has ended. Planning does the rest.
func (r *Runner) noteExit(ctx context.Context, key string, p cache.Process) error {
	return r.DB.Update(ctx, func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, key)
		if err != nil || !ok {
			return err
		}
		if next := c.Node.Next; next != nil && sameProcess(next.Process, &p) {
			r.noteNextExit(next)
			return records.Clusters.Put(tx, key, c)
		}
		if !sameProcess(c.Node.Process, &p) {
			return err
		}
		n := &c.Node
		wasReady := n.Ready
		n.Process, n.Ready, n.ExitedAt = nil, false, r.Now()
		n.Heirless, n.Silent = false, false
		n.Failures = proc.DefaultBackoff.Failures(n.Failures, n.StartedAt, n.ExitedAt)
		asked := c.Deletion != nil || c.Reboot != nil || c.Status == cache.StatusRestoreFailed || n.Next != nil && n.Next.TakingOver
		if wasReady && !asked {
			n.Recovering = true
		}
		if err := records.Clusters.Put(tx, key, c); err != nil {
			return err
		}
		if err := forgetAttempts(tx, key); err != nil {
			return err
		}
		if wasReady && !asked && n.Role == cache.RolePrimary {
			if err := noteDeath(tx, &c); err != nil {
				return err
			}
		}
		if n.Role != cache.RolePrimary || c.GroupID == "" {
			// That of a primary is told when another node leads, or when it is started.
			if err := r.tellRecovery(tx, key); err != nil {
				return err
			}
		}
		if c.Status == cache.StatusCreating {
			return seedAgain(tx, &c)
		}
		return nil
	})
}

// noteDeath has the report of an upgrade tell that a primary ended meanwhile.
func noteDeath(tx *store.Tx, c *cache.CacheCluster) error {
	v := View{Members: []cache.CacheCluster{*c}}
	if c.GroupID != "" {
		v.Group = &cache.ReplicationGroup{Region: c.Region, ID: c.GroupID}
	}
	return changeUpgrade(tx, &v, func(u *cache.Upgrade) { u.Died++ })
}

// forgetAttempts: that a node could not be replaced while it lived does not tell that it
// cannot be succeeded.
func forgetAttempts(tx *store.Tx, key string) error {
	id := Action{Kind: actTakeOver, Target: key}.ID()
	s, ok, err := records.Steps.Get(tx, id)
	if err != nil || !ok || s.State != cache.StepFailed {
		return err
	}
	return records.Steps.Delete(tx, id)
}

// noteNextExit: whether it was about to take over is kept, for it may have done so.
func (r *Runner) noteNextExit(n *cache.Node) {
	n.Process, n.Ready, n.Compared, n.ExitedAt = nil, false, false, r.Now()
	n.Failures = proc.DefaultBackoff.Failures(n.Failures, n.StartedAt, n.ExitedAt)
}

// NoteParked writes down, while no Runner runs, that a node refuses writes and
// that its data are in its seed file, to be loaded at its next start. A Runner
// that finds it still running makes it serve again.
func NoteParked(tx *store.Tx, key string) error {
	return changeCluster(tx, key, func(c *cache.CacheCluster) { c.Node.Parked, c.Node.Ready = true, false })
}

// NoteStopped writes down, while no Runner runs, that a node was stopped on purpose.
func NoteStopped(tx *store.Tx, key string) error {
	c, ok, err := records.Clusters.Get(tx, key)
	if err != nil || !ok {
		return err
	}
	c.Node.Process, c.Node.Ready, c.Node.Failures = nil, false, 0
	if n := c.Node.Next; n != nil {
		n.Process, n.Ready, n.Compared, n.TakingOver = nil, false, false, false
	}
	if err := records.Clusters.Put(tx, key, c); err != nil {
		return err
	}
	// What it is told at its next start it is told anew.
	if err := records.Steps.Delete(tx, Action{Kind: actConfigure, Target: key}.ID()); err != nil {
		return err
	}
	if c.Status == cache.StatusCreating && !c.Node.Parked {
		return seedAgain(tx, &c)
	}
	return nil
}
