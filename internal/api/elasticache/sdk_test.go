package elasticache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"go.uber.org/goleak"

	"holdfast.dev/internal/api"
	ec "holdfast.dev/internal/api/elasticache"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type rootKeys struct{}

func (rootKeys) Secret(id string) (string, sigv4.Identity, bool) {
	return "secret", sigv4.Identity{Account: cache.Account, ARN: cache.RootARN}, id == "AKIAROOT"
}

// serve puts a world behind a real front door and returns a client of it.
func serve(t testing.TB, w *controltest.World) *elasticache.Client {
	t.Helper()
	s, err := api.New(api.Config{Keys: rootKeys{}, Services: []*query.Service{ec.New(w.Control)}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	tr := &http.Transport{}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return elasticache.NewFromConfig(aws.Config{
		BaseEndpoint: aws.String("http://" + ln.Addr().String()),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("AKIAROOT", "secret", ""),
		HTTPClient:   &http.Client{Transport: privateBody{tr}},
	})
}

// privateBody keeps the SDK from closing a body that net/http still writes, which
// can take down the connection with the reply half read.
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

// reconcile settles the world after every change until the test ends.
func reconcile(t testing.TB, w *controltest.World) {
	t.Helper()
	watch := w.DB.Watch(records.Groups.Prefix(""), records.Clusters.Prefix(""), records.Snapshots.Prefix(""))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A while between asking and being done, so that waiters have to wait.
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-watch.C():
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := w.Settle(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; watch.Close() })
}

func groupInput(id string, nodes int32) *elasticache.CreateReplicationGroupInput {
	return &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: &id, ReplicationGroupDescription: aws.String("d"),
		CacheNodeType: aws.String("cache.t3.micro"), NumCacheClusters: &nodes, Engine: aws.String("valkey"),
	}
}

// TestWaiters uses the SDK's own waiters from creation to deletion.
func TestWaiters(t *testing.T) {
	w := controltest.New(t, nil)
	c := serve(t, w)
	reconcile(t, w)
	ctx := t.Context()
	quick := func(o *elasticache.ReplicationGroupAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 50*time.Millisecond
	}
	if _, err := c.CreateReplicationGroup(ctx, groupInput("orders", 2)); err != nil {
		t.Fatal(err)
	}
	out, err := elasticache.NewReplicationGroupAvailableWaiter(c, quick).WaitForOutput(ctx,
		&elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if e := out.ReplicationGroups[0].NodeGroups[0].PrimaryEndpoint; e == nil || *e.Port != 6379 {
		t.Errorf("primary endpoint %+v", e)
	}
	err = elasticache.NewCacheClusterAvailableWaiter(c, func(o *elasticache.CacheClusterAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 50*time.Millisecond
	}).Wait(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("orders-002")}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("orders"), FinalSnapshotIdentifier: aws.String("last")})
	if err != nil {
		t.Fatal(err)
	}
	err = elasticache.NewReplicationGroupDeletedWaiter(c, func(o *elasticache.ReplicationGroupDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 50*time.Millisecond
	}).Wait(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	err = elasticache.NewCacheClusterDeletedWaiter(c, func(o *elasticache.CacheClusterDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 50*time.Millisecond
	}).Wait(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("orders-001")}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var gone *types.ReplicationGroupNotFoundFault
	_, err = c.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")})
	if !errors.As(err, &gone) {
		t.Errorf("got %v", err)
	}
}

// TestPaginators goes through more than one page of everything that has pages.
func TestPaginators(t *testing.T) {
	w := controltest.New(t, nil)
	c := serve(t, w)
	ctx := t.Context()
	twenty := aws.Int32(20)
	var want []string
	for i := range 45 {
		id := fmt.Sprintf("g%02d", i)
		want = append(want, id)
		if _, err := c.CreateReplicationGroup(ctx, groupInput(id, 2)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	for _, id := range want {
		if _, err := c.CreateSnapshot(ctx, &elasticache.CreateSnapshotInput{SnapshotName: aws.String("s-" + id), ReplicationGroupId: &id}); err != nil {
			t.Fatal(err)
		}
	}
	var groups, clusters, snapshots []string
	for p := elasticache.NewDescribeReplicationGroupsPaginator(c, &elasticache.DescribeReplicationGroupsInput{MaxRecords: twenty}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range out.ReplicationGroups {
			groups = append(groups, *g.ReplicationGroupId)
		}
	}
	if !slices.Equal(groups, want) {
		t.Errorf("groups %v", groups)
	}
	for p := elasticache.NewDescribeCacheClustersPaginator(c, &elasticache.DescribeCacheClustersInput{MaxRecords: twenty}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range out.CacheClusters {
			clusters = append(clusters, *k.CacheClusterId)
		}
	}
	if len(clusters) != 90 || !slices.IsSorted(clusters) || len(slices.Compact(slices.Clone(clusters))) != 90 {
		t.Errorf("clusters %v", clusters)
	}
	for p := elasticache.NewDescribeSnapshotsPaginator(c, &elasticache.DescribeSnapshotsInput{MaxRecords: twenty}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range out.Snapshots {
			snapshots = append(snapshots, *s.SnapshotName)
		}
	}
	if len(snapshots) != 45 {
		t.Errorf("snapshots %v", snapshots)
	}
	eventPages(t, c, w, 45+90)
}

// eventPages reads events page by page while newer ones come: none is shown
// twice or left out, and they go from new to old.
func eventPages(t *testing.T, c *elasticache.Client, w *controltest.World, want int) {
	seen, pages := 0, 0
	last := time.Time{}
	for p := elasticache.NewDescribeEventsPaginator(c, &elasticache.DescribeEventsInput{MaxRecords: aws.Int32(20)}); p.HasMorePages(); pages++ {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Events {
			if !last.IsZero() && e.Date.After(last) {
				t.Errorf("%v after %v", e.Date, last)
			}
			last = *e.Date
			seen++
		}
		w.Pass(time.Second)
		if _, err := c.CreateReplicationGroup(t.Context(), groupInput(fmt.Sprint("late", pages), 1)); err != nil {
			t.Fatal(err)
		}
		if err := w.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if seen != want || pages != (want+19)/20 {
		t.Errorf("%d events on %d pages, want %d", seen, pages, want)
	}
}

// TestTerraformReads makes the reads that Terraform's provider makes after a
// creation and looks for the members that it dereferences.
func TestTerraformReads(t *testing.T) {
	w := controltest.New(t, nil)
	c := serve(t, w)
	ctx := t.Context()
	in := groupInput("orders", 2)
	in.Tags = []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}
	in.AutomaticFailoverEnabled, in.TransitEncryptionEnabled = aws.Bool(true), aws.Bool(false)
	if _, err := c.CreateReplicationGroup(ctx, in); err != nil {
		t.Fatal(err)
	}
	if err := w.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	groups, err := c.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	g := groups.ReplicationGroups[0]
	members := g.NodeGroups[0].NodeGroupMembers
	if *members[0].CurrentRole != "primary" || *g.NodeGroups[0].ReaderEndpoint.Address == "" || g.ConfigurationEndpoint != nil || len(g.MemberClusters) != 2 {
		t.Errorf("%+v", g)
	}
	clusters, err := c.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: members[0].CacheClusterId, ShowCacheNodeInfo: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	k := clusters.CacheClusters[0]
	if len(k.CacheNodes) != 1 || k.CacheNodes[0].CustomerAvailabilityZone == nil || *k.CacheNodes[0].Endpoint.Port != 6379 ||
		*k.EngineVersion != "8.1.1" || *k.CacheParameterGroup.CacheParameterGroupName != "default.valkey8" || k.TransitEncryptionMode != "" {
		t.Errorf("%+v", k)
	}
	tags, err := c.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: g.ARN})
	if err != nil || len(tags.TagList) != 1 || *tags.TagList[0].Value != "v" {
		t.Errorf("%v, %v", tags, err)
	}
	if tags, err = c.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: k.ARN}); err != nil || len(tags.TagList) != 1 {
		t.Errorf("%v, %v", tags, err)
	}
}
