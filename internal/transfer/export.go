package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
)

// Export writes the files of a snapshot into a bucket of its region. An object
// that is there already is never replaced; one that holds exactly what was to be
// written is the work of an earlier attempt and counts as done.
func (m *Mover) Export(ctx context.Context, s cache.Snapshot, e cache.Export) error {
	bucket, err := m.Buckets.Open(ctx, s.Region, e.Bucket)
	if err != nil {
		return classify(err)
	}
	for i, shard := range s.Shards {
		if err := m.exportShard(ctx, bucket, exportKey(e.TargetName, i), shard); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mover) exportShard(ctx context.Context, bucket objects.Store, key string, shard cache.ShardSnapshot) error {
	in, _, err := m.Snapshots.Open(ctx, shard.Object, 0)
	if err != nil {
		return missing(err)
	}
	defer in.Close()
	w, err := bucket.Create(ctx, key, objects.PutOptions{IfAbsent: true})
	if errors.Is(err, objects.ErrExist) {
		return m.mine(ctx, bucket, key, shard)
	}
	if err != nil {
		return fmt.Errorf("cannot create %s: %w", key, classify(err))
	}
	defer w.Abort()
	man, err := newPassage(in, w).examine(ctx, key)
	if err != nil {
		return err
	}
	if err := same(shard.Manifest, man); err != nil {
		return err
	}
	_, err = w.Commit(ctx)
	if errors.Is(err, objects.ErrExist) {
		return m.mine(ctx, bucket, key, shard)
	}
	if err != nil {
		return fmt.Errorf("cannot store %s: %w", key, err)
	}
	return nil
}

// mine settles whether an object that stands in the way is this very export.
func (m *Mover) mine(ctx context.Context, bucket objects.Store, key string, shard cache.ShardSnapshot) error {
	in, _, err := bucket.Open(ctx, key, 0)
	if err != nil {
		return fmt.Errorf("cannot read the object %s that is there already: %w", key, err)
	}
	defer in.Close()
	man, err := newPassage(in, io.Discard).examine(ctx, key)
	if err != nil && !errors.Is(err, cache.ErrPermanent) {
		return fmt.Errorf("cannot read the object %s that is there already: %w", key, err)
	}
	if err != nil || man.SHA256 != shard.Manifest.SHA256 {
		return fmt.Errorf("the bucket already contains an object with key %s: %w", key, cache.ErrPermanent)
	}
	return nil
}
