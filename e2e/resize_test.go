package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"holdfast.dev/internal/cache"
)

// dataLimit is what a node of a type may hold, as the engines know it.
func dataLimit(nodeType string) string {
	t, _ := cache.FindNodeType(nodeType)
	return strconv.FormatInt(t.MaxMemory/100*75, 10)
}

// TestNodeTypesWhileItRuns gives caches other node types, up and down: no process is
// started anew, every node has its new limit, and nothing is evicted.
func TestNodeTypesWhileItRuns(t *testing.T) {
	s := startService(t)
	api := s.elasticache(east)
	clustered := clusterRequest("shards", "redis", "7.0", 2, 1)
	clustered.CacheNodeType = aws.String("cache.t3.medium")
	s.createGroup(east, clustered)
	pair := groupRequest("pair", "redis", "6.0", 2)
	pair.CacheNodeType = aws.String("cache.t3.medium")
	at := primary(s.createGroup(east, pair))
	fill(t, at, fewKeys)
	for id, members := range map[string][]string{
		"pair":   memberNames("pair", 2),
		"shards": append(memberNames("shards-0001", 2), memberNames("shards-0002", 2)...),
	} {
		pids := map[string]int{}
		for _, m := range members {
			pids[m] = s.mustPID(east, m)
		}
		for _, to := range []string{"cache.t3.small", "cache.m6g.large"} {
			_, err := api.ModifyReplicationGroup(t.Context(), &elasticache.ModifyReplicationGroupInput{
				ReplicationGroupId: &id, CacheNodeType: &to, ApplyImmediately: aws.Bool(true),
			})
			s.accepted(err)
			if g := s.awaitGroup(east, id, "available"); *g.CacheNodeType != to {
				t.Errorf("%s is of %s, want %s", id, *g.CacheNodeType, to)
			}
			s.wantMessage(east, "Succeeded applying modification to cache node type to "+to+".")
			for _, m := range members {
				if got, pid := memoryField(t, s.nodeAddress(east, m), "maxmemory"), s.mustPID(east, m); got != dataLimit(to) || pid != pids[m] {
					t.Errorf("%s as process %d holds %s, want %s as process %d", m, pid, got, dataLimit(to), pids[m])
				}
			}
		}
	}
	wantData(t, at, fewKeys)
}

// TestANodeTypeThatIsTooSmall asks for less memory than the data take: refused with both
// figures and ElastiCache's event, and nothing is touched. With fewer keys the same call works.
func TestANodeTypeThatIsTooSmall(t *testing.T) {
	const megabytes = 420 // cache.t3.micro holds 384
	s := startService(t)
	api := s.elasticache(east)
	in := groupRequest("large", "valkey", "8.1", 1)
	in.CacheNodeType = aws.String("cache.t3.small")
	conn := redis(t, primary(s.createGroup(east, in)))
	value := strings.Repeat("x", 1<<20-64) // with its header it takes a mebibyte
	for n := range megabytes {
		// They are the first to be evicted, if anything is.
		ask(t, conn, "SET", fmt.Sprint("key:", n), value, "EX", "86400")
	}
	shrink := func() error {
		_, err := api.ModifyReplicationGroup(t.Context(), &elasticache.ModifyReplicationGroupInput{
			ReplicationGroupId: aws.String("large"), CacheNodeType: aws.String("cache.t3.micro"), ApplyImmediately: aws.Bool(true),
		})
		return err
	}
	err := shrink()
	if code(err) != "InvalidParameterCombination" || !strings.Contains(err.Error(), "a node of type cache.t3.micro holds 384.0 MiB") {
		t.Fatalf("got %v", err)
	}
	s.wantMessage(east, "Failed applying modification to cache node type to cache.t3.micro.")
	if g := s.awaitGroup(east, "large", "available"); *g.CacheNodeType != "cache.t3.small" {
		t.Errorf("it is of %s", *g.CacheNodeType)
	}
	if n := ask(t, conn, "DBSIZE"); n != fmt.Sprint(megabytes) {
		t.Errorf("%s keys are left of %d", n, megabytes)
	}
	for n := range 100 {
		ask(t, conn, "DEL", fmt.Sprint("key:", n))
	}
	if err := shrink(); err != nil {
		t.Fatal(err)
	}
	if g := s.awaitGroup(east, "large", "available"); *g.CacheNodeType != "cache.t3.micro" {
		t.Errorf("it is of %s", *g.CacheNodeType)
	}
	if n := ask(t, conn, "DBSIZE"); n != fmt.Sprint(megabytes-100) {
		t.Errorf("%s keys are left of %d", n, megabytes-100)
	}
	if got := memoryField(t, s.nodeAddress(east, "large-001"), "maxmemory"); got != dataLimit("cache.t3.micro") {
		t.Errorf("it holds %s", got)
	}
}

// resizing gives a pair another node type at once.
func resizing(s *service) {
	s.t.Helper()
	s.awaitGroup(east, "pair", "available")
	_, err := s.elasticache(east).ModifyReplicationGroup(s.t.Context(), &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: aws.String("pair"), CacheNodeType: aws.String("cache.t3.micro"), ApplyImmediately: aws.Bool(true),
	})
	s.accepted(err, "InvalidReplicationGroupState") // a call that was cut off had been heard
	s.resized("cache.t3.micro")
}

// waiting makes a pair with another node type pending.
func waiting(s *service) {
	s.t.Helper()
	pairInStep(s)
	_, err := s.elasticache(east).ModifyReplicationGroup(s.t.Context(), &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: aws.String("pair"), CacheNodeType: aws.String("cache.t3.medium"),
	})
	s.accepted(err)
}

// hastening kills a node of such a pair, so that what is pending is not put off further.
func hastening(s *service) {
	s.t.Helper()
	s.awaitGroup(east, "pair", "available")
	s.killEngine(east, "pair-002")
	s.resized("cache.t3.medium")
}

// resized waits until a pair is of a node type, with all of its data, and deletes it.
func (s *service) resized(nodeType string) {
	s.t.Helper()
	eventually(s.t, "the pair is of "+nodeType, func(ctx context.Context) (bool, error) {
		s.reviveIfDead()
		out, err := s.elasticache(east).DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("pair")})
		if err != nil {
			return false, err
		}
		g := out.ReplicationGroups[0]
		return *g.Status == "available" && *g.CacheNodeType == nodeType, fmt.Errorf("it is %s and of %s", *g.Status, *g.CacheNodeType)
	})
	g := s.awaitGroup(east, "pair", "available")
	s.inStep(g, fewKeys)
	wantData(s.t, primary(g), fewKeys)
	for _, m := range memberNames("pair", 2) {
		if got := memoryField(s.t, s.nodeAddress(east, m), "maxmemory"); got != dataLimit(nodeType) {
			s.t.Errorf("%s holds %s, want %s", m, got, dataLimit(nodeType))
		}
	}
	s.wantMessage(east, "pair: Succeeded applying modification to cache node type to "+nodeType+".")
	s.deleteGroup(east, "pair", "")
}
