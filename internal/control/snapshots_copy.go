package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// SnapshotCopy is what CopySnapshot asks for: a copy beside the source, or, if
// Bucket is set, files in a bucket.
type SnapshotCopy struct {
	Source, Target string
	Bucket         string
	KmsKeyID       string
	Tags           []cache.Tag
}

// CopySnapshot writes a copy or an export down. It returns the record of the
// copy, or that of the source that is being exported.
func (c *Control) CopySnapshot(ctx context.Context, region string, in SnapshotCopy) (*cache.Snapshot, error) {
	if in.Source == "" {
		return nil, missing("SourceSnapshotName")
	}
	if in.Bucket != "" {
		return c.exportSnapshot(ctx, region, &in)
	}
	if err := checkID("TargetSnapshotName", in.Target, maxSnapshotName); err != nil {
		return nil, err
	}
	if err := errors.Join(checkTags(in.Tags), checkKey(region, in.KmsKeyID)); err != nil {
		return nil, err
	}
	var s cache.Snapshot
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		from, err := getReady(tx, region, in.Source, "copying")
		if err != nil {
			return err
		}
		s = *from
		s.Name, s.Source, s.CopyOf = lower(in.Target), cache.SourceManual, from.Name
		s.Status, s.Reason, s.CreatedAt, s.Tags = cache.StatusCreating, "", c.Now(), in.Tags
		s.Shards, s.Restores, s.Exports, s.Import, s.Imported = nil, nil, nil, nil, ""
		s.ProvedAt, s.Unread, s.UnreadAt = time.Time{}, "", time.Time{}
		if in.KmsKeyID != "" {
			s.KmsKeyID = in.KmsKeyID
		}
		if err := checkNoSnapshot(tx, region, s.Name); err != nil {
			return err
		}
		return records.Snapshots.Put(tx, s.Key(), s)
	})
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// ExportKey is the object that a shard of an exported snapshot becomes.
func ExportKey(target, nodeGroup string) string { return fmt.Sprintf("%s-%s.rdb", target, nodeGroup) }

func (c *Control) exportSnapshot(ctx context.Context, region string, in *SnapshotCopy) (*cache.Snapshot, error) {
	if err := checkExportName(in.Target); err != nil {
		return nil, err
	}
	if in.KmsKeyID != "" {
		return nil, conflict("The parameters KmsKeyId and TargetBucket cannot be used together: exported files are plain RDB files.")
	}
	if len(in.Tags) > 0 {
		return nil, conflict("The parameters Tags and TargetBucket cannot be used together: exported files have no tags.")
	}
	var s *cache.Snapshot
	read := func(tx *store.Tx) error {
		var err error
		s, err = getReady(tx, region, in.Source, "exporting")
		return err
	}
	if err := c.DB.View(ctx, read); err != nil {
		return nil, err
	}
	if err := c.checkTarget(ctx, region, in, s); err != nil {
		return nil, err
	}
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		if err := read(tx); err != nil {
			return err
		}
		s.Exports = append(s.Exports, cache.Export{TargetName: in.Target, Bucket: in.Bucket, StartedAt: c.Now()})
		s.Status = cache.StatusCopying
		return records.Snapshots.Put(tx, s.Key(), *s)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// checkTarget checks the bucket, and that no file would be overwritten.
func (c *Control) checkTarget(ctx context.Context, region string, in *SnapshotCopy, s *cache.Snapshot) error {
	if t, ok := cache.FindNodeType(s.NodeType); ok && t.DataTiering {
		return conflict("Snapshot %s is of a cache with data tiering (%s) and cannot be exported to a bucket.", s.Name, s.NodeType)
	}
	if err := c.checkBucket(ctx, region, in.Bucket); err != nil {
		return err
	}
	if err := c.Buckets.Granted(ctx, region, in.Bucket); err != nil {
		return bucketFault(in.Bucket, err)
	}
	for _, shard := range s.Shards {
		key := ExportKey(in.Target, shard.NodeGroupID)
		taken, err := c.Buckets.Exists(ctx, region, in.Bucket, key)
		if err != nil {
			return bucketFault(in.Bucket, err)
		}
		if taken {
			return invalid("The S3 bucket %s already contains an object with key %s.", in.Bucket, key)
		}
	}
	return nil
}

// getReady reads a snapshot that is complete and not being worked on.
func getReady(tx *store.Tx, region, name, purpose string) (*cache.Snapshot, error) {
	s, err := getSnapshot(tx, region, name)
	if err != nil {
		return nil, err
	}
	if s.Status != cache.StatusAvailable || s.Deleting {
		return nil, notValid(&s, purpose)
	}
	return &s, nil
}

// notValid says that the state of a snapshot does not allow something, and why it has
// that state if there is a reason.
func notValid(s *cache.Snapshot, purpose string) error {
	why := ""
	if s.Status == cache.StatusFailed && s.Reason != "" {
		why = " The reason: " + s.Reason
	}
	return cache.Faultf(codeSnapshotState, "Snapshot %s has status %s which is not valid for %s.%s", s.Name, s.Status, purpose, why)
}

func getSnapshot(tx *store.Tx, region, name string) (cache.Snapshot, error) {
	s, ok, err := records.Snapshots.Get(tx, cache.Key(region, lower(name)))
	if err == nil && !ok {
		err = snapshotNotFound(name)
	}
	return s, err
}

// DeleteSnapshot writes down that a snapshot is to go. One that something is
// being made of stays.
func (c *Control) DeleteSnapshot(ctx context.Context, region, name string) (*cache.Snapshot, error) {
	if name == "" {
		return nil, missing("SnapshotName")
	}
	var s cache.Snapshot
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s, err = getSnapshot(tx, region, name); err != nil {
			return err
		}
		ended := s.Status == cache.StatusAvailable || s.Status == cache.StatusFailed
		if !ended || s.Deleting || len(s.Restores) > 0 || len(s.Exports) > 0 {
			return cache.Faultf(codeSnapshotState, "Snapshot %s has status %s which is not valid for deletion.", s.Name, s.Status)
		}
		if busy, err := beingCopied(tx, &s); err != nil || busy != "" {
			if err == nil {
				err = cache.Faultf(codeSnapshotState, "Snapshot %s is being copied to %s and cannot be deleted.", s.Name, busy)
			}
			return err
		}
		s.Deleting, s.Status = true, cache.StatusDeleting
		return records.Snapshots.Put(tx, s.Key(), s)
	})
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// beingCopied names a copy of the snapshot that is not complete yet.
func beingCopied(tx *store.Tx, s *cache.Snapshot) (string, error) {
	all, err := records.Snapshots.List(tx, records.InRegion(s.Region))
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(o cache.Snapshot) bool {
		return o.CopyOf == s.Name && o.Status == cache.StatusCreating
	})
	if i < 0 {
		return "", nil
	}
	return all[i].Name, nil
}

// SnapshotFilter is what DescribeSnapshots asks for; empty fields match all.
type SnapshotFilter struct {
	Name, GroupID, ClusterID string
	Source                   string // "user" or "system"
}

// DescribeSnapshots returns the page of the snapshots that match, in the order of
// their names. A name that there is not is a fault.
func (c *Control) DescribeSnapshots(ctx context.Context, region string, f SnapshotFilter, page Page[cache.Snapshot]) ([]cache.Snapshot, error) {
	source := map[string]string{"": "", "user": cache.SourceManual, "system": cache.SourceAutomated}
	want, ok := source[f.Source]
	if !ok {
		return nil, invalid("The parameter SnapshotSource must be user or system. Provided value: %s", f.Source)
	}
	var out []cache.Snapshot
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		all, err := listSnapshots(tx, region, f.Name)
		if err != nil {
			return err
		}
		out, err = page.of(keepIf(all, func(s *cache.Snapshot) bool {
			return (want == "" || s.Source == want) &&
				(f.GroupID == "" || s.GroupID == lower(f.GroupID)) &&
				(f.ClusterID == "" || s.ClusterID == lower(f.ClusterID))
		}))
		return err
	})
	return out, err
}

func listSnapshots(tx *store.Tx, region, name string) ([]cache.Snapshot, error) {
	if name != "" {
		s, err := getSnapshot(tx, region, name)
		return []cache.Snapshot{s}, err
	}
	return records.Snapshots.List(tx, records.InRegion(region))
}
