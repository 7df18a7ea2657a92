package reconcile

import (
	"context"
	"errors"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// reboot stops a node that is to be started anew. Its replicas, if it leads, have all
// that it acknowledged by then.
func (r *Runner) reboot(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	if m.Reboot == nil || m.Reboot.Stopped {
		return nil, nil
	}
	if !v.mayStop(m) {
		return nil, errNotYet
	}
	if m.Node.Process != nil {
		if err := r.handOn(ctx, v, m); err != nil {
			return nil, fmt.Errorf("cannot reboot %s: %w", m.ID, err)
		}
		if err := r.Engines.Stop(ctx, v.asTold(m), m.Node.Process); err != nil {
			return nil, fmt.Errorf("cannot stop %s: %w", m.ID, err)
		}
	}
	return func(tx *store.Tx) error {
		return changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
			if c.Reboot == nil {
				return
			}
			c.Reboot.Stopped = true
			if c.Node.Process == nil || sameProcess(c.Node.Process, m.Node.Process) {
				c.Node.Process, c.Node.Ready, c.Node.Failures, c.Node.ExitedAt = nil, false, 0, r.Now()
			}
		})
	}, nil
}

// handOn has a primary take no more writes and waits until a replica has all of its
// data. The hold ends with the process, or by itself.
func (r *Runner) handOn(ctx context.Context, v *View, m *cache.CacheCluster) error {
	s := v.shardOf(m)
	if !s.leads(m) || len(s.replicas()) == 0 || !isReady(m) {
		return nil
	}
	present := v.asTold(m)
	if err := r.Engines.HoldWrites(ctx, present, holdFor); err != nil {
		return err
	}
	h, err := r.Engines.Probe(ctx, present)
	if err == nil {
		wait, cancel := context.WithTimeout(ctx, holdUse)
		defer cancel()
		for _, o := range s.readyReplicas() {
			if r.reaches(wait, v, o, h.Offset) {
				return nil
			}
		}
		err = errors.New("no replica comes to have all of its data")
	}
	free, cancel := context.WithTimeout(context.WithoutCancel(ctx), catchUpPatience)
	defer cancel()
	if ferr := r.Engines.FreeWrites(free, present); ferr != nil {
		return fmt.Errorf("%w; %w", err, ferr)
	}
	return err
}

// rebooted ends a reboot.
func (r *Runner) rebooted(v *View, m *cache.CacheCluster) outcome {
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || c.Reboot == nil || !c.Node.Ready || !sameProcess(c.Node.Process, m.Node.Process) {
			return err
		}
		c.Reboot = nil
		if c.Status == cache.StatusRebooting {
			c.Status = cache.StatusAvailable
		}
		if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
			return err
		}
		said := fmt.Sprintf("Cache node %s restarted", cache.NodeID)
		if err := r.event(tx, c.Region, cache.EventCluster, c.ID, "%s", said); err != nil {
			return err
		}
		if !v.isPrimary(m) || m.RunningParameters()[cache.ParamAppendOnly] == "yes" || len(v.shardOf(m).replicas()) > 0 {
			return nil
		}
		return r.event(tx, c.Region, cache.EventCluster, c.ID,
			"The data of cache node %s are lost by the reboot: it has no replica and its parameter group keeps none on disk (appendonly no)", cache.NodeID)
	}
}
