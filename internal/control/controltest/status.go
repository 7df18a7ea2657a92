package controltest

import (
	"context"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// SetStatus puts a group, cluster or snapshot into a state, and forgets what was
// asked of it before.
func (w *World) SetStatus(ctx context.Context, region, kind, id string, s cache.Status) error {
	key := cache.Key(region, id)
	return w.DB.Update(ctx, func(tx *store.Tx) error {
		switch kind {
		case "group":
			return setGroup(tx, key, s)
		case "cluster":
			return setCluster(tx, key, s)
		case "snapshot":
			n, _, err := records.Snapshots.Get(tx, key)
			n.Status, n.Deleting, n.Exports, n.Restores = s, s == cache.StatusDeleting, nil, nil
			if err != nil {
				return err
			}
			return records.Snapshots.Put(tx, key, n)
		}
		return fmt.Errorf("there is no kind %q", kind)
	})
}

func setGroup(tx *store.Tx, key string, s cache.Status) error {
	g, _, err := records.Groups.Get(tx, key)
	if err != nil {
		return err
	}
	g.Status, g.Deletion, g.Change, g.Test = s, nil, nil, nil
	for _, id := range g.Members {
		of := s
		if s == cache.StatusCreateFailed {
			of = cache.StatusRestoreFailed
		}
		if err := setCluster(tx, cache.Key(g.Region, id), of); err != nil {
			return err
		}
	}
	return records.Groups.Put(tx, key, g)
}

func setCluster(tx *store.Tx, key string, s cache.Status) error {
	k, _, err := records.Clusters.Get(tx, key)
	if err != nil {
		return err
	}
	k.Status, k.Deletion, k.ManualBackups = s, nil, nil
	return records.Clusters.Put(tx, key, k)
}
