package elasticache_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/control/controltest"
)

// groupState is what Terraform's provider reads of a replication group: the group, and
// the first of its members, of which it takes version and node type.
type groupState struct {
	group   types.ReplicationGroup
	cluster types.CacheCluster
}

func readState(t *testing.T, c *elasticache.Client, id string) groupState {
	t.Helper()
	groups, err := c.DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		t.Fatal(err)
	}
	g := groups.ReplicationGroups[0]
	clusters, err := c.DescribeCacheClusters(t.Context(), &elasticache.DescribeCacheClustersInput{
		CacheClusterId: g.NodeGroups[0].NodeGroupMembers[0].CacheClusterId, ShowCacheNodeInfo: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	return groupState{g, clusters.CacheClusters[0]}
}

func awaitGroup(t *testing.T, c *elasticache.Client, id string) {
	t.Helper()
	err := elasticache.NewReplicationGroupAvailableWaiter(c, func(o *elasticache.ReplicationGroupAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 50*time.Millisecond
	}).Wait(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
}

// TestTerraformUpgrades goes through what the provider does when engine_version, engine and
// node_type of a resource are changed with apply_immediately: modify, wait until it is
// available, and read twice without a difference.
func TestTerraformUpgrades(t *testing.T) {
	w := controltest.New(t, nil)
	c := serve(t, w)
	reconcile(t, w)
	in := groupInput("orders", 2)
	in.Engine, in.EngineVersion, in.CacheNodeType = aws.String("redis"), aws.String("6.2"), aws.String("cache.t3.micro")
	if _, err := c.CreateReplicationGroup(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	awaitGroup(t, c, "orders")
	created := readState(t, c, "orders")
	for _, step := range []struct {
		change                           elasticache.ModifyReplicationGroupInput
		engine, version, nodeType, group string
	}{
		{elasticache.ModifyReplicationGroupInput{EngineVersion: aws.String("7.0")}, "redis", "7.0.15", "cache.t3.micro", "default.redis7"},
		{elasticache.ModifyReplicationGroupInput{CacheNodeType: aws.String("cache.t3.small")}, "redis", "7.0.15", "cache.t3.small", "default.redis7"},
		{
			elasticache.ModifyReplicationGroupInput{Engine: aws.String("valkey"), EngineVersion: aws.String("8.1"), CacheParameterGroupName: aws.String("default.valkey8")},
			"valkey", "8.1.1", "cache.t3.small", "default.valkey8",
		},
		{elasticache.ModifyReplicationGroupInput{CacheNodeType: aws.String("cache.t3.micro")}, "valkey", "8.1.1", "cache.t3.micro", "default.valkey8"},
	} {
		ask := step.change
		ask.ReplicationGroupId, ask.ApplyImmediately = aws.String("orders"), aws.Bool(true)
		out, err := c.ModifyReplicationGroup(t.Context(), &ask)
		if err != nil {
			t.Fatal(err)
		}
		if *out.ReplicationGroup.Status != "modifying" {
			t.Errorf("%+v: a waiter would not wait: %s", step, *out.ReplicationGroup.Status)
		}
		awaitGroup(t, c, "orders")
		now := readState(t, c, "orders")
		got := []string{
			*now.group.Engine, *now.cluster.Engine, *now.cluster.EngineVersion, *now.group.CacheNodeType, *now.cluster.CacheNodeType,
			*now.cluster.CacheParameterGroup.CacheParameterGroupName,
		}
		if want := []string{step.engine, step.engine, step.version, step.nodeType, step.nodeType, step.group}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if p := now.cluster.PendingModifiedValues; p.EngineVersion != nil || p.CacheNodeType != nil {
			t.Errorf("%+v is pending", p)
		}
		if !now.group.ReplicationGroupCreateTime.Equal(*created.group.ReplicationGroupCreateTime) ||
			!reflect.DeepEqual(now.group.NodeGroups[0].PrimaryEndpoint, created.group.NodeGroups[0].PrimaryEndpoint) {
			t.Errorf("another group: %+v", now.group)
		}
		if again := readState(t, c, "orders"); !reflect.DeepEqual(again, now) {
			t.Errorf("the second read differs: %+v, then %+v", now, again)
		}
	}
}

// Without apply_immediately nothing changes but what is pending, on every member.
func TestTerraformWaitsForTheWindow(t *testing.T) {
	w := controltest.New(t, nil)
	c := serve(t, w)
	in := groupInput("orders", 2)
	in.Engine, in.EngineVersion = aws.String("redis"), aws.String("6.2")
	in.PreferredMaintenanceWindow = aws.String("sun:10:00-sun:11:00")
	if _, err := c.CreateReplicationGroup(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := readState(t, c, "orders")
	out, err := c.ModifyReplicationGroup(t.Context(), &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: aws.String("orders"), EngineVersion: aws.String("7.1"), CacheNodeType: aws.String("cache.t3.small"),
	})
	if err != nil || *out.ReplicationGroup.Status != "available" {
		t.Fatalf("%+v, %v", out, err)
	}
	now := readState(t, c, "orders")
	p := now.cluster.PendingModifiedValues
	if aws.ToString(p.EngineVersion) != "7.1" || aws.ToString(p.CacheNodeType) != "cache.t3.small" {
		t.Errorf("pending is %+v", p)
	}
	now.cluster.PendingModifiedValues = before.cluster.PendingModifiedValues
	if !reflect.DeepEqual(now, before) {
		t.Errorf("before %+v, now %+v", before, now)
	}
	all, err := c.DescribeCacheClusters(t.Context(), &elasticache.DescribeCacheClustersInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all.CacheClusters {
		if aws.ToString(k.PendingModifiedValues.EngineVersion) != "7.1" {
			t.Errorf("%s: %+v", *k.CacheClusterId, k.PendingModifiedValues)
		}
	}
}
