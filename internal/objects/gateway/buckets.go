package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"holdfast.dev/internal/objects"
)

// Bucket is one bucket of the embedded service.
type Bucket struct {
	Name, Region string
	Created      time.Time
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Locate tells the region of a bucket; ok is false when there is no such bucket.
// Where a bucket is, is where its directory is: no second record can disagree.
func (p *Pool) Locate(bucket string) (region string, ok bool, err error) {
	if !bucketName.MatchString(bucket) {
		return "", false, nil
	}
	regions, err := p.Regions()
	if err != nil {
		return "", false, err
	}
	for _, region := range regions {
		st, err := os.Stat(filepath.Join(p.opts.Root, region, bucket))
		if err == nil && st.IsDir() {
			return region, true, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", false, fmt.Errorf("cannot look for bucket %s: %w", bucket, err)
		}
	}
	return "", false, nil
}

// Regions lists, sorted, the regions that have ever been used.
func (p *Pool) Regions() ([]string, error) {
	entries, err := os.ReadDir(p.opts.Root)
	if err != nil {
		return nil, fmt.Errorf("cannot list the regions of the S3 service: %w", err)
	}
	var regions []string
	for _, e := range entries {
		if e.IsDir() && ValidRegion(e.Name()) {
			regions = append(regions, e.Name())
		}
	}
	return regions, nil
}

// List returns the buckets of every region, sorted by name.
func (p *Pool) List() ([]Bucket, error) {
	regions, err := p.Regions()
	if err != nil {
		return nil, err
	}
	var all []Bucket
	for _, region := range regions {
		entries, err := os.ReadDir(filepath.Join(p.opts.Root, region))
		if err != nil {
			return nil, fmt.Errorf("cannot list buckets: %w", err)
		}
		for _, e := range entries {
			if !e.IsDir() || !bucketName.MatchString(e.Name()) {
				continue
			}
			created, err := birth(filepath.Join(p.opts.Root, region, e.Name()))
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("cannot list buckets: %w", err)
			}
			all = append(all, Bucket{Name: e.Name(), Region: region, Created: created})
		}
	}
	slices.SortFunc(all, func(a, b Bucket) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// LockNames makes what follows, until unlock is called, the only creation of a
// bucket: a name must be free in every region before one region takes it.
func (p *Pool) LockNames() (unlock func()) {
	p.create.Lock()
	return p.create.Unlock
}

// Client returns an S3 client of the region that acts as the service itself. It
// stays valid over restarts of the child.
func (p *Pool) Client(region string) *s3.Client {
	return s3.New(s3.Options{
		Region: region, UsePathStyle: true, BaseEndpoint: aws.String(ChildURL),
		Credentials:                p.Credentials(),
		HTTPClient:                 doer(func(r *http.Request) (*http.Response, error) { return p.RoundTrip(region, r) }),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		RetryMaxAttempts:           5,
		// Bodies are checked by their CRC. Hashing them besides, at both ends, would only
		// guard against somebody inside a socket that nobody else can open.
		APIOptions: []func(*middleware.Stack) error{v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware},

		DisableLogOutputChecksumValidationSkipped: true,
	})
}

// ChildURL is scheme and host of every request to a child. The host only fills a
// place: the region decides the socket.
const ChildURL = "http://s3.internal"

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// Credentials are the service's own, drawn anew at each start of it.
func (p *Pool) Credentials() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(p.internal.AccessKeyID, p.internal.Secret, "")
}

// Buckets returns the view of package objects on the embedded service.
func (p *Pool) Buckets() objects.Buckets { return embedded{p} }

type embedded struct{ pool *Pool }

func (e embedded) Region(_ context.Context, bucket string) (string, error) {
	region, ok, err := e.pool.Locate(bucket)
	if err == nil && !ok {
		err = fmt.Errorf("cannot find bucket %s: %w", bucket, objects.ErrNoSuchBucket)
	}
	return region, err
}

func (e embedded) Open(ctx context.Context, region, bucket string) (objects.Store, error) {
	at, err := e.Region(ctx, bucket)
	if err != nil {
		return nil, err
	}
	if at != region {
		return nil, &objects.RegionError{Bucket: bucket, Want: region, Region: at}
	}
	return objects.S3(e.pool.Client(region), bucket, ""), nil
}

func (e embedded) Access(ctx context.Context, region, bucket, user string) (objects.Access, error) {
	return objects.AskAccess(ctx, e.pool.Client(region), bucket, user)
}
