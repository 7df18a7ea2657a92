package e2e

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// fillDatabases writes made-up data into three databases of a cluster, and returns their
// fingerprint.
func fillDatabases(t *testing.T, at string) string {
	t.Helper()
	shape, err := source.Preset("mixed", began)
	if err != nil {
		t.Fatal(err)
	}
	shape.Keys, shape.Databases = clusterKeys, 3
	made := func() flow.Source {
		src, err := source.NewGenerate(shape)
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	dst, err := sink.NewServer(t.Context(), resp.Options{Addr: at}, sink.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flow.Run(t.Context(), made(), dst, flow.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := verify.Compute(t.Context(), made(), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f.String()
}

// TestClusterDatabases: a group in cluster mode with several databases keeps the data of
// all of them over a failover, new shards, a snapshot and its restore.
func TestClusterDatabases(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.parameterGroup("many", "valkey9")
	s.set("many", "cluster-enabled", "yes", "cluster-databases", "16")
	in := clusterRequest("shop", "valkey", "9.1", 2, 1)
	in.CacheParameterGroupName = aws.String("many")
	g := s.createGroup(east, in)
	want := fillDatabases(t, configuration(g))

	if err := s.trySet("many", "cluster-databases", "32"); code(err) != "InvalidCacheParameterGroupState" {
		t.Errorf("more databases for a group that there is: %v", err)
	}
	s.killEngine(east, "shop-0001-001")
	s.wantMessage(east, "Failover from primary node shop-0001-001 to replica node shop-0001-002 completed")
	s.wantMessage(east, "shop-0001-001: Finished recovery")
	wantCluster(t, configuration(g), want)
	s.awaitGroup(east, "shop", "available")
	s.reshard(reshardRequest("shop", 3))
	g = s.awaitGroup(east, "shop", "available")
	s.wantEven(g, 3)
	wantCluster(t, configuration(g), want)

	s.snapshot(east, "shop", "kept")
	s.awaitSnapshot(east, "kept", "available")
	in = clusterRequest("again", "valkey", "9.1", 1, 1)
	in.CacheParameterGroupName, in.SnapshotName = aws.String("many"), aws.String("kept")
	g = s.createGroup(east, in)
	wantCluster(t, configuration(g), want)

	in = clusterRequest("strays", "valkey", "9.1", 1, 0)
	in.CacheParameterGroupName, in.SnapshotName = aws.String("default.valkey9.cluster.on"), aws.String("kept")
	if _, err := s.elasticache(east).CreateReplicationGroup(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	s.awaitGroup(east, "strays", "create-failed")
	s.wantMessage(east, "a group in cluster mode has database 0 alone, and the data has keys in others: 2000 keys, among them")
}
