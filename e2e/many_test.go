package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
)

const many = 50

// TestManyGroupsAtOnce asks for them side by side; all become available. How
// long Describe takes meanwhile is printed.
func TestManyGroupsAtOnce(t *testing.T) {
	s := startService(t)
	api := s.elasticache(east)
	began := time.Now()
	errs := make([]error, many)
	var asking sync.WaitGroup
	for i := range many {
		asking.Go(func() {
			in := groupRequest(fmt.Sprintf("many-%02d", i), "valkey", "8.1", 1)
			in.CacheNodeType = aws.String("cache.t4g.micro")
			_, errs[i] = api.CreateReplicationGroup(t.Context(), in)
		})
	}
	asking.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	accepted := time.Since(began)
	var took []time.Duration
	hosts := map[string]bool{}
	eventually(t, "all groups are available", func(ctx context.Context) (bool, error) {
		available := 0
		pages := elasticache.NewDescribeReplicationGroupsPaginator(api, &elasticache.DescribeReplicationGroupsInput{MaxRecords: aws.Int32(20)})
		for pages.HasMorePages() {
			at := time.Now()
			page, err := pages.NextPage(ctx)
			took = append(took, time.Since(at))
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range page.ReplicationGroups {
				if status := aws.ToString(g.Status); status == "available" {
					available++
					hosts[primary(g)] = true
				} else if status != "creating" {
					t.Fatalf("group %s is %s: %v", aws.ToString(g.ReplicationGroupId), status, s.messages(east))
				}
			}
		}
		return available == many, nil
	})
	slices.Sort(took)
	t.Logf("%d groups: accepted in %s, available after %s; Describe of 20 p50 %s, p99 %s (%d calls)",
		many, accepted.Round(time.Millisecond), time.Since(began).Round(time.Millisecond),
		took[len(took)/2].Round(time.Microsecond), took[len(took)*99/100].Round(time.Microsecond), len(took))
	if len(hosts) != many {
		t.Fatalf("%d groups share %d endpoints", many, len(hosts))
	}
	for at := range hosts {
		s.awaitAnswer(at, "SET", "key", at)
	}
	for at := range hosts {
		if got, err := try(t.Context(), at, "GET", "key"); err != nil || got != at {
			t.Errorf("%s has %q: %v", at, got, err)
		}
	}
	for i := range many {
		id := fmt.Sprintf("many-%02d", i)
		if _, err := api.DeleteReplicationGroup(t.Context(), &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: &id}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all groups are gone", func(ctx context.Context) (bool, error) {
		out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{})
		return err == nil && len(out.ReplicationGroups) == 0, err
	})
	s.nothingLeft()
}
