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
// written is the work of an earlier attempt and counts as done. What cannot get
// better by another attempt is taken back: see Retract.
func (m *Mover) Export(ctx context.Context, s cache.Snapshot, e cache.Export) error {
	bucket, err := m.Buckets.Open(ctx, s.Region, e.Bucket)
	if err != nil {
		return classify(err)
	}
	x := &export{Mover: m, bucket: bucket, mark: exportMark(&s, &e)}
	for i, shard := range s.Shards {
		key := exportKey(e.TargetName, i)
		x.key, x.note = key, noteKey(&s, &e, key)
		if err := x.shard(ctx, shard); err != nil {
			if errors.Is(err, cache.ErrPermanent) {
				err = errors.Join(err, m.Retract(ctx, s, e))
			}
			return err
		}
	}
	return nil
}

// export is one file on its way to a bucket.
type export struct {
	*Mover
	bucket          objects.Store
	key, note, mark string
}

func (x *export) shard(ctx context.Context, shard cache.ShardSnapshot) error {
	// Before anything else: once the object is there nobody asks what an attempt
	// that was cut short has left beside it.
	if err := x.sweep(ctx, x.bucket, x.note); err != nil {
		return err
	}
	in, _, err := x.Snapshots.Open(ctx, shard.Object, 0)
	if err != nil {
		return missing(err)
	}
	defer in.Close()
	w, err := x.bucket.Create(ctx, x.key, objects.PutOptions{IfAbsent: true, Mark: x.mark, Note: x.noted})
	if errors.Is(err, objects.ErrExist) {
		return x.mine(ctx, shard)
	}
	if err != nil {
		return fmt.Errorf("cannot create %s: %w", x.key, classify(err))
	}
	err = x.fill(ctx, in, w, shard)
	if aerr := w.Abort(); aerr != nil {
		return errors.Join(err, aerr) // the note stays, so that the next attempt ends the upload
	}
	if cerr := x.Snapshots.Delete(context.WithoutCancel(ctx), x.note); cerr != nil {
		return errors.Join(err, fmt.Errorf("cannot remove the note of an upload: %w", cerr))
	}
	return err
}

// fill sends the file and makes it visible if it was what its manifest says.
func (x *export) fill(ctx context.Context, in io.Reader, w objects.Writer, shard cache.ShardSnapshot) error {
	man, err := newPassage(in, w).examine(ctx, x.key)
	if err != nil {
		return err
	}
	if err := same(shard.Manifest, man); err != nil {
		return err
	}
	_, err = w.Commit(ctx)
	if errors.Is(err, objects.ErrExist) {
		return x.mine(ctx, shard)
	}
	if err != nil {
		return fmt.Errorf("cannot store %s: %w", x.key, classify(err))
	}
	return nil
}

// mine settles whether an object that stands in the way is this very export.
func (x *export) mine(ctx context.Context, shard cache.ShardSnapshot) error {
	info, err := x.bucket.Stat(ctx, x.key)
	if err == nil && info.Mark == x.mark && info.Size == shard.Manifest.Bytes {
		return nil
	}
	in, _, err := x.bucket.Open(ctx, x.key, 0)
	if err != nil {
		return fmt.Errorf("cannot read the object %s that is there already: %w", x.key, err)
	}
	defer in.Close()
	man, err := newPassage(in, io.Discard).examine(ctx, x.key)
	if err != nil && !errors.Is(err, cache.ErrPermanent) {
		return fmt.Errorf("cannot read the object %s that is there already: %w", x.key, err)
	}
	if err != nil || man.SHA256 != shard.Manifest.SHA256 {
		return fmt.Errorf("the bucket already contains an object with key %s: %w", x.key, cache.ErrPermanent)
	}
	return nil
}
