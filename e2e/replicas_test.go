package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/resp"
)

// counter writes 1, 2, 3 … to keys of their own at one address, over and over whatever
// happens, and remembers which were acknowledged.
type counter struct {
	at    string
	stop  func()
	mu    sync.Mutex
	acked []int
	errs  map[string]bool
}

// count starts a counter that ends with the test, if not before.
func count(t *testing.T, at string) *counter {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &counter{at: at, errs: map[string]bool{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ctx.Err() == nil; {
			n = c.connection(ctx, n)
		}
	}()
	c.stop = func() { cancel(); <-done }
	t.Cleanup(c.stop)
	return c
}

// connection writes from n on until the connection or a write fails, and returns the
// number to go on with. What failed is not written again: it may be there or not.
func (c *counter) connection(ctx context.Context, n int) int {
	dial, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := resp.Dial(dial, resp.Options{Addr: c.at})
	for err == nil {
		_, err = conn.Do(ctx, "SET", "count:"+strconv.Itoa(n), strconv.Itoa(n))
		c.mu.Lock()
		if err == nil {
			c.acked = append(c.acked, n)
		}
		c.mu.Unlock()
		n++
	}
	c.mu.Lock()
	c.errs[err.Error()] = true
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // it has failed
	}
	return n
}

func (c *counter) sum() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

// goesOn waits until more has been acknowledged than there is now.
func (c *counter) goesOn(t *testing.T) {
	t.Helper()
	now := c.sum()
	eventually(t, "writes are acknowledged", func(context.Context) (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.acked) > now+10, fmt.Errorf("%d so far, errors %v", len(c.acked), c.errs)
	})
}

// lost ends the counter and returns what was acknowledged and is not there.
func (c *counter) lost(t *testing.T) []int {
	t.Helper()
	c.stop()
	conn := redis(t, c.at)
	var out []int
	for _, n := range c.acked {
		if ask(t, conn, "GET", "count:"+strconv.Itoa(n)) != strconv.Itoa(n) {
			out = append(out, n)
		}
	}
	args := []string{"DEL", "count:0"}
	for n := range c.acked[len(c.acked)-1] + 2 {
		args = append(args, "count:"+strconv.Itoa(n))
	}
	ask(t, conn, args...)
	return out
}

// roles are the members of a group without cluster mode, the primary first.
func roles(g types.ReplicationGroup) string {
	var out []string
	for _, m := range g.NodeGroups[0].NodeGroupMembers {
		out = append(out, aws.ToString(m.CacheClusterId)+" "+aws.ToString(m.CurrentRole)+" "+aws.ToString(m.PreferredAvailabilityZone))
	}
	return strings.Join(out, ", ")
}

// wantMembers fails the test unless these are the members.
func wantMembers(t *testing.T, g types.ReplicationGroup, want ...string) {
	t.Helper()
	if !slices.Equal(g.MemberClusters, want) {
		t.Fatalf("the members are %v, want %v", g.MemberClusters, want)
	}
}

// inOrder fails the test unless some events are there in this order.
func (s *service) inOrder(want ...string) {
	s.t.Helper()
	s.wantMessage(east, want[len(want)-1])
	all := s.messages(east)
	slices.Reverse(all)
	rest := all
	for _, w := range want {
		i := slices.IndexFunc(rest, func(m string) bool { return strings.HasSuffix(m, w) })
		if i < 0 {
			s.t.Errorf("no event says %q after those before it:\n%s", w, strings.Join(all, "\n"))
			return
		}
		rest = rest[i+1:]
	}
}

// TestReplicasComeAndGo changes the members of a group while it is written to.
func TestReplicasComeAndGo(t *testing.T) {
	for _, e := range []struct{ engine, version string }{{"valkey", "8.1"}, {"redis", "6.0"}} {
		t.Run(e.engine+"-"+e.version, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			in := groupRequest("shop", e.engine, e.version, 1)
			in.Tags = []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}}
			g := s.createGroup(east, in)
			fill(t, primary(g), fewKeys)
			c := count(t, primary(g))
			s.grows(c)
			s.handsOver(c)
			if lost := c.lost(t); len(lost) > 0 {
				t.Errorf("acknowledged and lost: %v", lost)
			}
			wantData(t, primary(g), fewKeys)
			s.failsOver()
			s.shrinks(fewKeys)
			s.deleteGroup(east, "shop", "")
			s.deleteSnapshot(east, "last")
			s.nothingLeft()
		})
	}
}

// grows adds two replicas, in both ways.
func (s *service) grows(c *counter) {
	s.t.Helper()
	api := s.elasticache(east)
	out, err := api.IncreaseReplicaCount(s.t.Context(), &elasticache.IncreaseReplicaCountInput{
		ReplicationGroupId: aws.String("shop"), ApplyImmediately: aws.Bool(true),
		ReplicaConfiguration: []types.ConfigureShard{{
			NodeGroupId: aws.String("0001"), NewReplicaCount: aws.Int32(1), PreferredAvailabilityZones: []string{"us-east-1d", "us-east-1a"},
		}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if got := aws.ToString(out.ReplicationGroup.Status); got != "modifying" {
		s.t.Errorf("while it is done the group is %s", got)
	}
	g := s.awaitGroup(east, "shop", "available")
	if got := roles(g); got != "shop-001 primary us-east-1a, shop-002 replica us-east-1d" {
		s.t.Fatalf("members: %s", got)
	}
	s.isReplica(s.nodeAddress(east, "shop-002"))
	_, err = api.CreateCacheCluster(s.t.Context(), &elasticache.CreateCacheClusterInput{
		CacheClusterId: aws.String("extra"), ReplicationGroupId: aws.String("shop"), PreferredAvailabilityZone: aws.String("us-east-1b"),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	wantMembers(s.t, s.awaitGroup(east, "shop", "available"), "shop-001", "shop-002", "extra")
	s.isReplica(s.nodeAddress(east, "extra"))
	s.inOrder("shop: Increasing number of requested nodes", "shop-002: Cache cluster created",
		"shop-002: Added cache node 0001 in availability zone us-east-1d", "shop: Finished modifying number of nodes from 1 to 2",
		"extra: Cache cluster created", "shop: Finished modifying number of nodes from 2 to 3")
	tags, err := api.ListTagsForResource(s.t.Context(), &elasticache.ListTagsForResourceInput{
		ResourceName: aws.String("arn:aws:elasticache:us-east-1:000000000000:cluster:extra"),
	})
	if err != nil || len(tags.TagList) != 1 || aws.ToString(tags.TagList[0].Value) != "red" {
		s.t.Errorf("the new member has tags %+v: %v", tags, err)
	}
	c.goesOn(s.t)
}

// isReplica waits until a node follows a primary.
func (s *service) isReplica(at string) {
	s.t.Helper()
	eventually(s.t, at+" is a replica", func(ctx context.Context) (bool, error) {
		s.reviveIfDead()
		out, err := try(ctx, at, "INFO", "replication")
		return strings.Contains(out, "role:slave") && strings.Contains(out, "master_link_status:up"), err
	})
}

// handsOver has other members lead, by hand.
func (s *service) handsOver(c *counter) {
	s.t.Helper()
	for _, to := range []string{"shop-002", "extra", "shop-001"} {
		began := time.Now()
		out, err := s.elasticache(east).ModifyReplicationGroup(s.t.Context(), &elasticache.ModifyReplicationGroupInput{
			ReplicationGroupId: aws.String("shop"), PrimaryClusterId: &to, ApplyImmediately: aws.Bool(true),
		})
		if err != nil {
			s.t.Fatal(err)
		}
		if got := aws.ToString(out.ReplicationGroup.PendingModifiedValues.PrimaryClusterId); got != to {
			s.t.Errorf("pending is %q", got)
		}
		g := s.awaitGroup(east, "shop", "available")
		if got := aws.ToString(g.NodeGroups[0].NodeGroupMembers[0].CacheClusterId); got != to {
			s.t.Fatalf("the primary is %s and should be %s", got, to)
		}
		s.t.Logf("%s leads after %s", to, time.Since(began).Round(time.Millisecond))
		c.goesOn(s.t)
	}
}

// failsOver tests a failover, and looks at what is told of it.
func (s *service) failsOver() {
	s.t.Helper()
	api := s.elasticache(east)
	if _, err := api.ModifyReplicationGroup(s.t.Context(), &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: aws.String("shop"), AutomaticFailoverEnabled: aws.Bool(true), MultiAZEnabled: aws.Bool(true),
	}); err != nil {
		s.t.Fatal(err)
	}
	s.wantMessage(east, "shop: Automatic failover has been turned on for replication group shop")
	g := s.awaitGroup(east, "shop", "available")
	s.inStep(g, fewKeys)
	before := s.mustPID(east, "shop-001")
	if _, err := api.TestFailover(s.t.Context(), &elasticache.TestFailoverInput{
		ReplicationGroupId: aws.String("shop"), NodeGroupId: aws.String("0001"),
	}); err != nil {
		s.t.Fatal(err)
	}
	s.awaitAnswer(primary(g), "SET", "written", "after the failover")
	s.awaitAnswer(primary(g), "DEL", "written")
	s.wantMessage(east, "shop-001: Finished recovery for cache nodes 0001")
	if after := s.mustPID(east, "shop-001"); after == before {
		s.t.Errorf("process %d is still there", before)
	}
	lead := aws.ToString(s.awaitGroup(east, "shop", "available").NodeGroups[0].NodeGroupMembers[0].CacheClusterId)
	if lead == "shop-001" {
		s.t.Fatal("nobody took over")
	}
	said := "Failover from primary node shop-001 to replica node " + lead + " completed"
	s.inOrder("shop: Test Failover API called for node group 0001", lead+": "+said, "shop: "+said,
		"shop-001: Recovering cache nodes 0001", "shop-001: Finished recovery for cache nodes 0001")
	eventually(s.t, "the next test is let through", func(ctx context.Context) (bool, error) {
		_, err := api.TestFailover(ctx, &elasticache.TestFailoverInput{ReplicationGroupId: aws.String("shop"), NodeGroupId: aws.String("0001")})
		return err == nil, err
	})
	s.wantMessage(east, lead+": Finished recovery for cache nodes 0001")
	wantData(s.t, primary(g), fewKeys)
}

// shrinks removes the replicas, one after a last snapshot.
func (s *service) shrinks(keys int64) {
	s.t.Helper()
	api := s.elasticache(east)
	eventually(s.t, "automatic failover is off", func(ctx context.Context) (bool, error) {
		_, err := api.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{
			ReplicationGroupId: aws.String("shop"), AutomaticFailoverEnabled: aws.Bool(false), MultiAZEnabled: aws.Bool(false),
		})
		return err == nil, err
	})
	g := s.awaitGroup(east, "shop", "available")
	var replicas []string
	for _, m := range g.NodeGroups[0].NodeGroupMembers[1:] {
		replicas = append(replicas, aws.ToString(m.CacheClusterId))
	}
	lead := aws.ToString(g.NodeGroups[0].NodeGroupMembers[0].CacheClusterId)
	eventually(s.t, "the tested failover is over", func(ctx context.Context) (bool, error) {
		_, err := api.DeleteCacheCluster(ctx, &elasticache.DeleteCacheClusterInput{
			CacheClusterId: &replicas[0], FinalSnapshotIdentifier: aws.String("last"),
		})
		return err == nil, err
	})
	s.awaitSnapshot(east, "last", "available")
	s.awaitGroup(east, "shop", "available")
	s.nothingRuns(replicas[0])
	if man, err := manifest(filepath.Join(s.dir, "snapshots", east, "last")); err != nil || man.Fingerprint != reference(s.t, keys) {
		s.t.Errorf("the final snapshot holds %s: %v", man.Fingerprint, err)
	}
	if _, err := api.DecreaseReplicaCount(s.t.Context(), &elasticache.DecreaseReplicaCountInput{
		ReplicationGroupId: aws.String("shop"), NewReplicaCount: aws.Int32(0), ApplyImmediately: aws.Bool(true),
	}); err != nil {
		s.t.Fatal(err)
	}
	g = s.awaitGroup(east, "shop", "available")
	wantMembers(s.t, g, lead)
	s.nothingRuns(replicas...)
	s.wantMessage(east, replicas[1]+": Cache cluster deleted")
	s.wantMessage(east, "shop: Finished modifying number of nodes from 2 to 1")
	wantData(s.t, reader(g), keys) // the primary answers for its readers
}

// TestReplicasOfAClusterComeAndGo does so in cluster mode, by the command line.
func TestReplicasOfAClusterComeAndGo(t *testing.T) {
	for _, e := range []struct{ engine, version string }{{"valkey", "9.1"}, {"redis", "6.0"}} {
		t.Run(e.engine+"-"+e.version, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			here := s.shell(east)
			g := s.createGroup(east, clusterRequest("wide", e.engine, e.version, 2, 0))
			want := fillCluster(t, configuration(g))
			grow := "aws elasticache increase-replica-count --replication-group-id wide --apply-immediately --query ReplicationGroup.Status "
			here.want("modifying", grow+"--new-replica-count 1")
			here.run("aws elasticache wait replication-group-available --replication-group-id wide")
			all := []string{"wide-0001-001", "wide-0001-002", "wide-0002-001", "wide-0002-002"}
			wantMembers(t, s.awaitGroup(east, "wide", "available"), all...)
			s.allKnow(all)

			// A failover that is tested goes to the new replica, which has everything.
			here.want("available", "aws elasticache test-failover --replication-group-id wide --node-group-id 0002 --query ReplicationGroup.Status")
			said := "Failover from primary node wide-0002-001 to replica node wide-0002-002 completed"
			s.inOrder("wide: Test Failover API called for node group 0002", "wide-0002-002: "+said, "wide: "+said,
				"wide-0002-001: Recovering cache nodes 0001", "wide-0002-001: Finished recovery for cache nodes 0001")
			wantCluster(t, configuration(g), want)
			out, err := here.try("aws elasticache decrease-replica-count --replication-group-id wide --apply-immediately --replicas-to-remove wide-0002-002")
			if err == nil || !strings.Contains(out, "wide-0002-002 is a primary of replication group wide") && !strings.Contains(out, "is being tested") {
				t.Errorf("a primary is to be removed: %s", out)
			}

			// A former primary leaves, and another node comes under its name at once.
			shrink := "aws elasticache decrease-replica-count --replication-group-id wide --apply-immediately --query ReplicationGroup.Status --replicas-to-remove "
			eventually(t, "the test is over", func(context.Context) (bool, error) {
				out, err := here.try(shrink + "wide-0002-001")
				return err == nil, fmt.Errorf("%w: %s", err, out)
			})
			s.awaitGroup(east, "wide", "available")
			s.nothingRuns("wide-0002-001")
			left := []string{"wide-0001-001", "wide-0001-002", "wide-0002-002"}
			s.allKnow(left)
			here.want("modifying", grow+"--replica-configuration NodeGroupId=0002,NewReplicaCount=2")
			s.awaitGroup(east, "wide", "available")
			all = append(all, "wide-0002-003")
			wantMembers(t, s.awaitGroup(east, "wide", "available"), all...)
			s.allKnow(all)
			wantCluster(t, configuration(g), want)
			s.deleteGroup(east, "wide", "")
			s.nothingLeft()
		})
	}
}

// allKnow waits until each of these nodes knows all of them and no other.
func (s *service) allKnow(members []string) {
	s.t.Helper()
	for _, id := range members {
		at := s.nodeAddress(east, id)
		eventually(s.t, id+" knows all nodes and no other", func(ctx context.Context) (bool, error) {
			out, err := try(ctx, at, "CLUSTER", "NODES")
			lines := strings.Split(strings.TrimSpace(out), "\n")
			whole := func(line string) bool {
				f := strings.Fields(line) // "nofailover" is how all nodes are
				return len(f) > 7 && !strings.Contains(f[2]+",", "fail,") && !strings.Contains(f[2], "fail?") && !strings.Contains(f[2], "handshake")
			}
			if len(lines) != len(members) || slices.ContainsFunc(lines, func(l string) bool { return !whole(l) }) {
				err = fmt.Errorf("it knows\n%s", out)
			}
			return err == nil, err
		})
	}
}

// TestAReplicaThatCannotStartIsNotAdded: the group is as it was, and an event says why.
func TestAReplicaThatCannotStartIsNotAdded(t *testing.T) {
	t.Parallel()
	s := startService(t)
	g := s.createGroup(east, groupRequest("shop", "valkey", "8.1", 1))
	s.cannotAdd(g)
	s.deleteGroup(east, "shop", "")
	s.nothingLeft()
}

// cannotAdd has something stand where the new node's directory is to be.
func (s *service) cannotAdd(g types.ReplicationGroup) {
	s.t.Helper()
	way := filepath.Join(s.dir, "nodes", east, "shop-002")
	if err := os.WriteFile(way, []byte("in the way"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	_, err := s.elasticache(east).IncreaseReplicaCount(s.t.Context(), &elasticache.IncreaseReplicaCountInput{
		ReplicationGroupId: aws.String("shop"), NewReplicaCount: aws.Int32(1), ApplyImmediately: aws.Bool(true),
	})
	s.accepted(err, "InvalidReplicationGroupState")
	s.wantMessage(east, "shop: Failed to add cache cluster shop-002: cannot start shop-002")
	after := s.awaitGroup(east, "shop", "available")
	wantMembers(s.t, after, "shop-001")
	s.awaitAnswer(primary(g), "SET", "key", "value")
	s.awaitAnswer(reader(g), "GET", "key")
	if _, err := os.Stat(way); !os.IsNotExist(err) {
		s.t.Errorf("something is left at %s: %v", way, err)
	}
}

// membersChange has another member lead, tests its failover, and adds and removes replicas.
func membersChange(s *service) {
	s.t.Helper()
	api, ctx := s.elasticache(east), s.t.Context()
	modify := func(in *elasticache.ModifyReplicationGroupInput) {
		s.t.Helper()
		in.ReplicationGroupId = aws.String("pair")
		_, err := api.ModifyReplicationGroup(ctx, in)
		s.accepted(err, "InvalidReplicationGroupState")
	}
	g := s.awaitGroup(east, "pair", "available")
	modify(&elasticache.ModifyReplicationGroupInput{PrimaryClusterId: aws.String("pair-002"), ApplyImmediately: aws.Bool(true)})
	s.awaitGroup(east, "pair", "available")
	s.awaitPrimary("pair", "pair-002")
	s.inStep(g, fewKeys)

	modify(&elasticache.ModifyReplicationGroupInput{AutomaticFailoverEnabled: aws.Bool(true)})
	_, err := api.TestFailover(ctx, &elasticache.TestFailoverInput{ReplicationGroupId: aws.String("pair"), NodeGroupId: aws.String("0001")})
	s.accepted(err, "TestFailoverNotAvailableFault", "InvalidCacheClusterState")
	s.wantMessage(east, "pair-002: Finished recovery for cache nodes 0001")
	s.awaitPrimary("pair", "pair-001")
	s.inStep(g, fewKeys) // now the primary has let go of the reader endpoint
	wantData(s.t, primary(g), fewKeys)

	eventually(s.t, "a replica is added", func(ctx context.Context) (bool, error) {
		_, err := api.IncreaseReplicaCount(ctx, &elasticache.IncreaseReplicaCountInput{
			ReplicationGroupId: aws.String("pair"), NewReplicaCount: aws.Int32(2), ApplyImmediately: aws.Bool(true),
		})
		return err == nil || code(err) == "NoOperationFault", err // the test may be under way still
	})
	wantMembers(s.t, s.awaitGroup(east, "pair", "available"), "pair-001", "pair-002", "pair-003")
	eventually(s.t, "two replicas go", func(ctx context.Context) (bool, error) {
		_, err := api.DecreaseReplicaCount(ctx, &elasticache.DecreaseReplicaCountInput{
			ReplicationGroupId: aws.String("pair"), ReplicasToRemove: []string{"pair-002", "pair-003"}, ApplyImmediately: aws.Bool(true),
		})
		return err == nil || code(err) == "InvalidParameterValue", err // once they are no members any more
	})
	wantMembers(s.t, s.awaitGroup(east, "pair", "available"), "pair-001")
	s.nothingRuns("pair-002", "pair-003")
	wantData(s.t, reader(g), fewKeys)
	s.deleteGroup(east, "pair", "")
}
