package controltest

import (
	"context"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// SnapshotBytes is the size of every file that Settle makes.
const SnapshotBytes = 3 << 20

// Settle makes everything that is asked for true, as a reconciler would.
func (w *World) Settle(ctx context.Context) error {
	return w.DB.Update(ctx, func(tx *store.Tx) error {
		for _, step := range []func(*store.Tx) error{w.snapshots, w.groups, w.clusters, w.erase} {
			if err := step(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// each changes every record of a table; one that keep returns false for is deleted.
func each[T any](tx *store.Tx, t store.Table[T], keep func(*T) (bool, error)) error {
	for item, err := range t.Scan(tx, "", "") {
		if err != nil {
			return err
		}
		stays, err := keep(&item.Value)
		switch {
		case err != nil:
			return err
		case stays:
			err = t.Put(tx, item.Key, item.Value)
		default:
			err = t.Delete(tx, item.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *World) snapshots(tx *store.Tx) error {
	return each(tx, records.Snapshots, func(s *cache.Snapshot) (bool, error) {
		if s.Status == cache.StatusCreating {
			node := s.ClusterID
			if node == "" {
				node = cache.MemberID(s.GroupID, 1)
			}
			s.Status = cache.StatusAvailable
			s.Shards = []cache.ShardSnapshot{{
				NodeGroupID: cache.NodeGroupID, ClusterID: node, Object: s.Name, TakenAt: w.Now(),
				Manifest: &cache.Manifest{Bytes: SnapshotBytes, Keys: 1000, Version: "7.0.15"},
			}}
		}
		for _, e := range s.Exports {
			w.Buckets.Put(e.Bucket, control.ExportKey(e.TargetName, cache.NodeGroupID), SnapshotBytes)
		}
		if len(s.Exports) > 0 {
			s.Exports, s.Status = nil, cache.StatusAvailable
		}
		return true, nil
	})
}

// erase comes last: what is restored from a snapshot needs it until then.
func (w *World) erase(tx *store.Tx) error {
	return each(tx, records.Snapshots, func(s *cache.Snapshot) (bool, error) { return !s.Deleting, nil })
}

func (w *World) groups(tx *store.Tx) error {
	return each(tx, records.Groups, func(g *cache.ReplicationGroup) (bool, error) {
		if g.Deletion != nil {
			if err := records.AddEvent(tx, g.Region, cache.EventGroup, g.ID, "Replication group "+g.ID+" deleted", w.Now()); err != nil {
				return false, err
			}
			if err := release(tx, g.Region, g.Key(), g.Seed); err != nil {
				return false, err
			}
			return false, records.ReleaseAddresses(tx, records.GroupOwner(g.Key()))
		}
		if g.Status == cache.StatusCreating {
			if err := records.AddEvent(tx, g.Region, cache.EventGroup, g.ID, "Replication group "+g.ID+" created", w.Now()); err != nil {
				return false, err
			}
		}
		if c := g.Change; c != nil && c.Promote != "" {
			g.Primary = c.Promote
		}
		if err := w.upgradeGroup(tx, g); err != nil {
			return false, err
		}
		if err := w.reshard(tx, g); err != nil {
			return false, err
		}
		if err := w.leavers(tx, g); err != nil {
			return false, err
		}
		g.Status, g.Change, g.Test = cache.StatusAvailable, nil, nil
		return true, release(tx, g.Region, g.Key(), g.Seed)
	})
}

// leavers takes the members out of a group that are to go.
func (w *World) leavers(tx *store.Tx, g *cache.ReplicationGroup) error {
	for _, id := range slices.Clone(g.Members) {
		k, _, err := records.Clusters.Get(tx, cache.Key(g.Region, id))
		if err != nil {
			return err
		}
		if k.Leaving() {
			g.RemoveMember(id)
		}
	}
	return nil
}

func (w *World) clusters(tx *store.Tx) error {
	return each(tx, records.Clusters, func(k *cache.CacheCluster) (bool, error) {
		if k.Memcached != nil {
			return w.memcached(tx, k)
		}
		if k.Deletion != nil {
			if err := release(tx, k.Region, k.Key(), k.Seed); err != nil {
				return false, err
			}
			return false, records.ReleaseAddresses(tx, records.ClusterOwner(k.Key()))
		}
		if k.Status == cache.StatusCreating {
			if err := records.AddEvent(tx, k.Region, cache.EventCluster, k.ID, "Cache cluster created", w.Now()); err != nil {
				return false, err
			}
		}
		if k.Status == cache.StatusCreating || k.Reboot != nil {
			k.Node.Parameters = k.StartedParameters()
		}
		if err := w.upgradeCluster(tx, k); err != nil {
			return false, err
		}
		k.Node.Parameters.Told, _ = k.SplitParameters()
		k.Node.Parameters.Unsure = false
		k.Status, k.Reboot = cache.StatusAvailable, nil
		k.Node.Process, k.Node.Ready = &cache.Process{PID: 1}, true
		k.Node.Access, k.Node.Blocked = k.Access.Digest(), k.Blocked()
		return true, release(tx, k.Region, k.Key(), k.Seed)
	})
}

// release lets go of the snapshot that a cache was created from.
func release(tx *store.Tx, region, key string, seed *cache.Seed) error {
	if seed == nil || seed.SnapshotName == "" {
		return nil
	}
	s, ok, err := records.Snapshots.Get(tx, cache.Key(region, seed.SnapshotName))
	if err != nil || !ok {
		return err
	}
	s.Restores = slices.DeleteFunc(s.Restores, func(k string) bool { return k == key })
	if len(s.Restores) == 0 && s.Status == cache.StatusRestoring {
		s.Status = cache.StatusAvailable
	}
	return records.Snapshots.Put(tx, s.Key(), s)
}

// Fail ends the creation of a group as one that cannot succeed.
func (w *World) Fail(ctx context.Context, region, id, reason string) error {
	return w.DB.Update(ctx, func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, cache.Key(region, id))
		if err != nil {
			return err
		}
		g.Status, g.Reason = cache.StatusCreateFailed, reason
		for _, m := range g.Members {
			k, _, err := records.Clusters.Get(tx, cache.Key(region, m))
			if err != nil {
				return err
			}
			k.Status = cache.StatusRestoreFailed
			if err := records.Clusters.Put(tx, k.Key(), k); err != nil {
				return err
			}
		}
		return records.Groups.Put(tx, g.Key(), g)
	})
}
