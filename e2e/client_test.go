package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// rootKey is the installation's access key.
func (s *service) rootKey() (id, secret string) {
	s.t.Helper()
	var key struct{ AccessKeyID, SecretAccessKey string }
	b, err := os.ReadFile(filepath.Join(s.dir, "credentials.json"))
	if err == nil {
		err = json.Unmarshal(b, &key)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return key.AccessKeyID, key.SecretAccessKey
}

// config is how an SDK client reaches the service. It repeats only requests
// that were not answered.
func (s *service) config(region string) aws.Config {
	id, secret := s.rootKey()
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: 20 * time.Second}).DialContext}
	s.t.Cleanup(transport.CloseIdleConnections)
	return aws.Config{
		Region:       region,
		BaseEndpoint: aws.String("http://" + s.listen),
		Credentials:  credentials.NewStaticCredentialsProvider(id, secret, ""),
		HTTPClient:   &http.Client{Transport: &unhurried{transport}, Timeout: patience},
		Retryer:      func() aws.Retryer { return stubborn{service: s} },
	}
}

// unhurried gives the transport a body of its own. The SDK closes that of a
// request as soon as the answer is there, and on a loopback the answer may be
// there before the transport has seen the body's end, which then cuts the
// connection and the answer with it.
type unhurried struct{ *http.Transport }

func (u *unhurried) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return u.Transport.RoundTrip(r)
	}
	b, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, err
	}
	own := r.Clone(r.Context())
	own.Body, own.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return u.Transport.RoundTrip(own)
}

func (s *service) elasticache(region string) *elasticache.Client {
	return elasticache.NewFromConfig(s.config(region))
}

func (s *service) s3(region string) *s3.Client {
	return s3.NewFromConfig(s.config(region), func(o *s3.Options) { o.UsePathStyle = true })
}

// stubborn repeats a request that got no answer, and whoever repeats it looks
// first whether the service has to be started again.
type stubborn struct {
	aws.NopRetryer
	service *service
}

func (stubborn) IsErrorRetryable(err error) bool {
	var answered smithy.APIError
	var unsent *smithyhttp.RequestSendError
	if errors.As(err, &answered) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return errors.As(err, &unsent) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (stubborn) MaxAttempts() int { return 2000 }

// RetryDelay is called where the request was made, so it may end the test.
func (r stubborn) RetryDelay(int, error) (time.Duration, error) {
	r.service.reviveIfDead()
	return 20 * time.Millisecond, nil
}

// env is what "holdfast env" makes of the environment.
func (s *service) env(region string) []string {
	s.t.Helper()
	out, err := exec.Command(program, "env", "--data", s.dir, "--region", region).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	env := os.Environ()
	for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		env = append(env, strings.TrimPrefix(line, "export "))
	}
	return env
}

// code is the API's error code, "" for no error and for one of another kind.
func code(err error) string {
	var answered smithy.APIError
	if errors.As(err, &answered) {
		return answered.ErrorCode()
	}
	return ""
}

// accepted fails the test unless a call went through. Where requests are
// repeated after a crash, the codes say that the first one went through.
func (s *service) accepted(err error, codes ...string) {
	s.t.Helper()
	if err == nil || s.revived > 0 && slices.Contains(codes, code(err)) {
		return
	}
	s.t.Fatal(err)
}

// groupRequest asks for a small group; change it as needed.
func groupRequest(id, engine, version string, nodes int32) *elasticache.CreateReplicationGroupInput {
	return &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String(id), ReplicationGroupDescription: aws.String("a test's"),
		Engine: aws.String(engine), EngineVersion: aws.String(version),
		CacheNodeType: aws.String("cache.t4g.small"), NumCacheClusters: aws.Int32(nodes),
	}
}

// createGroup asks for a group and waits until it is available.
func (s *service) createGroup(region string, in *elasticache.CreateReplicationGroupInput) types.ReplicationGroup {
	s.t.Helper()
	_, err := s.elasticache(region).CreateReplicationGroup(s.t.Context(), in)
	s.accepted(err, "ReplicationGroupAlreadyExists")
	return s.awaitGroup(region, *in.ReplicationGroupId, "available")
}

// awaitGroup polls until a group has a status; one that ends in another one fails.
func (s *service) awaitGroup(region, id, status string) types.ReplicationGroup {
	s.t.Helper()
	api := s.elasticache(region)
	var g types.ReplicationGroup
	eventually(s.t, fmt.Sprintf("group %s of %s is %s", id, region, status), func(ctx context.Context) (bool, error) {
		out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
		if err != nil {
			return false, err
		}
		g = out.ReplicationGroups[0]
		if now := aws.ToString(g.Status); now == "create-failed" && now != status {
			s.t.Fatalf("group %s of %s is %s: %v", id, region, now, s.messages(region))
		}
		return aws.ToString(g.Status) == status, nil
	})
	return g
}

// groupGone polls until there is no such group.
func (s *service) groupGone(region, id string) {
	s.t.Helper()
	api := s.elasticache(region)
	eventually(s.t, fmt.Sprintf("group %s of %s is gone", id, region), func(ctx context.Context) (bool, error) {
		_, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
		if code(err) == "ReplicationGroupNotFoundFault" {
			return true, nil
		}
		return false, err
	})
}

// deleteGroup deletes a group, after a final snapshot if one is named, and
// waits until it is gone.
func (s *service) deleteGroup(region, id, final string) {
	s.t.Helper()
	in := &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: &id}
	if final != "" {
		in.FinalSnapshotIdentifier = &final
	}
	_, err := s.elasticache(region).DeleteReplicationGroup(s.t.Context(), in)
	s.accepted(err, "ReplicationGroupNotFoundFault", "InvalidReplicationGroupState")
	s.groupGone(region, id)
}

// awaitSnapshot polls until a snapshot has a status.
func (s *service) awaitSnapshot(region, name, status string) types.Snapshot {
	s.t.Helper()
	api := s.elasticache(region)
	var snap types.Snapshot
	eventually(s.t, fmt.Sprintf("snapshot %s of %s is %s", name, region, status), func(ctx context.Context) (bool, error) {
		out, err := api.DescribeSnapshots(ctx, &elasticache.DescribeSnapshotsInput{SnapshotName: &name})
		if err != nil {
			return false, err
		}
		snap = out.Snapshots[0]
		if now := aws.ToString(snap.SnapshotStatus); now == "failed" && now != status {
			s.t.Fatalf("snapshot %s has failed: %v", name, s.messages(region))
		}
		return aws.ToString(snap.SnapshotStatus) == status, nil
	})
	return snap
}

// deleteSnapshot deletes a snapshot and waits until it is gone.
func (s *service) deleteSnapshot(region, name string) {
	s.t.Helper()
	api := s.elasticache(region)
	_, err := api.DeleteSnapshot(s.t.Context(), &elasticache.DeleteSnapshotInput{SnapshotName: &name})
	s.accepted(err, "SnapshotNotFoundFault", "InvalidSnapshotState")
	eventually(s.t, "snapshot "+name+" is gone", func(ctx context.Context) (bool, error) {
		_, err := api.DescribeSnapshots(ctx, &elasticache.DescribeSnapshotsInput{SnapshotName: &name})
		if code(err) == "SnapshotNotFoundFault" {
			return true, nil
		}
		return false, err
	})
}

// messages are the texts of all events of a region, in their order, each with its source.
func (s *service) messages(region string) []string {
	s.t.Helper()
	var all []string
	pages := elasticache.NewDescribeEventsPaginator(s.elasticache(region),
		&elasticache.DescribeEventsInput{Duration: aws.Int32(60)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, e := range page.Events {
			all = append(all, aws.ToString(e.SourceIdentifier)+": "+aws.ToString(e.Message))
		}
	}
	return all
}

// wantMessage waits until an event has a text in it.
func (s *service) wantMessage(region, text string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("an event says %q", text), func(context.Context) (bool, error) {
		all := s.messages(region)
		if slices.ContainsFunc(all, func(m string) bool { return strings.Contains(m, text) }) {
			return true, nil
		}
		return false, fmt.Errorf("events: %s", strings.Join(all, "\n"))
	})
}

func addr(e *types.Endpoint) string {
	return net.JoinHostPort(aws.ToString(e.Address), fmt.Sprint(aws.ToInt32(e.Port)))
}

func primary(g types.ReplicationGroup) string { return addr(g.NodeGroups[0].PrimaryEndpoint) }
func reader(g types.ReplicationGroup) string  { return addr(g.NodeGroups[0].ReaderEndpoint) }

// eventually polls until cond is true.
func eventually(t *testing.T, what string, cond func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		ok, err := cond(ctx)
		if ok {
			return
		}
		if ctx.Err() == nil { // else it only tells that time is up
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s (last error: %v)", what, patience, last)
		}
	}
}
