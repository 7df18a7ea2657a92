package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

func (r *Runner) snapshotRecord(ctx context.Context, key string) (cache.Snapshot, error) {
	var s cache.Snapshot
	err := r.DB.View(ctx, func(tx *store.Tx) error {
		found, ok, err := records.Snapshots.Get(tx, key)
		if err == nil && !ok {
			err = fmt.Errorf("there is no snapshot %s any more: %w", key, cache.ErrPermanent)
		}
		s = found
		return err
	})
	return s, err
}

func (r *Runner) start(ctx context.Context, v *View, m *cache.CacheCluster, spec cache.NodeSpec, w want) (outcome, error) {
	if v.isPrimary(m) && v.orphaned(v.shardOf(m)) {
		return nil, nil // a replica got its data after this was planned
	}
	if v.isPrimary(m) {
		if out, err := r.strays(ctx, v, m); out != nil || err != nil {
			return out, err
		}
		if out, err := r.askNext(ctx, v, m, spec); out != nil || err != nil {
			return out, err
		}
	}
	if m.Node.Parked {
		// A file that is gone has been loaded once, by a run whose end was not
		// seen: what it held died with that run, as it would have without parking.
		if _, err := os.Stat(r.Engines.SeedPath(spec)); errors.Is(err, fs.ErrNotExist) {
			spec.Seeded = false
		}
	}
	_, found, err := r.Engines.Running(ctx, spec) // of a start whose end was not seen
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", m.ID, err)
	}
	p, err := r.Engines.Start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", m.ID, err)
	}
	return func(tx *store.Tx) error {
		err := changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
			n := &c.Node
			n.Process, n.Ready, n.StartedAt = &p, false, r.Now()
			n.Role, n.Primary, n.Binds, n.Transit = w.Role, w.Primary, w.Binds, spec.Transit.Mode
			n.Heirless, n.Silent = false, false
			n.Parameters = m.StartedParameters()
			noteAccess(n, spec, found)
		})
		if err != nil {
			return err
		}
		return r.tellRecovery(tx, m.Key())
	}, nil
}

func (r *Runner) ready(ctx context.Context, m *cache.CacheCluster, spec cache.NodeSpec) (outcome, error) {
	h, err := r.Engines.AwaitReady(ctx, spec)
	if errors.Is(err, cache.ErrAmbiguous) {
		return func(tx *store.Tx) error { return TellAgain(tx, m) }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s does not become ready: %w", m.ID, err)
	}
	if m.Node.Parked {
		if err := r.Engines.ClearSeed(ctx, spec); err != nil {
			return nil, err
		}
	}
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || !sameProcess(c.Node.Process, m.Node.Process) {
			return err // it ended meanwhile, and what ended is not ready
		}
		recovered := c.Node.Recovering
		c.Node.Ready, c.Node.Recovering, c.Node.RecoveryTold, c.Node.Parked = true, false, false, false
		if err := records.Clusters.Put(tx, c.Key(), c); err != nil || !recovered {
			return err
		}
		if err := forgetPromotion(tx, &c); err != nil {
			return err
		}
		if err := r.event(tx, c.Region, cache.EventCluster, c.ID, "Finished recovery for cache nodes %s", cache.NodeID); err != nil {
			return err
		}
		if c.Node.Role != cache.RolePrimary || h.Keys > 0 || c.Status == cache.StatusCreating {
			return nil // nothing is lost, or nothing had been there
		}
		return r.event(tx, c.Region, cache.EventCluster, c.ID,
			"Cache node %s restarted without data: no replica had any and its parameter group keeps none on disk (appendonly no)", cache.NodeID)
	}, nil
}

// forgetPromotion lets go of a failover that found nobody to lead: the primary itself
// has come back.
func forgetPromotion(tx *store.Tx, c *cache.CacheCluster) error {
	if c.GroupID == "" || c.Node.Role != cache.RolePrimary {
		return nil
	}
	target := cache.Key(c.Region, c.GroupID)
	if c.NodeGroupID != "" {
		target += " " + c.NodeGroupID
	}
	return records.Steps.Delete(tx, Action{Kind: actPromote, Target: target}.ID())
}

// TellAgain makes a node be told its role, addresses and parameters once more:
// it may have been told something else than its record says. Planned like an
// attempt that was cut short.
func TellAgain(tx *store.Tx, c *cache.CacheCluster) error {
	unit := clusterUnit(c.Key())
	if c.GroupID != "" {
		unit = groupUnit(cache.Key(c.Region, c.GroupID))
	}
	id := Action{Kind: actConfigure, Target: c.Key()}.ID()
	if _, open, err := records.Steps.Get(tx, id); open || err != nil {
		return err
	}
	return records.Steps.Put(tx, id, cache.Step{
		ID: id, Kind: string(actConfigure), Unit: unit, Target: c.Key(), State: cache.StepRunning, Attempts: 1,
	})
}

func (r *Runner) configure(ctx context.Context, v *View, m *cache.CacheCluster, spec cache.NodeSpec, w want) (outcome, error) {
	err := r.Engines.Reconfigure(ctx, spec)
	if errors.Is(err, cache.ErrTorn) {
		return r.mend(ctx, m, spec)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot configure %s: %w", m.ID, err)
	}
	promoted := m.Node.Role == cache.RoleReplica && w.Role == cache.RolePrimary
	return func(tx *store.Tx) error {
		err := changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
			if sameProcess(c.Node.Process, m.Node.Process) {
				c.Node.Role, c.Node.Primary, c.Node.Binds, c.Node.Transit = w.Role, w.Primary, w.Binds, spec.Transit.Mode
			}
		})
		if err != nil || !promoted {
			return err
		}
		return r.failedOver(tx, v, m)
	}, nil
}

// mend ends the process of a node that no command turns round any more. Its data are
// put aside and loaded by its next start, as the primary that it is to be.
func (r *Runner) mend(ctx context.Context, m *cache.CacheCluster, spec cache.NodeSpec) (outcome, error) {
	if err := r.Engines.Shelve(ctx, spec); err != nil {
		return nil, err
	}
	err := r.DB.Update(ctx, func(tx *store.Tx) error {
		if err := NoteParked(tx, m.Key()); err != nil {
			return err
		}
		return r.event(tx, m.Region, cache.EventCluster, m.ID,
			"Cache node %s is started again with its data: it takes itself for a primary and for a replica at once", cache.NodeID)
	})
	if err != nil {
		return nil, err
	}
	return nil, r.Engines.Fence(ctx, spec, m.Node.Process)
}

func (r *Runner) remove(ctx context.Context, m *cache.CacheCluster, spec cache.NodeSpec) (outcome, error) {
	if err := r.Engines.Stop(ctx, spec, m.Node.Process); err != nil {
		return nil, fmt.Errorf("cannot stop %s: %w", m.ID, err)
	}
	if err := r.removeNext(ctx, m); err != nil {
		return nil, err
	}
	if err := r.Engines.Remove(ctx, spec); err != nil {
		return nil, fmt.Errorf("cannot delete the directory of %s: %w", m.ID, err)
	}
	return func(tx *store.Tx) error {
		return changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
			c.Node.Process, c.Node.Ready, c.Node.Recovering, c.Node.Gone = nil, false, false, true
			c.Node.Next, c.Node.Discard = nil, nil
		})
	}, nil
}

func (r *Runner) forward(ctx context.Context, v *View, a Action) error {
	if err := r.stand(ctx, v, a); err != nil {
		return fmt.Errorf("cannot answer at %s: %w", hostPort(a.At), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forwards = maps.Clone(r.forwards) // the former is being read
	r.forwards[a.At] = slices.Clone(a.To)
	return nil
}

// stand puts up the forwarder that the addresses of an action speak of.
func (r *Runner) stand(ctx context.Context, v *View, a Action) error {
	to, logins := withoutLogins(a.To)
	own, mixed := ownAddresses(to)
	switch {
	case logins && mixed:
		return r.Endpoints.SetLogin(ctx, a.At, own, v.key(), true)
	case logins:
		return r.Endpoints.SetLogin(ctx, a.At, to, v.key(), false)
	case mixed:
		return r.Endpoints.SetMixed(ctx, a.At, own)
	}
	return r.Endpoints.Set(ctx, a.At, to)
}

func (r *Runner) unforward(ctx context.Context, a Action) error {
	if err := r.Endpoints.Remove(ctx, a.At); err != nil {
		return fmt.Errorf("cannot stop answering at %s: %w", hostPort(a.At), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forwards = maps.Clone(r.forwards)
	delete(r.forwards, a.At)
	return nil
}

func sameProcess(a, b *cache.Process) bool {
	return a != nil && b != nil && *a == *b
}
