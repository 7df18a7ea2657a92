package api_test

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// losesReplies lets each request through and loses the first replies.
type losesReplies struct {
	http.RoundTripper
	left atomic.Int32
}

func (l *losesReplies) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil && l.left.Add(-1) >= 0 {
		_, err = io.Copy(io.Discard, res.Body)
		return nil, errors.Join(errors.New("connection reset by the test"), err, res.Body.Close())
	}
	return res, err
}

// TestRetriesDoNotCreateTwice loses the reply of a create. The SDK tries again by
// itself; without the kept reply it would be told that the group exists.
func TestRetriesDoNotCreateTwice(t *testing.T) {
	d := open(t, nil)
	lossy := &losesReplies{RoundTripper: transport(t)}
	lossy.left.Store(2)
	cfg := d.config(t)
	cfg.HTTPClient = &http.Client{Transport: lossy}
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Millisecond })
	}
	client := elasticache.NewFromConfig(cfg)
	in := &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("orders"), ReplicationGroupDescription: aws.String("d")}
	out, err := client.CreateReplicationGroup(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if *out.ReplicationGroup.Status != "creating" || lossy.left.Load() >= 0 {
		t.Errorf("got %+v, %d replies still to lose", out.ReplicationGroup, lossy.left.Load())
	}
	var exists *types.ReplicationGroupAlreadyExistsFault
	if _, err = client.CreateReplicationGroup(t.Context(), in); !errors.As(err, &exists) {
		t.Errorf("another call: %v", err)
	}
}
