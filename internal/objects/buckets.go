package objects

import (
	"context"
	"fmt"
	"strings"
)

// Buckets finds S3 buckets. Names are global over regions, and each bucket is in
// one region.
type Buckets interface {
	// Region tells the region of a bucket: ErrNoSuchBucket, or ErrAccessDenied when it
	// belongs to somebody else.
	Region(ctx context.Context, bucket string) (string, error)
	// Open returns the store of a bucket that exists and is in region: otherwise
	// ErrNoSuchBucket, ErrAccessDenied or a *RegionError.
	Open(ctx context.Context, region, bucket string) (Store, error)
	// Access tells what a bucket of region, which Open has found, lets a canonical
	// user do.
	Access(ctx context.Context, region, bucket, user string) (Access, error)
}

const arnPrefix = "arn:aws:s3:::"

// ParseARN splits arn:aws:s3:::bucket/folder/key into bucket and key.
func ParseARN(arn string) (bucket, key string, err error) {
	rest, ok := strings.CutPrefix(arn, arnPrefix)
	if !ok {
		return "", "", fmt.Errorf("%q is not an S3 object ARN (%sbucket/key)", arn, arnPrefix)
	}
	bucket, key, ok = strings.Cut(rest, "/")
	if !ok || bucket == "" || key == "" {
		return "", "", fmt.Errorf("%q names no object (%sbucket/key)", arn, arnPrefix)
	}
	return bucket, key, nil
}

// ARN is the reverse of ParseARN.
func ARN(bucket, key string) string { return arnPrefix + bucket + "/" + key }
