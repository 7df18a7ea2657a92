package front_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"holdfast.dev/internal/objects/front"
	"holdfast.dev/internal/objects/gateway"
)

const (
	childArg  = "s3-child-of-the-test"
	parentArg = "s3-parent-of-the-test"
	keyID     = "AKIAHOLDFASTTEST0001"
	secret    = "a-secret-for-these-tests"
	account   = "000000000000"
	near, far = "us-east-1", "eu-west-1"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		if err := gateway.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// service is the front door over a pool, as the API server will hold it.
type service struct {
	pool *gateway.Pool
	root string
	url  string
}

func newService(t testing.TB) *service {
	t.Helper()
	return newServiceAt(t, t.TempDir())
}

func newServiceAt(t testing.TB, root string) *service {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := gateway.NewPool(gateway.Options{
		Root: root, Command: []string{exe, childArg}, Account: account,
		Keys: []gateway.Key{{AccessKeyID: keyID, Secret: secret}},
		Log:  slog.New(slog.NewTextHandler(testLog{t}, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(front.New(front.Options{Pool: pool, Region: signedRegion, Log: slog.New(slog.NewTextHandler(testLog{t}, nil))}))
	t.Cleanup(func() {
		srv.Close()
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return &service{pool: pool, root: root, url: srv.URL}
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

var scope = regexp.MustCompile(`Credential=[^/]+/\d+/([^/]+)/s3/aws4_request`)

// signedRegion stands in for the API's verifier: the child verifies signatures again.
func signedRegion(r *http.Request) string {
	s := r.Header.Get("Authorization")
	if c := r.URL.Query().Get("X-Amz-Credential"); c != "" {
		s = "Credential=" + c
	}
	if m := scope.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

func (s *service) client(t testing.TB, region string, opts ...func(*s3.Options)) *s3.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		Region: region, BaseEndpoint: aws.String(s.url), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
		HTTPClient:  &http.Client{Transport: transport},
		// As a client made from the environment has it.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,

		DisableLogOutputChecksumValidationSkipped: true,
	}, opts...)
}

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// bucket creates a bucket in a region.
func (s *service) bucket(t testing.TB, region, name string) {
	t.Helper()
	in := &s3.CreateBucketInput{Bucket: &name}
	if region != near {
		in.CreateBucketConfiguration = constraint(region)
	}
	if _, err := s.client(t, region).CreateBucket(limited(t), in); err != nil {
		t.Fatal(err)
	}
}
