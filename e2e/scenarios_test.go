package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// fewKeys is enough data where the number does not matter.
const fewKeys = 300

// scenario is a run of the service that ends with everything deleted, whatever
// happens to the service meanwhile.
type scenario struct {
	name string
	// kinds of actions that occur in it, as internal/reconcile names them.
	kinds []string
	// before, if set, happens first, in a service that does not crash.
	before func(s *service)
	// between, if set, changes the records before the service that may crash is started.
	between func(s *service)
	run     func(s *service)
	// snapshots tells that there is one to be observed.
	snapshots bool
}

var scenarios = []scenario{
	{
		name:  "journey",
		kinds: []string{"seed", "start", "ready", "verify", "finish", "snapshot", "copy", "export", "erase", "remove", "drop"},
		run: func(s *service) {
			j := journey{service: s, keys: fewKeys}
			j.run()
			j.deleteAll()
		},
		snapshots: true,
	},
	{
		name:   "failover",
		kinds:  []string{"promote", "start", "ready"},
		before: pairInStep,
		run:    failover,
	},
	{
		name:   "members",
		kinds:  []string{"join", "leave", "part", "demote", "test", "settle", "configure"},
		before: pairInStep,
		run:    membersChange,
	},
	{
		name:   "a replica that cannot start",
		kinds:  []string{"call-off", "remove"},
		before: func(s *service) { s.createGroup(east, groupRequest("shop", "valkey", "8.1", 1)) },
		run: func(s *service) {
			s.cannotAdd(s.awaitGroup(east, "shop", "available"))
			s.deleteGroup(east, "shop", "")
		},
	},
	{
		name:  "forwarders",
		kinds: []string{"forward", "unforward"},
		run:   oldEngine,
	},
	{
		name:   "cluster",
		kinds:  []string{"seed", "start", "ready", "verify", "finish", "remove", "drop"},
		before: backedUp,
		run:    clusterFromSnapshot, snapshots: true,
	},
	{
		name:   "corrupt seed",
		kinds:  []string{"give-up", "remove"},
		before: func(s *service) { putCorrupt(s, "corrupt") },
		run:    corruptSeed,
	},
	{
		name:   "failing final snapshot",
		kinds:  []string{"abandon", "keep"},
		before: backedUp,
		run:    failingFinalSnapshot,
	},
	{
		name:  "import",
		kinds: []string{"import", "unstage"},
		run:   importFile, snapshots: true,
	},
	{
		name:    "scrub",
		kinds:   []string{"scrub"},
		before:  twoStored,
		between: aWeekLater,
		run:     scrubbed,
	},
	{
		name:    "automatic backup",
		kinds:   []string{"missed", "backup", "expire", "erase"},
		before:  withData,
		between: overdue,
		run:     automaticBackup, snapshots: true,
	},
	{
		name:   "failing copy",
		kinds:  []string{"abandon"},
		before: backedUp,
		run:    failingCopy, snapshots: true,
	},
	{
		name:   "parameters",
		kinds:  []string{"parameters", "reboot", "rebooted"},
		before: pairInStep,
		run:    parametersAndReboot,
	},
	{
		name:   "node type",
		kinds:  []string{"begin", "resize"},
		before: pairInStep,
		run:    resizing,
	},
	{
		name:   "node type put off",
		kinds:  []string{"hasten"},
		before: waiting,
		run:    hastening,
	},
	{
		name:   "failing upgrade",
		kinds:  []string{"stop-short", "revert", "convert"},
		before: beforeFailingUpgrade,
		run:    failingUpgrade,
	},
	{
		name:    "newer build",
		kinds:   []string{"minor"},
		before:  beforeNewerBuild,
		between: installNewerBuild,
		run:     newerBuild,
	},
	{
		name:   "encryption",
		kinds:  []string{"encrypt", "configure", "forward", "unforward"},
		before: pairInStep,
		run:    encryptionChanges,
	},
	{
		name:  "encryption of all",
		kinds: []string{"configure", "unforward", "encrypt"},
		before: func(s *service) {
			pairInStep(s)
			s.changeTransit("pair", "preferred")
		},
		run: encryptionChanges,
	},
	{
		name:  "resharding",
		kinds: []string{"reshard", "move", "conclude"},
		run:   resharding,
	},
	{
		name:   "tokens",
		kinds:  []string{"access"},
		before: func(s *service) { s.protected("valkey", "8.1", 2) },
		run:    tokens,
	},
}

// pairInStep makes a primary and a replica that has all its data.
func pairInStep(s *service) {
	s.t.Helper()
	g := s.createGroup(east, groupRequest("pair", "valkey", "8.1", 2))
	fill(s.t, primary(g), fewKeys)
	s.inStep(g, fewKeys)
}

// inStep waits until the only replica of a group has the made-up data. WAIT
// would tell only of what its own connection wrote.
func (s *service) inStep(g types.ReplicationGroup, keys int64) {
	s.t.Helper()
	eventually(s.t, "the replica has all data", func(ctx context.Context) (bool, error) {
		s.reviveIfDead()
		got, err := tryFingerprint(ctx, reader(g))
		return got == reference(s.t, keys), err
	})
}

// failover kills a primary and expects its replica in its place, with all data,
// at the same address.
func failover(s *service) {
	s.t.Helper()
	g := s.awaitGroup(east, "pair", "available")
	old := s.killEngine(east, "pair-001")
	s.awaitPrimary("pair", "pair-002")
	s.awaitAnswer(primary(g), "SET", "written", "after the failover")
	eventually(s.t, "the old primary is back as a replica", func(ctx context.Context) (bool, error) {
		s.reviveIfDead()
		pid := s.enginePID(east, "pair-001")
		got, err := try(ctx, reader(g), "GET", "written")
		return err == nil && got == "after the failover" && pid != 0 && pid != old, err
	})
	s.awaitAnswer(primary(g), "DEL", "written")
	wantData(s.t, primary(g), fewKeys)
	s.isReplica(reader(g)) // the new primary stood in for it until it was told to let go
	s.inStep(g, fewKeys)
	after := s.awaitGroup(east, "pair", "available")
	if primary(after) != primary(g) || reader(after) != reader(g) {
		s.t.Fatal("the endpoints have changed")
	}
	s.wantMessage(east, "pair-001: Finished recovery for cache nodes 0001")
	s.deleteGroup(east, "pair", "")
}

// awaitPrimary polls until the API says that a member leads.
func (s *service) awaitPrimary(group, member string) {
	s.t.Helper()
	api := s.elasticache(east)
	eventually(s.t, member+" is primary", func(ctx context.Context) (bool, error) {
		out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &group})
		if err != nil {
			return false, err
		}
		for _, m := range out.ReplicationGroups[0].NodeGroups[0].NodeGroupMembers {
			if aws.ToString(m.CacheClusterId) == member {
				return aws.ToString(m.CurrentRole) == "primary", nil
			}
		}
		return false, fmt.Errorf("%s is no member", member)
	})
}

// awaitAnswer repeats a command until it is answered without an error.
func (s *service) awaitAnswer(at string, args ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%s answers %v", at, args), func(ctx context.Context) (bool, error) {
		s.reviveIfDead()
		_, err := try(ctx, at, args...)
		return err == nil, err
	})
}

// oldEngine is a group whose engine cannot take endpoints up, so that forwarders
// of the service's stand there: they are gone while it is down.
func oldEngine(s *service) {
	s.t.Helper()
	g := s.createGroup(east, groupRequest("old", "redis", "6.0", 2))
	s.awaitAnswer(primary(g), "SET", "key", "value")
	eventually(s.t, "the reader endpoint has the key", func(ctx context.Context) (bool, error) {
		got, err := try(ctx, reader(g), "GET", "key")
		s.reviveIfDead() // no forwarder without a service
		return got == "value", err
	})
	s.deleteGroup(east, "old", "")
	for _, at := range []string{primary(g), reader(g)} {
		if _, err := try(s.t.Context(), at, "PING"); err == nil {
			s.t.Errorf("something still answers at %s", at)
		}
	}
}

// backedUp makes a group with data and a snapshot of it.
func backedUp(s *service) {
	s.t.Helper()
	g := s.createGroup(east, groupRequest("origin", "valkey", "8.1", 1))
	fill(s.t, primary(g), fewKeys)
	s.takeSnapshot(east, "origin", "backup")
}

func clusterFromSnapshot(s *service) {
	s.t.Helper()
	api := s.elasticache(east)
	_, err := api.CreateCacheCluster(s.t.Context(), &elasticache.CreateCacheClusterInput{
		CacheClusterId: aws.String("alone"), Engine: aws.String("valkey"), CacheNodeType: aws.String("cache.t4g.small"),
		NumCacheNodes: aws.Int32(1), SnapshotName: aws.String("backup"),
	})
	s.accepted(err, "CacheClusterAlreadyExists")
	wantData(s.t, s.awaitCluster("alone"), fewKeys)
	s.awaitSnapshot(east, "backup", "available")
	_, err = api.DeleteCacheCluster(s.t.Context(), &elasticache.DeleteCacheClusterInput{CacheClusterId: aws.String("alone")})
	s.accepted(err, "CacheClusterNotFound", "InvalidCacheClusterState")
	eventually(s.t, "the cluster is gone", func(ctx context.Context) (bool, error) {
		_, err := api.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("alone")})
		return code(err) == "CacheClusterNotFound", err
	})
	s.deleteGroup(east, "origin", "")
	s.deleteSnapshot(east, "backup")
}

// awaitCluster waits until a cluster that stands alone is available, and returns its address.
func (s *service) awaitCluster(id string) string {
	s.t.Helper()
	api := s.elasticache(east)
	at := ""
	eventually(s.t, "cluster "+id+" is available", func(ctx context.Context) (bool, error) {
		out, err := api.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: &id, ShowCacheNodeInfo: aws.Bool(true)})
		if err != nil {
			return false, err
		}
		c := out.CacheClusters[0]
		switch now := aws.ToString(c.CacheClusterStatus); now {
		case "available":
		case "restore-failed":
			s.t.Fatalf("cluster %s is %s: %v", id, now, s.messages(east))
		default:
			return false, nil
		}
		at = addr(c.CacheNodes[0].Endpoint)
		return true, nil
	})
	return at
}

// rdbFile is an RDB file with fewKeys keys, the same for every test of a run.
func rdbFile(t *testing.T) []byte {
	t.Helper()
	b, err := madeFile()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(b)
}

var madeFile = sync.OnceValues(func() ([]byte, error) {
	path := filepath.Join(filepath.Dir(program), "made.rdb")
	out, err := exec.Command(program, "generate", path, "--keys", fmt.Sprint(fewKeys)).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("generate: %w\n%s", err, out)
	}
	return os.ReadFile(path)
})

func (s *service) put(region, bucket, key string, content []byte) {
	s.t.Helper()
	_, err := s.s3(region).PutObject(s.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)})
	if err != nil {
		s.t.Fatal(err)
	}
}

// putCorrupt puts an RDB file with one wrong bit into a bucket.
func putCorrupt(s *service, bucket string) {
	s.t.Helper()
	content := rdbFile(s.t)
	content[len(content)/2] ^= 0x10
	s.createBucket(east, bucket)
	s.put(east, bucket, "flipped.rdb", content)
}

func corruptSeed(s *service) {
	s.t.Helper()
	in := groupRequest("doomed", "valkey", "8.1", 2)
	in.SnapshotArns = []string{"arn:aws:s3:::corrupt/flipped.rdb"}
	_, err := s.elasticache(east).CreateReplicationGroup(s.t.Context(), in)
	s.accepted(err, "ReplicationGroupAlreadyExists")
	s.awaitGroup(east, "doomed", "create-failed")
	s.wantMessage(east, "doomed: Failed to create the replication group")
	s.nothingRuns("doomed-001", "doomed-002")
	s.deleteGroup(east, "doomed", "")
}

// nothingRuns waits until the nodes of some clusters have no process and no directory.
func (s *service) nothingRuns(clusters ...string) {
	s.t.Helper()
	for _, id := range clusters {
		dir := filepath.Join(s.dir, "nodes", east, id)
		eventually(s.t, "nothing is left of "+id, func(ctx context.Context) (bool, error) {
			s.reviveIfDead()
			_, err := os.Stat(dir)
			return os.IsNotExist(err) && len(processesIn(s.t, dir)) == 0, err
		})
	}
}

// failingFinalSnapshot asks for a deletion whose final snapshot cannot be
// written: nothing is deleted. With the obstacle gone it is.
func failingFinalSnapshot(s *service) {
	s.t.Helper()
	g := s.awaitGroup(east, "origin", "available")
	dir := filepath.Join(s.dir, "snapshots", east)
	obstruct(s.t, dir)
	_, err := s.elasticache(east).DeleteReplicationGroup(s.t.Context(), &elasticache.DeleteReplicationGroupInput{
		ReplicationGroupId: aws.String("origin"), FinalSnapshotIdentifier: aws.String("last"),
	})
	s.accepted(err, "InvalidReplicationGroupState", "SnapshotAlreadyExistsFault")
	s.awaitSnapshot(east, "last", "failed")
	s.awaitGroup(east, "origin", "available")
	wantData(s.t, primary(g), fewKeys)
	s.wantMessage(east, "Snapshot failed for snapshot with ID 'last'")
	s.wantMessage(east, "Deletion called off: the final snapshot last failed and nothing was deleted")
	unobstruct(s.t, dir)
	s.deleteSnapshot(east, "last")
	s.deleteGroup(east, "origin", "second")
	if man, err := manifest(filepath.Join(dir, "second")); err != nil || man.Fingerprint != reference(s.t, fewKeys) {
		s.t.Fatalf("the final snapshot holds %s: %v", man.Fingerprint, err)
	}
	s.deleteSnapshot(east, "second")
	s.deleteSnapshot(east, "backup")
}

// failingCopy has a file in the place of the copy's directory.
func failingCopy(s *service) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "snapshots", east, "second")
	obstruct(s.t, dir)
	_, err := s.elasticache(east).CopySnapshot(s.t.Context(), &elasticache.CopySnapshotInput{
		SourceSnapshotName: aws.String("backup"), TargetSnapshotName: aws.String("second"),
	})
	s.accepted(err, "SnapshotAlreadyExistsFault")
	s.awaitSnapshot(east, "second", "failed")
	s.awaitSnapshot(east, "backup", "available")
	unobstruct(s.t, dir)
	s.deleteSnapshot(east, "second")
	s.copySnapshot(east, "backup", "second")
	s.deleteSnapshot(east, "second")
	s.deleteSnapshot(east, "backup")
	s.deleteGroup(east, "origin", "")
}

const aside = ".aside"

// obstruct puts a file where a directory is or is to be made.
func obstruct(t *testing.T, dir string) {
	t.Helper()
	if err := os.Rename(dir, dir+aside); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// unobstruct undoes obstruct.
func unobstruct(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+aside, dir); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
