package main

import (
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// sdkClient is the HTTP client under the SDK's, with as many connections kept as
// there are clients; the default keeps ten and opens the others anew each time.
//
// It also hides WriteTo of request bodies. The SDK closes a body as soon as an
// answer begins, its WriteTo then gives io.EOF as an error, and net/http, which
// may just be looking whether the body has ended, drops the connection in the
// middle of the answer. The SDK tries again after a pause that has nothing to do
// with what is measured here. It meets one in a hundred large answers of a
// server as near as this one.
type sdkClient struct{ *awshttp.BuildableClient }

func newSDKClient() sdkClient {
	return sdkClient{awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 2 * manyClients
	})}
}

var _ aws.HTTPClient = sdkClient{}

// Do implements aws.HTTPClient.
func (c sdkClient) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.BuildableClient.Do(r)
}
