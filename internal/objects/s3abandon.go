package objects

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// clockSlack is by how much the service's clock may be behind ours: what began a
// little too early by it may still be ours.
const clockSlack = 2 * time.Minute

// Abandon implements Abandoner.
func (b *bucketStore) Abandon(ctx context.Context, u Upload) error {
	name, err := b.name(u.Key)
	if err != nil {
		return err
	}
	if u.ID != "" {
		return b.abort(ctx, name, u.ID)
	}
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.bucket, Prefix: name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return b.fault("list the uploads of", u.Key, err)
		}
		for _, found := range page.Uploads {
			if aws.ToString(found.Key) != *name || aws.ToTime(found.Initiated).Before(u.At.Add(-clockSlack)) {
				continue
			}
			if err := b.abortEmpty(ctx, name, aws.ToString(found.UploadId)); err != nil {
				return err
			}
		}
	}
	return nil
}

// abortEmpty ends an upload unless it has a part: ours died before it sent one.
func (b *bucketStore) abortEmpty(ctx context.Context, name *string, id string) error {
	out, err := b.client.ListParts(ctx, &s3.ListPartsInput{Bucket: &b.bucket, Key: name, UploadId: &id, MaxParts: aws.Int32(1)})
	switch err = b.fault("list the parts of", *name, err); {
	case err != nil:
		return ignoreNoUpload(err)
	case len(out.Parts) > 0:
		return nil
	}
	return b.abort(ctx, name, id)
}

func (b *bucketStore) abort(ctx context.Context, name *string, id string) error {
	_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.bucket, Key: name, UploadId: &id})
	return ignoreNoUpload(b.fault("end the upload of", *name, err))
}

// ignoreNoUpload drops the error that there is no such upload any more.
func ignoreNoUpload(err error) error {
	if code, status, _ := s3Error(err); code == "NoSuchUpload" || status == http.StatusNotFound && !errors.Is(err, ErrNoSuchBucket) {
		return nil
	}
	return err
}
