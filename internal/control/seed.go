package control

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// findSeed looks up where the first data is to come from: a snapshot, an object,
// or nil for nowhere.
func (c *Control) findSeed(ctx context.Context, region string, a *Asked) (*cache.Seed, *cache.Snapshot, error) {
	switch {
	case a.SnapshotName != "":
		var from *cache.Snapshot
		err := c.DB.View(ctx, func(tx *store.Tx) error {
			var err error
			from, err = restorable(tx, region, a.SnapshotName)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		seed := &cache.Seed{SnapshotName: from.Name}
		for _, s := range from.Shards {
			if s.Manifest != nil {
				seed.Bytes += s.Manifest.Bytes
			}
		}
		return seed, from, nil
	case len(a.SnapshotARNs) > 0:
		seed := &cache.Seed{ObjectARNs: a.SnapshotARNs}
		for _, arn := range a.SnapshotARNs {
			n, err := c.objectSize(ctx, region, arn)
			if err != nil {
				return nil, nil, err
			}
			seed.Bytes += n
		}
		return seed, nil, nil
	}
	return nil, nil, nil
}

// restorable reads a snapshot that can be restored. Several caches may be
// restored from one at a time.
func restorable(tx *store.Tx, region, name string) (*cache.Snapshot, error) {
	name = lower(name)
	s, ok, err := records.Snapshots.Get(tx, cache.Key(region, name))
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, snapshotNotFound(name)
	case s.Deleting || s.Status != cache.StatusAvailable && s.Status != cache.StatusRestoring:
		return nil, notValid(&s, "restoring")
	}
	return &s, nil
}

// checkRestore holds an engine against the one that wrote a snapshot: the same
// or newer, from Redis to any Valkey, and from Valkey 7.2 back to Redis 7.1.
func checkRestore(from *cache.Snapshot, engine, version string) error {
	ok := false
	switch engine {
	case from.Engine:
		ok = cache.CompareVersions(version, from.EngineVersion) >= 0
	case cache.Valkey:
		ok = from.Engine == cache.Redis
	case cache.Redis:
		ok = from.Engine == cache.Valkey && strings.HasPrefix(from.EngineVersion, "7.2") && version == "7.1"
	}
	if !ok {
		return conflict("Snapshot %s was taken from %s %s and cannot be restored to %s %s: the engine version must not be older.",
			from.Name, from.Engine, from.EngineVersion, engine, version)
	}
	return nil
}

// checkClusterRestore refuses data that a cache of the mode decided on cannot take.
func checkClusterRestore(d *decided, from *cache.Snapshot, arns []string) error {
	switch {
	case d.cluster:
		return nil
	case from != nil && from.ClusterEnabled():
		return conflict("Snapshot %s was taken with cluster mode enabled and cannot be restored to a cache with cluster mode disabled.", from.Name)
	case len(arns) > 1:
		return invalid("The parameter SnapshotArns must hold exactly one ARN without cluster mode. Provided: %d", len(arns))
	}
	return nil
}

const s3Prefix = "arn:aws:s3:::"

// objectSize checks one of SnapshotArns and returns the size of what it names.
func (c *Control) objectSize(ctx context.Context, region, arn string) (int64, error) {
	rest, ok := strings.CutPrefix(arn, s3Prefix)
	bucket, key, found := strings.Cut(rest, "/")
	switch {
	case strings.Contains(arn, ","):
		return 0, invalid("The parameter SnapshotArns must not contain a comma within an ARN. Provided value: %s", arn)
	case !ok || !found || bucket == "" || key == "":
		return 0, invalid("The parameter SnapshotArns must hold ARNs of the form arn:aws:s3:::bucket/folder/file.rdb. Provided value: %s", arn)
	}
	if err := c.checkBucket(ctx, region, bucket); err != nil {
		return 0, err
	}
	n, err := c.Buckets.Size(ctx, region, bucket, key)
	if errors.Is(err, ErrNoObject) {
		return 0, invalid("The S3 bucket %s does not contain an object with key %s.", bucket, key)
	}
	return n, bucketFault(bucket, err)
}

func (c *Control) checkBucket(ctx context.Context, region, bucket string) error {
	return bucketFault(bucket, c.Buckets.Check(ctx, region, bucket))
}

// bucketFault says what is wrong with a bucket in ElastiCache's words.
func bucketFault(bucket string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrOtherRegion):
		return invalid("The S3 bucket %s is outside of the region.", bucket)
	case errors.Is(err, ErrNoBucket):
		return invalid("The S3 bucket %s does not exist.", bucket)
	case errors.Is(err, ErrNotOwner):
		return invalid("The S3 bucket %s is not owned by the authenticated user.", bucket)
	case errors.Is(err, ErrDenied):
		return invalid("The authenticated user does not have sufficient permissions to perform the desired activity.")
	}
	for missing, permission := range map[error]string{ErrNoRead: "READ", ErrNoWrite: "WRITE", ErrNoReadACP: "READ_ACP"} {
		if errors.Is(err, missing) {
			return invalid("ElastiCache has not been granted %s permissions %s on the S3 Bucket.", permission, bucket)
		}
	}
	return fmt.Errorf("cannot look at the bucket %s: %w", bucket, err)
}

// markRestore notes on the snapshot that a cache is being created from it, so
// that it stays until then.
func markRestore(tx *store.Tx, region string, seed *cache.Seed, key string) error {
	if seed == nil || seed.SnapshotName == "" {
		return nil
	}
	s, err := restorable(tx, region, seed.SnapshotName)
	if err != nil {
		return err
	}
	s.Restores = append(s.Restores, key)
	s.Status = cache.StatusRestoring
	return records.Snapshots.Put(tx, s.Key(), *s)
}
