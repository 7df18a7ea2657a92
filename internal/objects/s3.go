package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// bucketStore is a Store over a prefix of an S3 bucket.
type bucketStore struct {
	client         *s3.Client
	bucket, prefix string
}

// S3 returns the store of the keys of bucket that begin with prefix (which may be
// empty, and is put before keys as it stands). Nothing is asked of the service
// until the store is used.
func S3(client *s3.Client, bucket, prefix string) Store {
	return &bucketStore{client: client, bucket: bucket, prefix: prefix}
}

// name is the full key. A service has its own rules for keys; what none of them
// takes is refused here.
func (b *bucketStore) name(key string) (*string, error) {
	full := b.prefix + key
	if key == "" || len(full) > maxKeyBytes {
		return nil, fmt.Errorf("key %q: %w", key, ErrBadKey)
	}
	return &full, nil
}

func (b *bucketStore) Stat(ctx context.Context, key string) (Info, error) {
	name, err := b.name(key)
	if err != nil {
		return Info{}, err
	}
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.bucket, Key: name})
	if err != nil {
		return Info{}, b.fault("stat", key, err)
	}
	return Info{
		Key: key, Size: aws.ToInt64(out.ContentLength),
		ETag: unquote(out.ETag), ModTime: aws.ToTime(out.LastModified), Mark: out.Metadata[markHeader],
	}, nil
}

func (b *bucketStore) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, Info, error) {
	name, err := b.name(key)
	if err != nil {
		return nil, Info{}, err
	}
	if offset < 0 {
		return nil, Info{}, fmt.Errorf("cannot open object %s at %d", key, offset)
	}
	r := &bucketReader{store: b, ctx: func() context.Context { return ctx }, name: name, info: Info{Key: key}, at: offset}
	if err := r.connect(); err != nil {
		return nil, Info{}, err
	}
	return r, r.info, nil
}

func (b *bucketStore) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{
			Bucket: &b.bucket, Prefix: aws.String(b.prefix + prefix),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Info{}, b.fault("list", prefix, err))
				return
			}
			for _, o := range page.Contents {
				info := Info{
					Key: strings.TrimPrefix(aws.ToString(o.Key), b.prefix), Size: aws.ToInt64(o.Size),
					ETag: unquote(o.ETag), ModTime: aws.ToTime(o.LastModified),
				}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

func (b *bucketStore) Delete(ctx context.Context, key string) error {
	name, err := b.name(key)
	if err != nil {
		return err
	}
	_, err = b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.bucket, Key: name})
	if err = b.fault("delete", key, err); errors.Is(err, ErrNotExist) {
		return nil
	}
	return err
}

// fault maps the service's errors to our sentinels; nil stays nil.
func (b *bucketStore) fault(verb, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot %s object s3://%s/%s%s: %w", verb, b.bucket, b.prefix, key, classify(b.bucket, "", err))
}

// classify adds the sentinel that an S3 error stands for. want is the region that
// the request was signed for, if known.
func classify(bucket, want string, err error) error {
	code, status, header := s3Error(err)
	var is error
	switch {
	case code == "NoSuchBucket":
		is = ErrNoSuchBucket
	case code == "PermanentRedirect", status == http.StatusMovedPermanently,
		code == "AuthorizationHeaderMalformed" && header.Get(regionHeader) != "",
		code == "IllegalLocationConstraintException":
		is = &RegionError{Bucket: bucket, Want: want, Region: header.Get(regionHeader)}
	case code == "NoSuchKey", status == http.StatusNotFound && code != "NoSuchUpload":
		is = ErrNotExist
	case code == "PreconditionFailed", status == http.StatusPreconditionFailed:
		is = ErrExist
	case status == http.StatusForbidden && code != "QuotaExceeded":
		is = ErrAccessDenied
	case status == http.StatusInsufficientStorage, code == "QuotaExceeded", code == "NoSpaceLeftOnDevice":
		is = ErrNoSpace
	default:
		return err
	}
	return fmt.Errorf("%w (%w)", is, err)
}

const regionHeader = "X-Amz-Bucket-Region"

// s3Error takes the error code, the HTTP status and the headers out of an SDK error. What
// an answer without a body (HEAD) leaves unsaid is empty.
func s3Error(err error) (code string, status int, header http.Header) {
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil {
		return code, resp.HTTPStatusCode(), resp.Response.Header
	}
	var noBucket *types.NoSuchBucket
	if code == "" && errors.As(err, &noBucket) {
		code = "NoSuchBucket"
	}
	return code, 0, http.Header{}
}

func unquote(etag *string) string {
	s := aws.ToString(etag)
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return s
}
