package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

// clusterRequest asks for a group in cluster mode.
func clusterRequest(id, engine, version string, shards, replicas int32) *elasticache.CreateReplicationGroupInput {
	in := groupRequest(id, engine, version, 1)
	in.NumCacheClusters, in.NumNodeGroups, in.ReplicasPerNodeGroup = nil, &shards, &replicas
	in.CacheNodeType, in.AutomaticFailoverEnabled = aws.String("cache.t4g.small"), aws.Bool(true)
	in.ClusterMode = types.ClusterModeEnabled
	return in
}

// configuration is the address at which a cluster is met.
func configuration(g types.ReplicationGroup) string { return addr(g.ConfigurationEndpoint) }

// clusterKeys are in database 0 alone, as a cluster has it.
const clusterKeys = 3000

func clusterData(t *testing.T) flow.Source {
	t.Helper()
	shape, err := source.Preset("mixed", began)
	if err != nil {
		t.Fatal(err)
	}
	shape.Keys, shape.Databases = clusterKeys, 1
	src, err := source.NewGenerate(shape)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// fillCluster writes the made-up data through the configuration endpoint, following
// what the nodes say, and returns its fingerprint.
func fillCluster(t *testing.T, at string) string {
	t.Helper()
	dst, err := sink.NewServer(t.Context(), resp.Options{Addr: at}, sink.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flow.Run(t.Context(), clusterData(t), dst, flow.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
	return clusterPrintOfData(t)
}

// clusterPrint reads all shards of the cluster that is met at an address.
func clusterPrint(ctx context.Context, at string) (string, error) {
	src := source.NewCluster(resp.Options{Addr: at}, source.ScanOptions{})
	defer src.Close()
	f, err := verify.Compute(ctx, src, verify.Options{})
	if err != nil {
		return "", err
	}
	return f.String(), nil
}

func wantCluster(t *testing.T, at, want string) {
	t.Helper()
	eventually(t, "the cluster at "+at+" holds its data", func(ctx context.Context) (bool, error) {
		got, err := clusterPrint(ctx, at)
		if err == nil && got != want {
			err = fmt.Errorf("fingerprint %s, want %s", got, want)
		}
		return err == nil, err
	})
}

// slotsOf are the slots of each shard as the API shows them.
func slotsOf(g types.ReplicationGroup) string {
	var out []string
	for _, n := range g.NodeGroups {
		out = append(out, aws.ToString(n.Slots))
	}
	return strings.Join(out, " ")
}

// TestClusterMode takes groups in cluster mode from their creation to their end.
func TestClusterMode(t *testing.T) {
	for _, e := range []struct{ engine, version string }{{"valkey", "9.1"}, {"redis", "6.0"}} {
		t.Run(e.engine+"-"+e.version, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			g := s.createGroup(east, clusterRequest("shop", e.engine, e.version, 3, 1))
			if got := slotsOf(g); got != "0-5460 5461-10921 10922-16383" || !aws.ToBool(g.ClusterEnabled) || len(g.MemberClusters) != 6 {
				t.Fatalf("slots %s, members %v", got, g.MemberClusters)
			}
			want := fillCluster(t, configuration(g))

			// A primary dies; the replica of its shard takes over with all it had.
			s.killEngine(east, "shop-0002-001")
			s.wantMessage(east, "Failover from primary node shop-0002-001 to replica node shop-0002-002 completed")
			s.wantMessage(east, "shop-0002-001: Finished recovery")
			wantCluster(t, configuration(g), want)

			// The service ends and begins; the nodes do not notice.
			before := s.mustPID(east, "shop-0001-001")
			s.kill()
			s.start()
			if after := s.mustPID(east, "shop-0001-001"); after != before {
				t.Errorf("a node was started again: process %d and then %d", before, after)
			}
			s.snapshot(east, "shop", "kept")
			snap := s.awaitSnapshot(east, "kept", "available")
			if len(snap.NodeSnapshots) != 3 || aws.ToInt32(snap.NumNodeGroups) != 3 {
				t.Errorf("%d files of %d shards", len(snap.NodeSnapshots), aws.ToInt32(snap.NumNodeGroups))
			}
			s.deleteGroup(east, "shop", "")

			// To more shards with another map of the slots, and to fewer nodes.
			in := clusterRequest("wider", e.engine, e.version, 5, 0)
			in.SnapshotName = aws.String("kept")
			for i, slots := range []string{"0-999", "1000-4000,9000-9999", "4001-8999", "10000-16000", "16001-16383"} {
				n := types.NodeGroupConfiguration{Slots: &slots, ReplicaCount: aws.Int32(0)}
				if i == 4 {
					n.ReplicaCount = aws.Int32(1)
				}
				in.NodeGroupConfiguration = append(in.NodeGroupConfiguration, n)
			}
			in.NumNodeGroups, in.ReplicasPerNodeGroup = nil, nil
			g = s.createGroup(east, in)
			wantCluster(t, configuration(g), want)
			s.down()
			s.start()
			s.awaitGroup(east, "wider", "available")
			wantCluster(t, configuration(g), want)
			s.deleteGroup(east, "wider", "")

			in = clusterRequest("narrow", e.engine, e.version, 1, 0)
			in.SnapshotName = aws.String("kept")
			g = s.createGroup(east, in)
			wantCluster(t, configuration(g), want)
		})
	}
}

// snapshot asks for a snapshot of a group.
func (s *service) snapshot(region, group, name string) {
	s.t.Helper()
	_, err := s.elasticache(region).CreateSnapshot(s.t.Context(), &elasticache.CreateSnapshotInput{ReplicationGroupId: &group, SnapshotName: &name})
	s.accepted(err, "SnapshotAlreadyExistsFault")
}

// clusterFile is the made-up data as one RDB file.
func clusterFile(t *testing.T, databases int) []byte {
	t.Helper()
	shape, err := source.Preset("mixed", began)
	if err != nil {
		t.Fatal(err)
	}
	shape.Keys, shape.Databases = clusterKeys, databases
	src, err := source.NewGenerate(shape)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "data.rdb")
	target, err := sink.File(path)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := sink.NewRDB(target, rdb.HeaderOf(11))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flow.Run(t.Context(), src, dst, flow.Options{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func clusterPrintOfData(t *testing.T) string {
	t.Helper()
	f, err := verify.Compute(t.Context(), clusterData(t), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f.String()
}

// TestOneFileIntoManyShards divides a file that came from elsewhere, by the
// command line and with the engines' own client.
func TestOneFileIntoManyShards(t *testing.T) {
	t.Parallel()
	build := testkit.Engine(t, "valkey-8.1")
	s := startService(t)
	s.createBucket(east, "files")
	s.put(east, "files", "all.rdb", clusterFile(t, 1))
	s.put(east, "files", "strays.rdb", clusterFile(t, 2))
	here := s.shell(east)
	create := "aws elasticache create-replication-group --replication-group-description d --engine valkey --engine-version 8.1" +
		" --cache-node-type cache.t4g.small --automatic-failover-enabled --cache-parameter-group-name default.valkey8.cluster.on" +
		" --query ReplicationGroup.Status --node-group-configuration Slots=0-4999 Slots=5000-9999 Slots=10000-16383"
	here.want("creating", create+" --replication-group-id whole --snapshot-arns arn:aws:s3:::files/all.rdb")
	here.want("creating", create+" --replication-group-id strays --snapshot-arns arn:aws:s3:::files/strays.rdb")
	here.run("aws elasticache wait replication-group-available --replication-group-id whole")
	g := s.awaitGroup(east, "whole", "available")
	wantCluster(t, configuration(g), clusterPrintOfData(t))

	sh := &shell{t, append(os.Environ(), build.Env...)}
	host, port, _ := strings.Cut(configuration(g), ":")
	for i := range 8 {
		key, value := fmt.Sprint("customer-", i), fmt.Sprint("value ", i)
		sh.want("OK", build.CLI+" -c -e -h "+host+" -p "+port, "SET", key, value)
		sh.want(value, build.CLI+" -c -e -h "+host+" -p "+port, "GET", key)
	}

	s.awaitGroup(east, "strays", "create-failed")
	s.wantMessage(east, "a group in cluster mode has database 0 alone, and the data has keys in others: 1500 keys, among them")
	s.nothingRuns("strays-0001-001", "strays-0002-001", "strays-0003-001")
	s.deleteGroup(east, "strays", "")
	s.deleteGroup(east, "whole", "")
	s.nothingLeft()
}

// TestAClusterIsMadeThroughCrashes kills the service while a cluster is seeded and
// formed, and while a replica takes over.
func TestAClusterIsMadeThroughCrashes(t *testing.T) {
	file := clusterFile(t, 1)
	for _, at := range []string{"acted seed", "acted start", "acted configure", "acted finish", "ended promote"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.revive = true
			s.start()
			s.createBucket(east, "files")
			s.put(east, "files", "all.rdb", file)
			s.stop()
			s.start("HOLDFAST_CRASH_AT=" + at)
			in := clusterRequest("shop", "valkey", "9.1", 2, 0)
			in.NumNodeGroups, in.ReplicasPerNodeGroup = nil, nil
			in.SnapshotArns = []string{"arn:aws:s3:::files/all.rdb"}
			in.NodeGroupConfiguration = []types.NodeGroupConfiguration{
				{Slots: aws.String("0-9999"), ReplicaCount: aws.Int32(1)}, {Slots: aws.String("10000-16383")},
			}
			g := s.createGroup(east, in)
			want := clusterPrintOfData(t)
			wantCluster(t, configuration(g), want)
			s.killEngine(east, "shop-0001-001")
			eventually(t, "the former primary is a replica with its data", func(ctx context.Context) (bool, error) {
				s.reviveIfDead()
				out, err := try(ctx, s.nodeAddress(east, "shop-0001-001"), "INFO", "replication")
				return strings.Contains(out, "role:slave") && strings.Contains(out, "master_link_status:up"), err
			})
			s.reviveIfDead()
			wantCluster(t, configuration(g), want)
			if s.revived != 1 {
				t.Errorf("the service died %d times and should have once", s.revived)
			}
			s.deleteGroup(east, "shop", "")
			s.nothingLeft()
		})
	}
}

// nodeAddress is where a node answers.
func (s *service) nodeAddress(region, cluster string) string {
	s.t.Helper()
	out, err := s.elasticache(region).DescribeCacheClusters(s.t.Context(),
		&elasticache.DescribeCacheClustersInput{CacheClusterId: &cluster, ShowCacheNodeInfo: aws.Bool(true)})
	if err != nil {
		s.t.Fatal(err)
	}
	return addr(out.CacheClusters[0].CacheNodes[0].Endpoint)
}
