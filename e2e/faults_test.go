package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/testkit"
)

// wantFault fails the test unless err is the SDK's type E and says the text.
func wantFault[E error](t *testing.T, err error, text string) {
	t.Helper()
	var want E
	switch {
	case err == nil:
		t.Errorf("no error; %T is wanted", want)
	case !errors.As(err, &want):
		t.Errorf("%v is no %T", err, want)
	case !strings.Contains(want.Error(), text):
		t.Errorf("%q does not say %q", want.Error(), text)
	}
}

// TestFaultsOfSeeds: what can be known at once is refused, in ElastiCache's words.
func TestFaultsOfSeeds(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.createBucket(east, "here")
	s.createBucket(west, "there")
	s.put(east, "here", "file.rdb", rdbFile(t))
	s.put(west, "there", "file.rdb", rdbFile(t))
	for arn, text := range map[string]string{
		"arn:aws:s3:::nowhere/file.rdb":                          "The S3 bucket nowhere does not exist.",
		"arn:aws:s3:::there/file.rdb":                            "The S3 bucket there is outside of the region.",
		"arn:aws:s3:::here/other.rdb":                            "The S3 bucket here does not contain an object with key other.rdb.",
		"arn:aws:s3:::here":                                      "arn:aws:s3:::bucket/folder/file.rdb",
		"here/file.rdb":                                          "arn:aws:s3:::bucket/folder/file.rdb",
		"arn:aws:s3:::here/file.rdb,arn:aws:s3:::there/file.rdb": "must not contain a comma",
	} {
		in := groupRequest("refused", "valkey", "8.1", 1)
		in.SnapshotArns = []string{arn}
		_, err := s.elasticache(east).CreateReplicationGroup(t.Context(), in)
		wantFault[*types.InvalidParameterValueException](t, err, text)
	}
	in := groupRequest("refused", "valkey", "8.1", 1)
	in.SnapshotName = aws.String("nothing")
	_, err := s.elasticache(east).CreateReplicationGroup(t.Context(), in)
	if code(err) != "SnapshotNotFoundFault" { // the SDK has no type for it here
		t.Errorf("a snapshot that is not there: %v", err)
	}
	in = groupRequest("refused", "valkey", "3.2", 1)
	_, err = s.elasticache(east).CreateReplicationGroup(t.Context(), in)
	wantFault[*types.InvalidParameterCombinationException](t, err, "3.2")
	s.nothingLeft()
}

// TestBadFilesEndInCreateFailed: what only reading shows ends the creation, an
// event says why, and nothing is left running.
func TestBadFilesEndInCreateFailed(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.createBucket(east, "bad")
	good := rdbFile(t)
	flipped := append([]byte{}, good...)
	flipped[len(flipped)/2] ^= 0x10
	for _, bad := range []struct {
		id, engine, version, says string
		content                   []byte
	}{
		{"truncated", "valkey", "8.1", "at byte", good[:len(good)/2]},
		{"flipped", "valkey", "8.1", "at byte", flipped},
		{"text", "redis", "7.0", "at byte", []byte("this is not an RDB file, and not a short one")},
		{"empty", "redis", "6.0", "at byte", nil},
		{"too-new", "redis", "7.0", "redis " + testkit.Engine(t, "redis-7.0").Version + " does not hold field TTLs of hashes: 1 key", valkey9File(t)},
	} {
		s.put(east, "bad", bad.id+".rdb", bad.content)
		for _, nodes := range []int32{1, 2} {
			in := groupRequest(bad.id, bad.engine, bad.version, nodes)
			in.SnapshotArns = []string{"arn:aws:s3:::bad/" + bad.id + ".rdb"}
			if _, err := s.elasticache(east).CreateReplicationGroup(t.Context(), in); err != nil {
				t.Errorf("%s: %v", bad.id, err)
				continue
			}
			s.awaitGroup(east, bad.id, "create-failed")
			s.nothingRuns(bad.id+"-001", bad.id+"-002")
			s.wantFailure(bad.id, bad.says)
			s.deleteGroup(east, bad.id, "")
		}
	}
	s.nothingLeft()
}

// wantFailure waits for the event that tells why a group could not be created.
func (s *service) wantFailure(id, says string) {
	s.t.Helper()
	eventually(s.t, "an event says why "+id+" has failed", func(context.Context) (bool, error) {
		for _, m := range s.messages(east) {
			if strings.Contains(m, id+": Failed to create the replication group") {
				if !strings.Contains(m, says) || !strings.Contains(m, "s3://bad/"+id+".rdb") {
					s.t.Errorf("the event does not say %q: %s", says, m)
				}
				return true, nil
			}
		}
		return false, nil
	})
}

// valkey9File is what Valkey 9 writes, which no Redis reads, with what no older one holds.
func valkey9File(t *testing.T) []byte {
	t.Helper()
	server := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	server.Must("SET", "key", "value")
	server.Must("HSET", "hash", "field", "value")
	server.Must("HEXPIRE", "hash", "10000", "FIELDS", "1", "field")
	server.Must("SAVE")
	b, err := os.ReadFile(filepath.Join(server.Dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), "VALKEY080") {
		t.Fatalf("the file begins with %q", b[:9])
	}
	return b
}

// TestFaultsOfNamesAndStates goes through what is taken, missing and busy.
func TestFaultsOfNamesAndStates(t *testing.T) {
	t.Parallel()
	s := startService(t)
	ctx, api := t.Context(), s.elasticache(east)
	snapshot := func(group, name string) error {
		_, err := api.CreateSnapshot(ctx, &elasticache.CreateSnapshotInput{ReplicationGroupId: &group, SnapshotName: &name})
		return err
	}
	remove := func(group, final string) error {
		in := &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: &group}
		if final != "" {
			in.FinalSnapshotIdentifier = &final
		}
		_, err := api.DeleteReplicationGroup(ctx, in)
		return err
	}
	// No node can be started yet, so the group is not done being created.
	nodes := filepath.Join(s.dir, "nodes")
	obstruct(t, nodes)
	if _, err := api.CreateReplicationGroup(ctx, groupRequest("busy", "valkey", "8.1", 1)); err != nil {
		t.Fatal(err)
	}
	wantFault[*types.InvalidReplicationGroupStateFault](t, snapshot("busy", "early"), "creating")
	_, err := api.CreateReplicationGroup(ctx, groupRequest("BUSY", "valkey", "8.1", 1))
	wantFault[*types.ReplicationGroupAlreadyExistsFault](t, err, "busy")
	unobstruct(t, nodes)
	s.awaitGroup(east, "busy", "available")
	// The node does nothing for a while, so its snapshot is not done being made.
	goOn := s.haltEngine(east, "busy-001")
	if err := snapshot("busy", "one"); err != nil {
		t.Fatal(err)
	}
	wantFault[*types.InvalidReplicationGroupStateFault](t, snapshot("busy", "two"), "snapshotting")
	wantFault[*types.InvalidReplicationGroupStateFault](t, remove("busy", ""), "snapshotting")
	_, err = api.DeleteSnapshot(ctx, &elasticache.DeleteSnapshotInput{SnapshotName: aws.String("one")})
	wantFault[*types.InvalidSnapshotStateFault](t, err, "creating")
	_, err = api.CopySnapshot(ctx, &elasticache.CopySnapshotInput{SourceSnapshotName: aws.String("one"), TargetSnapshotName: aws.String("copy")})
	wantFault[*types.InvalidSnapshotStateFault](t, err, "creating")
	goOn()
	s.awaitSnapshot(east, "one", "available")
	s.awaitGroup(east, "busy", "available")
	wantFault[*types.SnapshotAlreadyExistsFault](t, snapshot("busy", "one"), "one")
	wantFault[*types.SnapshotAlreadyExistsFault](t, remove("busy", "one"), "one")
	wantFault[*types.ReplicationGroupNotFoundFault](t, snapshot("nobody", "two"), "nobody")
	wantFault[*types.ReplicationGroupNotFoundFault](t, remove("nobody", ""), "nobody")
	s.faultsOfCopies()
	_, err = api.DescribeSnapshots(ctx, &elasticache.DescribeSnapshotsInput{SnapshotName: aws.String("nothing")})
	wantFault[*types.SnapshotNotFoundFault](t, err, "nothing")
	_, err = api.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("nobody")})
	wantFault[*types.CacheClusterNotFoundFault](t, err, "nobody")
	// Nothing of all this did any harm.
	s.awaitGroup(east, "busy", "available")
	s.deleteGroup(east, "busy", "")
	s.deleteSnapshot(east, "one")
	s.nothingLeft()
}

// faultsOfCopies needs a snapshot "one".
func (s *service) faultsOfCopies() {
	s.t.Helper()
	copyTo := func(target, bucket string) error {
		in := &elasticache.CopySnapshotInput{SourceSnapshotName: aws.String("one"), TargetSnapshotName: &target}
		if bucket != "" {
			in.TargetBucket = &bucket
		}
		_, err := s.elasticache(east).CopySnapshot(s.t.Context(), in)
		return err
	}
	s.createBucket(east, "exports")
	s.createBucket(west, "elsewhere")
	s.put(east, "exports", "taken-0001.rdb", []byte("not to be replaced"))
	wantFault[*types.SnapshotAlreadyExistsFault](s.t, copyTo("one", ""), "one")
	wantFault[*types.InvalidParameterValueException](s.t, copyTo("x", "nowhere"), "The S3 bucket nowhere does not exist.")
	wantFault[*types.InvalidParameterValueException](s.t, copyTo("x", "elsewhere"), "The S3 bucket elsewhere is outside of the region.")
	wantFault[*types.InvalidParameterValueException](s.t, copyTo("taken", "exports"), "already contains an object with key taken-0001.rdb")
	s.awaitSnapshot(east, "one", "available")
	if keys := s.objects(east, "exports"); len(keys) != 1 {
		s.t.Errorf("the bucket has %v", keys)
	}
}
