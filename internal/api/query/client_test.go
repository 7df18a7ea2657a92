package query_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"holdfast.dev/internal/api"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
)

const (
	keyID  = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// rootKeys is one access key of the account 000000000000.
type rootKeys struct{}

func (rootKeys) Secret(id string) (string, sigv4.Identity, bool) {
	return secret, sigv4.Identity{Account: "000000000000", ARN: "arn:aws:iam::000000000000:root", UserID: "000000000000"}, id == keyID
}

// privateBody replaces the request's body with a reader that closing does not
// touch. smithy closes the body as soon as the reply's headers are there, and
// net/http's write loop may then take the connection down with the reply half read.
type privateBody struct{ http.RoundTripper }

func (t privateBody) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return t.RoundTripper.RoundTrip(r)
}

// newClient serves svc behind the real front door and returns the SDK's client of it.
func newClient(t testing.TB, svc *query.Service) *elasticache.Client {
	t.Helper()
	door, err := api.New(api.Config{Keys: rootKeys{}, Services: []*query.Service{svc}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(door)
	t.Cleanup(srv.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return elasticache.New(elasticache.Options{
		BaseEndpoint:     aws.String(srv.URL),
		Region:           "eu-west-1",
		Credentials:      credentials.NewStaticCredentialsProvider(keyID, secret, ""),
		HTTPClient:       &http.Client{Transport: privateBody{transport}},
		RetryMaxAttempts: 1,
	})
}
