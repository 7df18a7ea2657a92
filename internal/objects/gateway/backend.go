package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3response"
)

const maxCopyBytes = 5 << 30 // of one CopyObject, as S3 has it

// durable is the library's file backend, with every write synced before it is
// acknowledged. The library itself leaves that to the kernel.
type durable struct{ *posix.Posix }

// newBackend opens <root>/<region>. It changes the working directory.
func newBackend(root, region string) (*durable, error) {
	dir := filepath.Join(root, region)
	opts := posix.PosixOpts{
		CopyObjectThreshold: maxCopyBytes, // its zero value refuses every copy
		VersioningDir:       filepath.Join(root, versionsDir, region),
		ValidateBucketNames: true,
	}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	for _, d := range []string{dir, opts.VersioningDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the directory of region %s: %w", region, err)
		}
	}
	if err := sweepUnborn(root, region); err != nil {
		return nil, err
	}
	attrs, sidecar, err := attributes(root, region)
	if err != nil {
		return nil, err
	}
	opts.SideCarDir = sidecar
	p, err := posix.New(dir, attrs, opts)
	if err != nil {
		return nil, fmt.Errorf("cannot open the objects of region %s: %w", region, err)
	}
	return &durable{p}, nil
}

// attributes chooses where S3 attributes are kept: with the files, or in a
// directory beside where the file system cannot. What was chosen once stays.
func attributes(root, region string) (meta.MetadataStorer, string, error) {
	side := filepath.Join(root, metaDir, region)
	if _, err := os.Stat(side); errors.Is(err, fs.ErrNotExist) {
		x := meta.XattrMeta{}
		if x.Test(filepath.Join(root, region)) == nil {
			return x, "", nil
		}
	}
	if err := os.MkdirAll(side, 0o700); err != nil {
		return nil, "", fmt.Errorf("cannot make the attribute directory of region %s: %w", region, err)
	}
	s, err := meta.NewSideCar(side)
	if err != nil {
		return nil, "", fmt.Errorf("cannot open the attributes of region %s: %w", region, err)
	}
	return s, side, nil
}

// PutObject syncs the bytes before they get their name, and then the name.
func (d *durable) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	in.ContentEncoding = storedEncoding(in.ContentEncoding)
	out, err := d.PutObjectWithPostFunc(ctx, in, (*os.File).Sync)
	if err == nil {
		err = syncNames(*in.Bucket, *in.Key)
	}
	return out, err
}

// CreateMultipartUpload only mends the encoding, as PutObject does.
func (d *durable) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	in.ContentEncoding = storedEncoding(in.ContentEncoding)
	return d.Posix.CreateMultipartUpload(ctx, in)
}

// storedEncoding drops aws-chunked, which tells how the body travelled and not
// what it is.
func storedEncoding(encoding *string) *string {
	if encoding == nil {
		return nil
	}
	var kept []string
	for e := range strings.SplitSeq(*encoding, ",") {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	joined := strings.Join(kept, ",")
	return &joined
}

// CompleteMultipartUpload syncs the assembled object and its name.
func (d *durable) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	out, version, err := d.Posix.CompleteMultipartUpload(ctx, in)
	if err == nil {
		err = syncObject(*in.Bucket, *in.Key)
	}
	return out, version, err
}

// CopyObject syncs the copy and its name.
func (d *durable) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	out, err := d.Posix.CopyObject(ctx, in)
	if err == nil {
		err = syncObject(*in.Bucket, *in.Key)
	}
	return out, err
}

func syncObject(bucket, key string) error {
	if err := syncFile(filepath.Join(bucket, key)); err != nil {
		return err
	}
	return syncNames(bucket, key)
}

// syncNames syncs the directories from the object up to its bucket. The working
// directory is the region's.
func syncNames(bucket, key string) error {
	for dir := filepath.Dir(filepath.Join(bucket, key)); ; dir = filepath.Dir(dir) {
		if err := syncFile(dir); err != nil {
			return err
		}
		if dir == bucket || dir == "." {
			return nil
		}
	}
}

// syncFile passes over what a concurrent delete has taken away.
func syncFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot sync %s: %w", path, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot sync %s: %w", path, err)
	}
	return nil
}
