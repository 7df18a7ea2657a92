package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
)

// parameterGroup makes a parameter group of the owner's own.
func (s *service) parameterGroup(name, family string) {
	s.t.Helper()
	_, err := s.elasticache(east).CreateCacheParameterGroup(s.t.Context(), &elasticache.CreateCacheParameterGroupInput{
		CacheParameterGroupName: &name, CacheParameterGroupFamily: &family, Description: aws.String("a test's"),
	})
	s.accepted(err, "CacheParameterGroupAlreadyExists")
}

// trySet sets parameters of a group, names and values in turn.
func (s *service) trySet(group string, values ...string) error {
	s.t.Helper()
	in := &elasticache.ModifyCacheParameterGroupInput{CacheParameterGroupName: &group}
	for i := 0; i < len(values); i += 2 {
		in.ParameterNameValues = append(in.ParameterNameValues, types.ParameterNameValue{ParameterName: &values[i], ParameterValue: &values[i+1]})
	}
	_, err := s.elasticache(east).ModifyCacheParameterGroup(s.t.Context(), in)
	return err
}

// set is trySet of values that are taken.
func (s *service) set(group string, values ...string) {
	s.t.Helper()
	if err := s.trySet(group, values...); err != nil {
		s.t.Fatal(err)
	}
}

// awaitParameters waits until a cluster of this status shows an apply status.
func (s *service) awaitParameters(cluster, status, apply string) types.CacheCluster {
	s.t.Helper()
	api := s.elasticache(east)
	var out types.CacheCluster
	eventually(s.t, fmt.Sprintf("%s is %s with parameters %s", cluster, status, apply), func(ctx context.Context) (bool, error) {
		s.reviveIfDead()
		found, err := api.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: &cluster, ShowCacheNodeInfo: aws.Bool(true)})
		if err != nil {
			return false, err
		}
		out = found.CacheClusters[0]
		now, applied := aws.ToString(out.CacheClusterStatus), aws.ToString(out.CacheParameterGroup.ParameterApplyStatus)
		return now == status && applied == apply, fmt.Errorf("it is %s with parameters %s", now, applied)
	})
	return out
}

func (s *service) reboot(cluster string) {
	s.t.Helper()
	_, err := s.elasticache(east).RebootCacheCluster(s.t.Context(), &elasticache.RebootCacheClusterInput{
		CacheClusterId: &cluster, CacheNodeIdsToReboot: []string{"0001"},
	})
	s.accepted(err, "InvalidCacheClusterState")
}

// memoryField is what a node says of its memory.
func memoryField(t *testing.T, at, field string) string {
	t.Helper()
	info, err := try(t.Context(), at, "INFO", "memory")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "\n"+field+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// parametersAndReboot has a pair use another parameter group, and reboots its primary:
// the replica leads, and nothing is lost.
func parametersAndReboot(s *service) {
	s.t.Helper()
	s.awaitGroup(east, "pair", "available")
	s.parameterGroup("mine", "valkey8")
	s.set("mine", "maxmemory-policy", "allkeys-lru")
	_, err := s.elasticache(east).ModifyReplicationGroup(s.t.Context(), &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: aws.String("pair"), CacheParameterGroupName: aws.String("mine"), ApplyImmediately: aws.Bool(true),
	})
	s.accepted(err)
	for _, id := range []string{"pair-001", "pair-002"} {
		k := s.awaitParameters(id, "available", "in-sync")
		if got := memoryField(s.t, addr(k.CacheNodes[0].Endpoint), "maxmemory_policy"); got != "allkeys-lru" {
			s.t.Errorf("%s has the policy %s", id, got)
		}
	}
	old := s.mustPID(east, "pair-001")
	s.reboot("pair-001")
	s.awaitPrimary("pair", "pair-002")
	k := s.awaitParameters("pair-001", "available", "in-sync")
	if pid := s.mustPID(east, "pair-001"); pid == old {
		s.t.Error("pair-001 was not started anew")
	}
	if got := memoryField(s.t, addr(k.CacheNodes[0].Endpoint), "maxmemory_policy"); got != "allkeys-lru" {
		s.t.Errorf("after the reboot it has the policy %s", got)
	}
	g := s.awaitGroup(east, "pair", "available")
	wantData(s.t, primary(g), fewKeys)
	s.inStep(g, fewKeys)
	s.wantMessage(east, "pair-001: Cache node 0001 restarted")
	s.deleteGroup(east, "pair", "")
	_, err = s.elasticache(east).DeleteCacheParameterGroup(s.t.Context(), &elasticache.DeleteCacheParameterGroupInput{CacheParameterGroupName: aws.String("mine")})
	s.accepted(err, "CacheParameterGroupNotFound")
}

// TestParametersOfThree: a group's nodes all have the values of its parameter group
// from the start, and new ones as soon as they are set.
func TestParametersOfThree(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.parameterGroup("ours", "valkey8")
	s.set("ours", "maxmemory-policy", "allkeys-lfu", "reserved-memory-percent", "50")
	in := groupRequest("three", "valkey", "8.1", 3)
	in.CacheParameterGroupName = aws.String("ours")
	s.createGroup(east, in)
	nodes := make([]string, 3)
	for i := range nodes {
		k := s.awaitParameters(fmt.Sprintf("three-00%d", i+1), "available", "in-sync")
		nodes[i] = addr(k.CacheNodes[0].Endpoint)
	}
	kind, _ := cache.FindNodeType("cache.t4g.small")
	want := func(what, policy string, reserved int64) {
		t.Helper()
		for i, at := range nodes {
			if got := memoryField(t, at, "maxmemory_policy"); got != policy {
				t.Errorf("%s: node %d has the policy %s, want %s", what, i+1, got, policy)
			}
			if got, limit := memoryField(t, at, "maxmemory"), fmt.Sprint(kind.MaxMemory/100*(100-reserved)); got != limit {
				t.Errorf("%s: node %d holds %s bytes, want %s", what, i+1, got, limit)
			}
		}
	}
	want("created", "allkeys-lfu", 50)
	s.set("ours", "maxmemory-policy", "noeviction", "notify-keyspace-events", "KEA")
	for i := range nodes {
		s.awaitParameters(fmt.Sprintf("three-00%d", i+1), "available", "in-sync")
		s.wantMessage(east, fmt.Sprintf("three-00%d: Updated parameter maxmemory-policy to noeviction", i+1))
	}
	want("modified", "noeviction", 50)
	_, err := s.elasticache(east).ResetCacheParameterGroup(t.Context(), &elasticache.ResetCacheParameterGroupInput{
		CacheParameterGroupName: aws.String("ours"), ResetAllParameters: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		s.awaitParameters(fmt.Sprintf("three-00%d", i+1), "available", "in-sync")
	}
	want("reset", "volatile-lru", 25)
	if err := s.trySet("ours", "rename-commands", "keys allkeys"); code(err) != "InvalidParameterValue" || !strings.Contains(err.Error(), "rename-commands") {
		t.Errorf("what no engine here can do: %v", err)
	}
}

// TestParametersOfOne: a lone node keeps its data over a kill once its parameter group
// says so, and has what needs a reboot after one.
func TestParametersOfOne(t *testing.T) {
	t.Parallel()
	s := startService(t)
	api := s.elasticache(east)
	s.parameterGroup("ours", "valkey8")
	_, err := api.CreateCacheCluster(t.Context(), &elasticache.CreateCacheClusterInput{
		CacheClusterId: aws.String("alone"), Engine: aws.String("valkey"), EngineVersion: aws.String("8.1"),
		CacheNodeType: aws.String("cache.t4g.small"), NumCacheNodes: aws.Int32(1), CacheParameterGroupName: aws.String("ours"),
	})
	if err != nil {
		t.Fatal(err)
	}
	at := s.awaitCluster("alone")
	fill(t, at, fewKeys)

	s.set("ours", "appendonly", "yes", "appendfsync", "always")
	s.awaitParameters("alone", "available", "in-sync")
	s.killEngine(east, "alone")
	s.wantMessage(east, "alone: Finished recovery for cache nodes 0001")
	s.awaitParameters("alone", "available", "in-sync")
	wantData(t, at, fewKeys)

	s.reboot("alone")
	s.wantMessage(east, "alone: Cache node 0001 restarted")
	s.awaitParameters("alone", "available", "in-sync")
	wantData(t, at, fewKeys)

	// Without the log, and with more databases from the next start on.
	s.set("ours", "appendonly", "no")
	s.set("ours", "databases", "40")
	k := s.awaitParameters("alone", "available", "pending-reboot")
	if len(k.CacheParameterGroup.CacheNodeIdsToReboot) != 1 {
		t.Errorf("to be rebooted: %v", k.CacheParameterGroup.CacheNodeIdsToReboot)
	}
	if _, err := try(t.Context(), at, "SELECT", "39"); err == nil {
		t.Error("there are 40 databases before the reboot")
	}
	s.reboot("alone")
	s.awaitParameters("alone", "available", "in-sync")
	if _, err := try(t.Context(), at, "SELECT", "39"); err != nil {
		t.Error(err)
	}
	if n, err := try(t.Context(), at, "DBSIZE"); err != nil || n != "0" {
		t.Errorf("after the reboot of a node without a log there are %s keys, %v", n, err)
	}
	s.wantMessage(east, "alone: The data of cache node 0001 are lost by the reboot")
}
