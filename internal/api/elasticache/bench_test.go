package elasticache_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	ec "holdfast.dev/internal/api/elasticache"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// fill stores groups of two nodes past the quota.
func fill(b *testing.B, w *controltest.World, groups int) {
	b.Helper()
	err := w.DB.Update(context.Background(), func(tx *store.Tx) error {
		for i := range groups {
			g := cache.ReplicationGroup{
				Region: "us-east-1", ID: fmt.Sprintf("g%04d", i), Status: cache.StatusAvailable, CreatedAt: w.Now(),
				PrimaryEndpoint: cache.Address{Host: "127.77.1.1", Port: 6379}, ReaderEndpoint: cache.Address{Host: "127.77.1.2", Port: 6379},
			}
			for n := range 2 {
				k := cache.CacheCluster{
					Region: g.Region, ID: cache.MemberID(g.ID, n+1), GroupID: g.ID, Status: g.Status,
					Node: cache.Node{Address: cache.Address{Host: "127.77.1.3", Port: 6379}},
				}
				g.Members = append(g.Members, k.ID)
				if err := records.Clusters.Put(tx, k.Key(), k); err != nil {
					return err
				}
			}
			g.Primary = g.Members[0]
			if err := records.Groups.Put(tx, g.Key(), g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// measure runs fn b.N times and reports how long the middle and the slowest of a
// hundred took.
func measure(b *testing.B, fn func()) {
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		start := time.Now()
		fn()
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkDescribe500 describes among 500 groups: the first page of a hundred,
// and one by its name; in the process, and by the SDK over HTTP.
func BenchmarkDescribe500(b *testing.B) {
	w := controltest.New(b, nil)
	fill(b, w, 500)
	svc := ec.New(w.Control)
	ctx := query.WithInfo(context.Background(), query.Info{Region: "us-east-1"})
	call := func(b *testing.B, form url.Values) {
		form.Set("Action", "DescribeReplicationGroups")
		form.Set("Version", "2015-02-02")
		r, err := http.NewRequest(http.MethodPost, "/", nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if reply := svc.Parse(r, []byte(form.Encode())).Do(ctx); reply.Status != http.StatusOK {
			b.Fatal(string(reply.Body))
		}
	}
	b.Run("page", func(b *testing.B) { measure(b, func() { call(b, url.Values{}) }) })
	b.Run("one", func(b *testing.B) { measure(b, func() { call(b, url.Values{"ReplicationGroupId": {"g0250"}}) }) })
	c := serve(b, w)
	sdk := func(b *testing.B, in *elasticache.DescribeReplicationGroupsInput) {
		if _, err := c.DescribeReplicationGroups(context.Background(), in); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("sdk-page", func(b *testing.B) { measure(b, func() { sdk(b, nil) }) })
	b.Run("sdk-one", func(b *testing.B) {
		measure(b, func() { sdk(b, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("g0250")}) })
	})
}
