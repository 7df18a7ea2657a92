package api_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"go.uber.org/goleak"

	"holdfast.dev/internal/api"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/api/sts"
)

const (
	keyID  = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// rootKeys is one access key of the account 000000000000.
type rootKeys struct{}

func (rootKeys) Secret(id string) (string, sigv4.Identity, bool) {
	return secret, sigv4.Identity{Account: "000000000000", ARN: "arn:aws:iam::000000000000:root", UserID: "ROOT"}, id == keyID
}

// groups is a service that keeps replication groups in memory.
type groups struct {
	mu      sync.Mutex
	byID    map[string]types.ReplicationGroup
	lastIn  *elasticache.CreateReplicationGroupInput
	lastAsk query.Info
}

func (g *groups) create(_ context.Context, in *elasticache.CreateReplicationGroupInput) (*elasticache.CreateReplicationGroupOutput, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lastIn = in
	if _, ok := g.byID[*in.ReplicationGroupId]; ok {
		return nil, &types.ReplicationGroupAlreadyExistsFault{Message: aws.String("Replication group " + *in.ReplicationGroupId + " already exists.")}
	}
	if in.Engine != nil && *in.Engine == "panic" {
		panic("asked to")
	}
	rg := types.ReplicationGroup{ReplicationGroupId: in.ReplicationGroupId, Description: in.ReplicationGroupDescription, Status: aws.String("creating")}
	g.byID[*in.ReplicationGroupId] = rg
	return &elasticache.CreateReplicationGroupOutput{ReplicationGroup: &rg}, nil
}

func (g *groups) describe(ctx context.Context, in *elasticache.DescribeReplicationGroupsInput) (*elasticache.DescribeReplicationGroupsOutput, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lastAsk = query.InfoFrom(ctx)
	out := &elasticache.DescribeReplicationGroupsOutput{}
	if in.ReplicationGroupId != nil {
		rg, ok := g.byID[*in.ReplicationGroupId]
		if !ok {
			return nil, &types.ReplicationGroupNotFoundFault{Message: aws.String("ReplicationGroup " + *in.ReplicationGroupId + " not found.")}
		}
		out.ReplicationGroups = append(out.ReplicationGroups, rg)
		return out, nil
	}
	for _, rg := range g.byID {
		out.ReplicationGroups = append(out.ReplicationGroups, rg)
	}
	return out, nil
}

func (g *groups) service() *query.Service {
	svc := query.NewService(shapes.ElastiCache)
	query.Handle(svc, g.create)
	query.Handle(svc, g.describe)
	return svc
}

// door is a front door that serves, with what it logs.
type door struct {
	url    string
	groups *groups
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// open serves a front door until the test ends.
func open(t testing.TB, change func(*api.Config)) *door {
	t.Helper()
	d := &door{groups: &groups{byID: map[string]types.ReplicationGroup{}}, log: &lockedBuffer{}}
	c := api.Config{
		Keys:     rootKeys{},
		Services: []*query.Service{d.groups.service(), sts.New()},
		Log:      slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	s, err := api.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.url = "http://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d
}

// transport is an http.Transport of the test's own, whose requests read their
// body from memory: see privateBody.
func transport(t testing.TB) http.RoundTripper {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return privateBody{tr}
}

// privateBody keeps smithy from closing the body that net/http still writes,
// which can take down the connection with the reply half read.
type privateBody struct{ http.RoundTripper }

func (p privateBody) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return p.RoundTripper.RoundTrip(r)
}

func (d *door) config(t testing.TB) aws.Config {
	return aws.Config{
		BaseEndpoint: aws.String(d.url),
		Region:       "eu-west-1",
		Credentials:  credentials.NewStaticCredentialsProvider(keyID, secret, ""),
		HTTPClient:   &http.Client{Transport: transport(t)},
	}
}

// answer is a reply without the connection.
type answer struct {
	status int
	header http.Header
	body   string
}

// send makes an unsigned or self-made request.
func (d *door) send(t testing.TB, r *http.Request) answer {
	t.Helper()
	client := &http.Client{Transport: transport(t), Timeout: time.Minute}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func (d *door) get(t testing.TB, path string) answer {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, d.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d.send(t, r)
}

// openWith opens a door to one service, without a log.
func openWith(t testing.TB, svc *query.Service) *door {
	return open(t, func(c *api.Config) { c.Services, c.Log = []*query.Service{svc}, nil })
}
