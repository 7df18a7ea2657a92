package elasticache

import (
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/cache"
)

// full is a snapshot of which everything is known.
func full() *cache.Snapshot {
	at := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	return &cache.Snapshot{
		Region: "us-east-1", Name: "s", Source: cache.SourceManual, GroupID: "g", GroupDescription: "d",
		AutomaticFailover: true, Zone: "us-east-1a", VpcID: "vpc-1", SourceCreatedAt: at, CreatedAt: at,
		Status: cache.StatusAvailable,
		Settings: cache.Settings{
			Engine: "valkey", EngineVersion: "8.1", NodeType: "cache.t3.micro", Port: 6379, ParameterGroup: "p", SubnetGroup: "n",
			AutoMinorVersionUpgrade: true, SnapshotRetention: 3, SnapshotWindow: "05:00-09:00", MaintenanceWindow: "sun:10:00-sun:11:00",
			NotificationTopicARN: "arn:aws:sns:us-east-1:000000000000:ops",
			KmsKeyID:             "key",
		},
		NodeGroups: []cache.NodeGroup{
			{ID: "0001", Slots: cache.Slots{{First: 0, Last: 99}}, Members: []string{"g-0001-001", "g-0001-002"}},
			{ID: "0002", Slots: cache.Slots{{First: 100, Last: 16383}}, Members: []string{"g-0002-001"}},
		},
		Shards: []cache.ShardSnapshot{
			{NodeGroupID: "0001", ClusterID: "g-0001-002", TakenAt: at, Manifest: &cache.Manifest{Bytes: 5 << 20, Version: "8.1.4"}},
			{NodeGroupID: "0002", ClusterID: "g-0002-001", TakenAt: at, Manifest: &cache.Manifest{Bytes: 1}},
		},
	}
}

// unset are the members of a shape that are not shown.
func unset(v any) (out []string) {
	r := reflect.ValueOf(v)
	for i := range r.NumField() {
		if f := r.Type().Field(i); f.IsExported() && r.Field(i).IsZero() {
			out = append(out, f.Name)
		}
	}
	return out
}

// TestSnapshotShowsEverything goes through the members that AWS has. What is left
// out belongs to other kinds of caches: outposts, durable clusters, and to the
// other of groups and clusters.
func TestSnapshotShowsEverything(t *testing.T) {
	group := showSnapshot(full(), true)
	want := []string{"CacheClusterCreateTime", "CacheClusterId", "Durability", "NumCacheNodes", "PreferredAvailabilityZone", "PreferredOutpostArn"}
	if diff := cmp.Diff(want, unset(group)); diff != "" {
		t.Errorf("of a group (-want +got):\n%s", diff)
	}
	if n := *group.NumNodeGroups; n != 2 {
		t.Errorf("%d node groups", n)
	}
	alone := full()
	alone.GroupID, alone.GroupDescription, alone.ClusterID, alone.NodeGroups, alone.Shards = "", "", "c", nil, alone.Shards[:1]
	cluster := showSnapshot(alone, true)
	want = []string{"Durability", "NumNodeGroups", "PreferredOutpostArn", "ReplicationGroupDescription", "ReplicationGroupId"}
	if diff := cmp.Diff(want, unset(cluster)); diff != "" {
		t.Errorf("of a cluster (-want +got):\n%s", diff)
	}
	for _, n := range group.NodeSnapshots {
		if left := unset(n); left != nil {
			t.Errorf("of node group %s nothing is said about %v", *n.NodeGroupId, left)
		}
	}
	if size := *group.NodeSnapshots[0].CacheSize; size != "5 MB" {
		t.Errorf("its size is %q", size)
	}
	config := group.NodeSnapshots[0].NodeGroupConfiguration
	if *config.Slots != "0-99" || *config.ReplicaCount != 1 {
		t.Errorf("the first node group had %s and %d replicas", *config.Slots, *config.ReplicaCount)
	}
}

// TestSnapshotBeforeItIsThere shows what is known then: no sizes and no times.
func TestSnapshotBeforeItIsThere(t *testing.T) {
	s := full()
	s.Shards, s.Status = nil, cache.StatusCreating
	out := showSnapshot(s, false)
	want := []types.NodeSnapshot{}
	for _, id := range []string{"0001", "0002"} {
		n := types.NodeSnapshot{NodeGroupId: &id, CacheNodeId: new("0001"), CacheSize: new(""), CacheNodeCreateTime: &s.SourceCreatedAt}
		want = append(want, n)
	}
	if diff := cmp.Diff(want, out.NodeSnapshots, cmp.AllowUnexported(types.NodeSnapshot{}), cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Error(diff)
	}
}
