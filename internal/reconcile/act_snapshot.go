package reconcile

import (
	"context"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// snapshot backs a unit up: every shard as of an instant of its own, all or none.
func (r *Runner) snapshot(ctx context.Context, unit string, a Action) (outcome, error) {
	s, err := r.snapshotRecord(ctx, a.Target)
	if err != nil {
		return nil, err
	}
	v, err := r.view(ctx, unit)
	if err != nil {
		return nil, err
	}
	taken, err := r.takeShards(ctx, v, &s)
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		err := changeSnapshot(tx, s.Key(), func(s *cache.Snapshot) {
			s.Shards, s.Status, s.Stopped = nil, cache.StatusAvailable, nil
			for _, t := range taken {
				s.Shards = append(s.Shards, t.ShardSnapshot)
			}
		})
		if err != nil {
			return err
		}
		if err := r.tellTaken(tx, &s, taken); err != nil {
			return err
		}
		if err := liftDeletion(tx, v, s.Name); err != nil {
			return err
		}
		return leaveSnapshotting(tx, v)
	}, nil
}

// tellTaken adds the events of a snapshot that is done: how, and that.
func (r *Runner) tellTaken(tx *store.Tx, s *cache.Snapshot, taken []takenShard) error {
	source, id, words := about(s)
	for _, t := range taken {
		if err := r.event(tx, s.Region, source, id, "Snapshot %s: %s", s.Name, t.how); err != nil {
			return err
		}
	}
	return r.event(tx, s.Region, source, id, "Snapshot succeeded for snapshot with ID '%s' of %s with ID '%s'", s.Name, words, id)
}

// liftDeletion writes down that a deletion waits for its final snapshot no
// longer. Whatever becomes of that snapshot from now on, it is not called off.
func liftDeletion(tx *store.Tx, v *View, snapshot string) error {
	lift := func(d *cache.Deletion) {
		if d != nil && d.FinalSnapshot == snapshot {
			d.FinalSnapshot = ""
		}
	}
	if v.Group != nil {
		return changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) { lift(g.Deletion) })
	}
	return changeCluster(tx, v.Members[0].Key(), func(c *cache.CacheCluster) { lift(c.Deletion) })
}

// about is the event source of a snapshot and how ElastiCache speaks of it.
func about(s *cache.Snapshot) (sourceType, id, words string) {
	if s.GroupID == "" && s.ClusterID == "" { // it was imported
		return cache.EventGroup, s.Name, "snapshot"
	}
	if s.GroupID != "" {
		return cache.EventGroup, s.GroupID, "replication group"
	}
	return cache.EventCluster, s.ClusterID, "cache cluster"
}

// leaveSnapshotting makes a unit available again. One that is being deleted stays so.
func leaveSnapshotting(tx *store.Tx, v *View) error {
	for i := range v.Members {
		err := changeCluster(tx, v.Members[i].Key(), func(c *cache.CacheCluster) {
			if c.Status == cache.StatusSnapshotting {
				c.Status = cache.StatusAvailable
			}
		})
		if err != nil {
			return err
		}
	}
	if v.Group == nil {
		return nil
	}
	return changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) {
		if g.Status == cache.StatusSnapshotting {
			g.Status = cache.StatusAvailable
		}
	})
}

func (r *Runner) actOnSnapshot(ctx context.Context, a Action) (outcome, error) {
	s, err := r.snapshotRecord(ctx, a.Target)
	if err != nil && a.Kind == actScrub && ctx.Err() == nil {
		return nil, nil // it was deleted meanwhile
	}
	if err != nil {
		return nil, err
	}
	switch a.Kind {
	case actCopy:
		return r.copy(ctx, s)
	case actExport:
		return r.export(ctx, s)
	case actImport:
		return r.importFiles(ctx, s)
	case actScrub:
		return r.scrub(ctx, s, a.Reason)
	case actUnstage:
		return r.unstage(ctx, s)
	case actExpire:
		return r.expire(s), nil
	}
	if _, err := r.unstage(ctx, s); err != nil {
		return nil, err
	}
	if err := r.Transfers.Erase(ctx, s); err != nil {
		return nil, fmt.Errorf("cannot delete the files of snapshot %s: %w", s.Name, err)
	}
	return func(tx *store.Tx) error {
		if err := forgetSteps(tx, snapshotUnit(s.Key())); err != nil {
			return err
		}
		// Another of its name must not be taken for one that cannot be read.
		if err := records.Steps.Delete(tx, Action{Kind: actScrub, Target: s.Key()}.ID()); err != nil {
			return err
		}
		return records.Snapshots.Delete(tx, s.Key())
	}, nil
}

func (r *Runner) copy(ctx context.Context, to cache.Snapshot) (outcome, error) {
	from, err := r.snapshotRecord(ctx, cache.Key(to.Region, to.CopyOf))
	if err != nil {
		return nil, err
	}
	shards, err := r.Transfers.Copy(ctx, from, to)
	if err != nil {
		return nil, fmt.Errorf("cannot copy snapshot %s: %w", from.Name, err)
	}
	return func(tx *store.Tx) error {
		return changeSnapshot(tx, to.Key(), func(s *cache.Snapshot) {
			s.Shards, s.Status = shards, cache.StatusAvailable
		})
	}, nil
}

func (r *Runner) export(ctx context.Context, s cache.Snapshot) (outcome, error) {
	if len(s.Exports) == 0 {
		return nil, nil
	}
	e := s.Exports[0]
	if err := r.Transfers.Export(ctx, s, e); err != nil {
		return nil, fmt.Errorf("cannot export snapshot %s to bucket %s: %w", s.Name, e.Bucket, err)
	}
	return func(tx *store.Tx) error {
		if err := endExport(tx, s.Key()); err != nil {
			return err
		}
		source, id, _ := about(&s)
		return r.event(tx, s.Region, source, id, "Snapshot %s exported to bucket %s as %s", s.Name, e.Bucket, e.TargetName)
	}, nil
}

// endExport takes the first export off the list.
func endExport(tx *store.Tx, key string) error {
	return changeSnapshot(tx, key, func(s *cache.Snapshot) {
		if len(s.Exports) > 0 {
			s.Exports = s.Exports[1:]
		}
		if len(s.Exports) == 0 && s.Status == cache.StatusCopying {
			s.Status = cache.StatusAvailable
		}
	})
}

// abandonSnapshot writes down that a backup has failed for good, and removes what
// there is of it. The cache goes on as if nothing had been asked.
func (r *Runner) abandonSnapshot(ctx context.Context, v *View, a Action) outcome {
	r.clear(ctx, a.Target)
	return func(tx *store.Tx) error {
		if err := r.failSnapshot(tx, a); err != nil {
			return err
		}
		if err := records.Steps.Delete(tx, Action{Kind: actSnapshot, Target: a.Target}.ID()); err != nil {
			return err
		}
		return leaveSnapshotting(tx, v)
	}
}

// clear removes the files of a snapshot that has failed. What cannot be removed
// now, because the store is what failed, goes when the snapshot is deleted.
func (r *Runner) clear(ctx context.Context, key string) {
	s, err := r.snapshotRecord(ctx, key)
	if err == nil && s.Status == cache.StatusCreating {
		err = r.Transfers.Erase(ctx, s)
	}
	if err != nil && ctx.Err() == nil {
		r.Log.Warn("what was stored of a failed snapshot is there still", "snapshot", key, "error", err)
	}
}

// abandonTransfer does so for a copy or an export.
func (r *Runner) abandonTransfer(ctx context.Context, a Action) outcome {
	r.clear(ctx, a.Target)
	r.retract(ctx, a.Target)
	return func(tx *store.Tx) error {
		s, ok, err := records.Snapshots.Get(tx, a.Target)
		if err != nil || !ok {
			return err
		}
		failed := actExport
		if s.Status == cache.StatusCreating {
			failed, err = becomes(&s), r.failSnapshot(tx, a)
		} else {
			err = r.failExport(tx, &s, a.Reason)
		}
		if err != nil {
			return err
		}
		return records.Steps.Delete(tx, Action{Kind: failed, Target: a.Target}.ID())
	}
}

func (r *Runner) failSnapshot(tx *store.Tx, a Action) error {
	s, ok, err := records.Snapshots.Get(tx, a.Target)
	if err != nil || !ok {
		return err
	}
	s.Status, s.Reason, s.Stopped = cache.StatusFailed, a.Reason, nil
	if s.Import != nil {
		s.Reason += "; its files are kept in incoming/" + s.Region + "/" + s.Import.Staged + " until it is deleted"
	}
	if err := records.Snapshots.Put(tx, s.Key(), s); err != nil {
		return err
	}
	source, id, words := about(&s)
	return r.event(tx, s.Region, source, id, "Snapshot failed for snapshot with ID '%s' of %s with ID '%s': %s", s.Name, words, id, s.Reason)
}

func (r *Runner) failExport(tx *store.Tx, s *cache.Snapshot, reason string) error {
	if err := endExport(tx, s.Key()); err != nil {
		return err
	}
	source, id, _ := about(s)
	return r.event(tx, s.Region, source, id, "Export of snapshot %s failed: %s", s.Name, reason)
}
