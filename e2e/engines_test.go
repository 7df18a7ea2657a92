package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"holdfast.dev/internal/resp"
)

// TestAKilledPrimaryIsReplacedByItsReplica is the failover scenario with the
// service alive all the time, and what the events say of it.
func TestAKilledPrimaryIsReplacedByItsReplica(t *testing.T) {
	t.Parallel()
	s := startService(t)
	pairInStep(s)
	failover(s)
	for _, text := range []string{
		"pair-001: Recovering cache nodes 0001",
		"pair-002: Failover from primary node pair-001 to replica node pair-002",
		"pair: Failover from primary node pair-001 to replica node pair-002 completed",
		"pair-001: Finished recovery for cache nodes 0001",
	} {
		s.wantMessage(east, text)
	}
	s.nothingLeft()
}

// TestAKilledReplicaComesBack: the primary serves all the time, and so does the
// reader endpoint, from the primary while there is no replica.
func TestAKilledReplicaComesBack(t *testing.T) {
	t.Parallel()
	s := startService(t)
	pairInStep(s)
	g := s.awaitGroup(east, "pair", "available")
	lead := redis(t, primary(g)) // one connection through all of it
	for range 2 {
		old := s.killEngine(east, "pair-002")
		ask(t, lead, "SET", "meanwhile", time.Now().String())
		eventually(t, "the replica runs again", func(context.Context) (bool, error) {
			pid := s.enginePID(east, "pair-002")
			return pid != 0 && pid != old, nil
		})
		want := ask(t, lead, "GET", "meanwhile")
		eventually(t, "the reader endpoint is a replica with all data", func(ctx context.Context) (bool, error) {
			info, err := try(ctx, reader(g), "INFO", "replication")
			if err != nil || !strings.Contains(info, "role:slave") {
				return false, err // the primary stands in
			}
			got, err := try(ctx, reader(g), "GET", "meanwhile")
			return got == want, err
		})
	}
	ask(t, lead, "DEL", "meanwhile")
	s.inStep(g, fewKeys)
	s.wantMessage(east, "pair-002: Recovering cache nodes 0001")
	s.wantMessage(east, "pair-002: Finished recovery for cache nodes 0001")
	s.awaitPrimary("pair", "pair-001")
}

// TestAKilledClusterComesBackEmptyAndSaysSo: it has no replica, and the default
// parameter groups keep nothing on disk.
func TestAKilledClusterComesBackEmptyAndSaysSo(t *testing.T) {
	t.Parallel()
	s := startService(t)
	_, err := s.elasticache(east).CreateCacheCluster(t.Context(), &elasticache.CreateCacheClusterInput{
		CacheClusterId: aws.String("alone"), Engine: aws.String("redis"), EngineVersion: aws.String("7.0"),
		CacheNodeType: aws.String("cache.t4g.small"), NumCacheNodes: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	at := s.awaitCluster("alone")
	fill(t, at, fewKeys)
	old := s.killEngine(east, "alone")
	s.wantMessage(east, "alone: Recovering cache nodes 0001")
	s.wantMessage(east, "alone: Finished recovery for cache nodes 0001")
	s.wantMessage(east, "alone: Cache node 0001 restarted without data")
	if pid := s.mustPID(east, "alone"); pid == old {
		t.Fatalf("process %d was killed and still runs", pid)
	}
	if n := ask(t, redis(t, at), "DBSIZE"); n != "0" {
		t.Fatalf("it has %s keys", n)
	}
}

// TestKilledWhileTheServiceIsDown: what died meanwhile is noticed at the next start.
func TestKilledWhileTheServiceIsDown(t *testing.T) {
	t.Parallel()
	s := startService(t)
	pairInStep(s)
	g := s.awaitGroup(east, "pair", "available")
	s.stop()
	s.killEngine(east, "pair-001")
	s.start()
	s.awaitPrimary("pair", "pair-002")
	s.awaitAnswer(primary(g), "SET", "written", "now")
	s.awaitAnswer(primary(g), "DEL", "written")
	wantData(t, primary(g), fewKeys)
	s.wantMessage(east, "pair-001: Finished recovery for cache nodes 0001")
	s.inStep(g, fewKeys)
}

// refused are commands that ElastiCache withholds from its customers.
var refused = [][]string{
	{"CONFIG", "GET", "maxmemory"},
	{"CONFIG", "SET", "maxmemory", "1"},
	{"SHUTDOWN", "NOSAVE"},
	{"REPLICAOF", "NO", "ONE"},
	{"SLAVEOF", "NO", "ONE"},
	{"DEBUG", "SLEEP", "0"},
	{"BGSAVE"},
	{"SAVE"},
	{"BGREWRITEAOF"},
	{"MIGRATE", "127.0.0.1", "1", "key", "0", "1"},
	{"PSYNC", "?", "-1"},
	{"SYNC"},
	{"ACL", "SETUSER", "mallory", "on"},
	{"ACL", "DELUSER", "default"},
	{"MODULE", "LOAD", "/tmp/x.so"},
	{"CLUSTER", "MEET", "127.0.0.1", "1"},
}

// withheld fails the test unless all of them are refused for lack of permission.
func withheld(t *testing.T, at string) {
	t.Helper()
	for _, cmd := range refused {
		_, err := try(t.Context(), at, cmd...)
		// Newer engines refuse DEBUG and MODULE before they look at permissions.
		sooner := resp.IsServerError(err, "ERR") && strings.Contains(err.Error(), "command not allowed")
		if !sooner && !resp.IsServerError(err, "NOPERM") {
			t.Errorf("%v at %s: %v", cmd, at, err)
		}
	}
	if got, err := try(t.Context(), at, "ACL", "WHOAMI"); err != nil || got != "default" {
		t.Errorf("ACL WHOAMI at %s: %s %v", at, got, err)
	}
}
