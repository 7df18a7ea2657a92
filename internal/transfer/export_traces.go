package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
)

// An export leaves two kinds of traces by which it is known again after its process
// has died. Its objects carry a mark made from what was asked. And an upload in parts,
// which a bucket keeps and bills without showing it, is written down beside the
// snapshot before it begins: no upload of anybody else is ever touched.

// exportMark is the mark of the objects of one export.
func exportMark(s *cache.Snapshot, e *cache.Export) string {
	return digest("export", s.Key(), e.Bucket, e.TargetName, strconv.FormatInt(e.StartedAt.UnixNano(), 10))
}

// noteKey is where the upload of an object is written down, in the snapshot store.
func noteKey(s *cache.Snapshot, e *cache.Export, object string) string {
	return path.Join(s.Region, s.Name, "upload-"+digest(e.Bucket, object)+".json")
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%q\n", p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// noted writes an upload down.
func (x *export) noted(ctx context.Context, u objects.Upload) error {
	b, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("cannot encode the note of an upload: %w", err)
	}
	_, err = objects.Put(ctx, x.Snapshots, x.note, bytes.NewReader(b), objects.PutOptions{})
	return err
}

// sweep ends the upload that a note speaks of, if there is one.
func (m *Mover) sweep(ctx context.Context, bucket objects.Store, note string) error {
	in, _, err := m.Snapshots.Open(ctx, note, 0)
	if errors.Is(err, objects.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := io.ReadAll(in)
	if err := errors.Join(err, in.Close()); err != nil {
		return fmt.Errorf("cannot read the note of an upload: %w", err)
	}
	var u objects.Upload
	if err := json.Unmarshal(b, &u); err != nil {
		return fmt.Errorf("cannot read the note of an upload: %w", err)
	}
	if a, ok := bucket.(objects.Abandoner); ok {
		if err := a.Abandon(ctx, u); err != nil {
			return err
		}
	}
	return m.Snapshots.Delete(ctx, note)
}

// Retract takes back what an export has left in its bucket: uploads that were cut
// short, and the files of some shards where those of others could not be written.
// Only objects that carry the export's own mark are deleted.
func (m *Mover) Retract(ctx context.Context, s cache.Snapshot, e cache.Export) error {
	bucket, err := m.Buckets.Open(ctx, s.Region, e.Bucket)
	if errors.Is(err, objects.ErrNoSuchBucket) {
		return nil
	}
	if err != nil {
		return classify(err)
	}
	var errs []error
	for i := range s.Shards {
		key := exportKey(e.TargetName, i)
		errs = append(errs, m.sweep(ctx, bucket, noteKey(&s, &e, key)), retractObject(ctx, bucket, key, exportMark(&s, &e)))
	}
	return errors.Join(errs...)
}

func retractObject(ctx context.Context, bucket objects.Store, key, mark string) error {
	info, err := bucket.Stat(ctx, key)
	switch {
	case errors.Is(err, objects.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mark != mark:
		return nil // another's
	}
	return bucket.Delete(ctx, key)
}
