package reconcile

import (
	"context"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// finish makes a created unit available. What its primary was seeded from has
// been verified and written down as such, so the file can go.
func (r *Runner) finish(ctx context.Context, v *View) (outcome, error) {
	if s := v.seed(); s != nil && !s.Verified {
		return nil, nil // it has to be loaded once more
	}
	if err := r.formed(ctx, v); err != nil {
		return nil, err
	}
	for _, s := range v.shards() {
		if s.Primary == nil || v.seed() == nil {
			continue
		}
		// It has been running without a limit of its memory until now.
		if err := r.Engines.Reconfigure(ctx, v.asTold(s.Primary)); err != nil {
			return nil, err
		}
		if err := r.Engines.ClearSeed(ctx, v.asTold(s.Primary)); err != nil {
			return nil, err
		}
	}
	unapplied := make([][]string, len(v.Members))
	for i := range v.Members {
		var err error
		if unapplied[i], err = r.Engines.Unapplied(ctx, v.asTold(&v.Members[i])); err != nil {
			return nil, err
		}
	}
	return func(tx *store.Tx) error {
		if whole, err := stillReady(tx, v); err != nil || !whole {
			return err // a node ended meanwhile and is brought up first
		}
		for i := range v.Members {
			if err := r.finishCluster(tx, &v.Members[i], unapplied[i]); err != nil {
				return err
			}
		}
		if v.Group != nil {
			err := changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) { g.Status = cache.StatusAvailable })
			if err != nil {
				return err
			}
			if err := r.unitEvent(tx, v, "Replication group %s created", v.Group.ID); err != nil {
				return err
			}
		}
		return releaseSnapshot(tx, v)
	}, nil
}

// formed waits until every node of a group in cluster mode knows the whole cluster.
func (r *Runner) formed(ctx context.Context, v *View) error {
	if !v.clustered() {
		return nil
	}
	for i := range v.Members {
		if err := r.Engines.AwaitFormed(ctx, v.asTold(&v.Members[i])); err != nil {
			return err
		}
	}
	return nil
}

// stillReady tells whether every member is as it was when v was read, and ready.
func stillReady(tx *store.Tx, v *View) (bool, error) {
	for i := range v.Members {
		m := &v.Members[i]
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || !c.Node.Ready || !sameProcess(c.Node.Process, m.Node.Process) {
			return false, err
		}
	}
	return true, nil
}

// finishCluster makes a member available, and says what serves it and which
// parameters that does not honour.
func (r *Runner) finishCluster(tx *store.Tx, m *cache.CacheCluster, unapplied []string) error {
	err := changeCluster(tx, m.Key(), func(c *cache.CacheCluster) { c.Status = cache.StatusAvailable })
	if err != nil {
		return err
	}
	err = r.event(tx, m.Region, cache.EventCluster, m.ID,
		"Engine version %s %s is served by the installed build %s", m.Engine, m.EngineVersion, m.Node.Build)
	if err != nil {
		return err
	}
	if len(unapplied) > 0 {
		err := r.event(tx, m.Region, cache.EventCluster, m.ID,
			"Parameters of %s that are not as they should be, because the build does not know them or this machine does not allow as much: %s", m.ParameterGroup, strings.Join(unapplied, ", "))
		if err != nil {
			return err
		}
	}
	return r.event(tx, m.Region, cache.EventCluster, m.ID, "Cache cluster created")
}

// giveUp ends a creation that cannot succeed. What runs is swept away next.
func (r *Runner) giveUp(unit string, v *View, reason string) outcome {
	return func(tx *store.Tx) error {
		for i := range v.Members {
			err := changeCluster(tx, v.Members[i].Key(), func(c *cache.CacheCluster) {
				// ElastiCache has no "create-failed" for clusters.
				c.Status, c.Reason = cache.StatusRestoreFailed, reason
			})
			if err != nil {
				return err
			}
		}
		what := "cache cluster"
		if v.Group != nil {
			what = "replication group"
			err := changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) {
				g.Status, g.Reason = cache.StatusCreateFailed, reason
			})
			if err != nil {
				return err
			}
		}
		if err := r.unitEvent(tx, v, "Failed to create the %s: %s", what, reason); err != nil {
			return err
		}
		if err := forgetSteps(tx, unit); err != nil {
			return err
		}
		return releaseSnapshot(tx, v)
	}
}

// keep calls a deletion off because its final snapshot failed.
func (r *Runner) keep(v *View) outcome {
	name := v.deletion().FinalSnapshot
	return func(tx *store.Tx) error {
		for i := range v.Members {
			err := changeCluster(tx, v.Members[i].Key(), func(c *cache.CacheCluster) {
				c.Status, c.Deletion = cache.StatusAvailable, nil
			})
			if err != nil {
				return err
			}
		}
		if v.Group != nil {
			err := changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) {
				g.Status, g.Deletion = cache.StatusAvailable, nil
			})
			if err != nil {
				return err
			}
		}
		return r.unitEvent(tx, v, "Deletion called off: the final snapshot %s failed and nothing was deleted", name)
	}
}

// drop deletes the records of a unit whose processes and directories are gone.
func (r *Runner) drop(unit string, v *View) outcome {
	return func(tx *store.Tx) error {
		for i := range v.Members {
			m := &v.Members[i]
			if err := records.Clusters.Delete(tx, m.Key()); err != nil {
				return err
			}
			if err := r.event(tx, m.Region, cache.EventCluster, m.ID, "Cache cluster deleted"); err != nil {
				return err
			}
			if err := records.ReleaseAddresses(tx, records.ClusterOwner(m.Key())); err != nil {
				return err
			}
			if err := records.ReleaseAddresses(tx, records.NextOwner(m.Key())); err != nil {
				return err
			}
		}
		if v.Group != nil {
			if err := records.Groups.Delete(tx, v.Group.Key()); err != nil {
				return err
			}
			if err := r.unitEvent(tx, v, "Replication group %s deleted", v.Group.ID); err != nil {
				return err
			}
			if err := records.ReleaseAddresses(tx, records.GroupOwner(v.Group.Key())); err != nil {
				return err
			}
		}
		if err := releaseSnapshot(tx, v); err != nil {
			return err
		}
		return forgetSteps(tx, unit)
	}
}

// forgetSteps deletes what is written down of a unit's actions.
func forgetSteps(tx *store.Tx, unit string) error {
	for s, err := range records.Steps.Peek(tx, "") {
		if err != nil {
			return err
		}
		if s.Unit != unit {
			continue
		}
		if err := records.Steps.Delete(tx, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// releaseSnapshot lets go of the snapshot that a unit was created from.
func releaseSnapshot(tx *store.Tx, v *View) error {
	s := v.seed()
	if s == nil || s.SnapshotName == "" {
		return nil
	}
	return changeSnapshot(tx, cache.Key(v.region(), s.SnapshotName), func(s *cache.Snapshot) {
		s.Restores = slices.DeleteFunc(s.Restores, func(k string) bool { return k == v.key() })
		if len(s.Restores) == 0 && s.Status == cache.StatusRestoring {
			s.Status = cache.StatusAvailable
		}
	})
}
