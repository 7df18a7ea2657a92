package objects

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ExternalOptions name an S3 service of the user's own.
type ExternalOptions struct {
	// Endpoint is a URL. Empty means Amazon S3 itself.
	Endpoint string
	// PathStyle asks for /bucket/key instead of bucket.host/key, as most services
	// other than Amazon's need.
	PathStyle bool
	// Region is where bucket look-ups are sent, and the region that is assumed for a
	// service that knows none. Empty means us-east-1.
	Region string
}

// NewExternal uses the user's endpoint with the ordinary chain of credentials
// (environment, profiles, web identity, instance roles).
func NewExternal(ctx context.Context, opts ExternalOptions, load ...func(*config.LoadOptions) error) (Buckets, error) {
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("cannot load the credentials of the S3 endpoint: %w", err)
	}
	if opts.Region == "" {
		opts.Region = "us-east-1"
	}
	return &external{cfg: cfg, opts: opts}, nil
}

type external struct {
	cfg  aws.Config
	opts ExternalOptions
}

func (e *external) client(region string) *s3.Client {
	return s3.NewFromConfig(e.cfg, func(o *s3.Options) {
		o.Region = region
		o.UsePathStyle = e.opts.PathStyle
		o.DisableLogOutputChecksumValidationSkipped = true
		if e.opts.Endpoint != "" {
			o.BaseEndpoint = aws.String(e.opts.Endpoint)
			// Many services refuse the newer checksum trailers.
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
	})
}

func (e *external) Region(ctx context.Context, bucket string) (string, error) {
	out, err := e.client(e.opts.Region).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	if err == nil {
		if r := aws.ToString(out.BucketRegion); r != "" {
			return r, nil
		}
		return e.location(ctx, bucket)
	}
	_, status, header := s3Error(err)
	moved := status == http.StatusMovedPermanently || status == http.StatusBadRequest
	if r := header.Get(regionHeader); r != "" && moved {
		return e.confirm(ctx, r, bucket)
	}
	return "", bucketFault(bucket, e.opts.Region, err)
}

// confirm repeats the question in the bucket's own region: only there it is known
// whether the bucket is ours.
func (e *external) confirm(ctx context.Context, region, bucket string) (string, error) {
	if _, err := e.client(region).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}); err != nil {
		return "", bucketFault(bucket, region, err)
	}
	return region, nil
}

// location asks a service that sends no region header.
func (e *external) location(ctx context.Context, bucket string) (string, error) {
	out, err := e.client(e.opts.Region).GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &bucket})
	switch {
	case err != nil:
		return "", bucketFault(bucket, e.opts.Region, err)
	case out.LocationConstraint == "EU":
		return "eu-west-1", nil
	case out.LocationConstraint != "":
		return string(out.LocationConstraint), nil
	case e.opts.Endpoint != "":
		return e.opts.Region, nil
	}
	return "us-east-1", nil
}

func (e *external) Open(ctx context.Context, region, bucket string) (Store, error) {
	at, err := e.Region(ctx, bucket)
	if err != nil {
		return nil, err
	}
	if at != region {
		return nil, &RegionError{Bucket: bucket, Want: region, Region: at}
	}
	return S3(e.client(region), bucket, ""), nil
}

func (e *external) Access(ctx context.Context, region, bucket, user string) (Access, error) {
	return AskAccess(ctx, e.client(region), bucket, user)
}

// bucketFault maps the answer to a question about the bucket itself, where not
// found means the bucket.
func bucketFault(bucket, region string, err error) error {
	err = classify(bucket, region, err)
	if errors.Is(err, ErrNotExist) {
		err = fmt.Errorf("%w (%w)", ErrNoSuchBucket, err)
	}
	return fmt.Errorf("cannot find bucket %s: %w", bucket, err)
}
