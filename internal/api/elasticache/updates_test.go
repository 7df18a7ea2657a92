package elasticache_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control/controltest"
)

// updated is a world with two groups and a lone cluster of Redis 7.0, for which a newer build
// has been installed since.
func updated(t *testing.T) (*controltest.World, *elasticache.Client) {
	t.Helper()
	w := controltest.New(t, nil)
	c := serve(t, w)
	for _, id := range []string{"orders", "carts"} {
		in := groupInput(id, 2)
		in.Engine, in.EngineVersion = aws.String("redis"), aws.String("7.0")
		if _, err := c.CreateReplicationGroup(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.CreateCacheCluster(t.Context(), &elasticache.CreateCacheClusterInput{
		CacheClusterId: aws.String("lone"), Engine: aws.String("redis"), EngineVersion: aws.String("7.0"),
		CacheNodeType: aws.String("cache.t3.small"), NumCacheNodes: aws.Int32(1),
	})
	if err == nil {
		err = w.Settle(t.Context())
	}
	if err == nil {
		err = w.Control.NoteBuilds(t.Context())
	}
	for i := range w.Engines {
		if v := &w.Engines[i]; v.Engine == cache.Redis && v.Asked == "7.0" {
			v.Build = "redis-7.0.16"
		}
	}
	if err == nil {
		err = w.Control.NoteBuilds(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return w, c
}

// TestServiceUpdatesOverTheWire goes through all four actions with Amazon's own client.
func TestServiceUpdatesOverTheWire(t *testing.T) {
	w, c := updated(t)
	all, err := c.DescribeServiceUpdates(t.Context(), &elasticache.DescribeServiceUpdatesInput{ServiceUpdateStatus: []types.ServiceUpdateStatus{"available"}})
	if err != nil || len(all.ServiceUpdates) != 1 {
		t.Fatalf("%v; %d service updates", err, len(all.ServiceUpdates))
	}
	u := all.ServiceUpdates[0]
	name := aws.ToString(u.ServiceUpdateName)
	if !strings.HasPrefix(name, "elc-") || aws.ToString(u.Engine) != "redis" || aws.ToString(u.EngineVersion) != "7.0" || u.ServiceUpdateType != "engine-update" ||
		u.ServiceUpdateSeverity != "medium" || aws.ToBool(u.AutoUpdateAfterRecommendedApplyByDate) || !u.ServiceUpdateReleaseDate.Equal(w.Now()) ||
		u.ServiceUpdateRecommendedApplyByDate.Sub(w.Now()).Hours() != 60*24 || u.ServiceUpdateEndDate != nil {
		t.Errorf("it is %+v", u)
	}
	apply, err := c.BatchApplyUpdateAction(t.Context(), &elasticache.BatchApplyUpdateActionInput{
		ServiceUpdateName: &name, ReplicationGroupIds: []string{"orders", "none"}, CacheClusterIds: []string{"lone"},
	})
	if err != nil || len(apply.ProcessedUpdateActions) != 2 || len(apply.UnprocessedUpdateActions) != 1 {
		t.Fatalf("%v: %+v", err, apply)
	}
	if a := apply.ProcessedUpdateActions[0]; aws.ToString(a.ReplicationGroupId) != "orders" || a.CacheClusterId != nil || a.UpdateActionStatus != "waiting-to-start" {
		t.Errorf("processed: %+v", a)
	}
	if a := apply.UnprocessedUpdateActions[0]; aws.ToString(a.ReplicationGroupId) != "none" || aws.ToString(a.ErrorType) != "ReplicationGroupNotFoundFault" || aws.ToString(a.ErrorMessage) == "" {
		t.Errorf("unprocessed: %+v", a)
	}
	stop, err := c.BatchStopUpdateAction(t.Context(), &elasticache.BatchStopUpdateActionInput{ServiceUpdateName: &name, CacheClusterIds: []string{"lone"}})
	if err != nil || len(stop.ProcessedUpdateActions) != 1 || stop.ProcessedUpdateActions[0].UpdateActionStatus != "stopped" {
		t.Fatalf("%v: %+v", err, stop)
	}
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := listActions(t, c, &elasticache.DescribeUpdateActionsInput{ShowNodeLevelUpdateStatus: aws.Bool(true), MaxRecords: aws.Int32(20)}),
		"carts not-applied 0/2 carts-001=not-applied carts-002=not-applied; lone stopped 0/1 0001=stopped; orders complete 2/2 orders-001=complete orders-002=complete"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := listActions(t, c, &elasticache.DescribeUpdateActionsInput{UpdateActionStatus: []types.UpdateActionStatus{"complete"}}); got != "orders complete 2/2" {
		t.Errorf("those that are complete: %s", got)
	}
	if got := listActions(t, c, &elasticache.DescribeUpdateActionsInput{Engine: aws.String("valkey")}); got != "" {
		t.Errorf("those of valkey: %s", got)
	}
	later := w.Now().AddDate(0, 0, 1)
	if got := listActions(t, c, &elasticache.DescribeUpdateActionsInput{ServiceUpdateTimeRange: &types.TimeRangeFilter{StartTime: &later}}); got != "" {
		t.Errorf("those of tomorrow: %s", got)
	}
	var unknown *types.ServiceUpdateNotFoundFault
	_, err = c.BatchApplyUpdateAction(t.Context(), &elasticache.BatchApplyUpdateActionInput{ServiceUpdateName: aws.String("elc-none"), ReplicationGroupIds: []string{"orders"}})
	if !errors.As(err, &unknown) {
		t.Errorf("an unknown one: %v", err)
	}
}

func listActions(t *testing.T, c *elasticache.Client, in *elasticache.DescribeUpdateActionsInput) string {
	t.Helper()
	var out []string
	for pages := elasticache.NewDescribeUpdateActionsPaginator(c, in); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.UpdateActions {
			line := fmt.Sprintf("%s%s %s %s", aws.ToString(a.ReplicationGroupId), aws.ToString(a.CacheClusterId), a.UpdateActionStatus, aws.ToString(a.NodesUpdated))
			for _, g := range a.NodeGroupUpdateStatus {
				for _, n := range g.NodeGroupMemberUpdateStatus {
					line += fmt.Sprintf(" %s=%s", aws.ToString(n.CacheClusterId), n.NodeUpdateStatus)
				}
			}
			for _, n := range a.CacheNodeUpdateStatus {
				line += fmt.Sprintf(" %s=%s", aws.ToString(n.CacheNodeId), n.NodeUpdateStatus)
			}
			out = append(out, line)
		}
	}
	return strings.Join(out, "; ")
}
