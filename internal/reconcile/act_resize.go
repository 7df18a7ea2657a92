package reconcile

import (
	"context"
	"errors"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// resizeNode tells a running node that it is of another kind that its build serves, and
// makes sure that it has taken that. A primary that is to hold less is looked at once more
// while it takes no writes, so that nothing has to be evicted.
func (r *Runner) resizeNode(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	to, due := v.resizedTo(m)
	if !due {
		return nil, nil
	}
	if !isReady(m) || !v.mayResize(m, to) {
		return nil, errNotYet
	}
	present, changed := v.asTold(m), *m
	changed.Become(to)
	spec := v.asTold(&changed)
	held := shrinks(m, to) && v.isPrimary(m)
	if held {
		used, err := r.heldSize(ctx, present)
		if err == nil && used > spec.MaxMemory && v.upgrade().Failed != "" {
			err = fmt.Errorf("%s holds more by now than it could before", m.ID)
		}
		if err != nil || used > spec.MaxMemory {
			r.letGo(ctx, present, true)
		}
		if err != nil {
			return nil, err
		}
		if used > spec.MaxMemory {
			return r.stopResizing(v, noRoom(m, used, to, spec.MaxMemory)), nil
		}
	}
	unapplied, err := r.Engines.Apply(ctx, spec)
	if held {
		r.letGo(ctx, present, err != nil)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot resize %s: %w", m.ID, err)
	}
	h, err := r.Engines.Probe(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("cannot see whether %s is resized: %w", m.ID, err)
	}
	if h.MaxMemory != spec.MaxMemory {
		return nil, fmt.Errorf("%s holds %s after it was told to hold %s", m.ID, size(h.MaxMemory), size(spec.MaxMemory))
	}
	return r.resized(v, m, &changed, to, unapplied), nil
}

// heldSize is how much memory the data of a primary take while it takes no writes.
func (r *Runner) heldSize(ctx context.Context, spec cache.NodeSpec) (int64, error) {
	if err := r.Engines.HoldWrites(ctx, spec, holdFor); err != nil {
		return 0, err
	}
	h, err := r.Engines.Probe(ctx, spec)
	return h.UsedMemory, err
}

// letGo has a primary take writes again. Redis 6.0 does so once it is told its parameters,
// which it has not been unless it is told here. What fails here is made up for by the next time.
func (r *Runner) letGo(ctx context.Context, present cache.NodeSpec, untold bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), catchUpPatience)
	defer cancel()
	err := r.Engines.FreeWrites(ctx, present)
	if untold {
		_, failed := r.Engines.Apply(ctx, present)
		err = errors.Join(err, failed)
	}
	if err != nil {
		r.Log.Warn("writes were held and may be held still", "node", present.Key, "error", err)
	}
}

// stopResizing writes down that the data have grown too large meanwhile. All goes back
// to what it was.
func (r *Runner) stopResizing(v *View, why *cache.Fault) outcome { return r.stopShort(v, why.Message) }

// resized writes down what a node was told. Where the upgrade is over by then, it is told
// what the records say.
func (r *Runner) resized(v *View, m, changed *cache.CacheCluster, to cache.Kind, unapplied []string) outcome {
	live, _ := changed.SplitParameters()
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || !sameProcess(c.Node.Process, m.Node.Process) {
			return err // it ended meanwhile, and comes first
		}
		now, err := v.reread(tx)
		if err != nil || now == nil {
			return err
		}
		before, n := c.Node.Parameters.Told, &c.Node.Parameters
		n.Unsure = true // a promotion may have told it its former limit meanwhile: it is told once more
		if now.upgrade() == nil {
			return records.Clusters.Put(tx, c.Key(), c)
		}
		c.Become(to)
		n.Told, n.Refused = live, refused(live, unapplied)
		if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
			return err
		}
		return r.tellParameters(tx, changed, before, live, unapplied)
	}
}
