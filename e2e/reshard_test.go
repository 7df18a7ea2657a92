package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/verify"
)

// reshardRequest asks for another number of node groups.
func reshardRequest(id string, n int32, retain ...string) *elasticache.ModifyReplicationGroupShardConfigurationInput {
	return &elasticache.ModifyReplicationGroupShardConfigurationInput{
		ReplicationGroupId: &id, NodeGroupCount: &n, NodeGroupsToRetain: retain, ApplyImmediately: aws.Bool(true),
	}
}

// reshard asks for another number of node groups and waits until it is so.
func (s *service) reshard(in *elasticache.ModifyReplicationGroupShardConfigurationInput) types.ReplicationGroup {
	s.t.Helper()
	out, err := s.elasticache(east).ModifyReplicationGroupShardConfiguration(s.t.Context(), in)
	s.accepted(err, "InvalidReplicationGroupState", "InvalidParameterCombination")
	if err == nil {
		if g := out.ReplicationGroup; aws.ToString(g.Status) != "modifying" || g.PendingModifiedValues.Resharding == nil {
			s.t.Errorf("the group is %s with %+v pending", aws.ToString(g.Status), g.PendingModifiedValues)
		}
	}
	return s.awaitGroup(east, *in.ReplicationGroupId, "available")
}

// wantEven expects all slots to be spread evenly over so many node groups, and every
// node of the group to agree with what the API shows.
func (s *service) wantEven(g types.ReplicationGroup, groups int) {
	s.t.Helper()
	if len(g.NodeGroups) != groups {
		s.t.Fatalf("there are %d node groups, want %d", len(g.NodeGroups), groups)
	}
	counts := map[string]int{}
	for _, n := range g.NodeGroups {
		counts[aws.ToString(n.NodeGroupId)] = slotCount(s.t, aws.ToString(n.Slots))
		if d := 16384/groups - counts[*n.NodeGroupId]; d > 0 || d < -1 {
			s.t.Errorf("node group %s has %d slots", *n.NodeGroupId, counts[*n.NodeGroupId])
		}
	}
	for _, m := range g.MemberClusters {
		eventually(s.t, m+" knows whose the slots are", func(ctx context.Context) (bool, error) {
			out, err := try(ctx, s.nodeAddress(east, m), "CLUSTER", "NODES")
			if err != nil {
				return false, err
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if len(lines) != len(g.MemberClusters) {
				return false, fmt.Errorf("it knows %d nodes:\n%s", len(lines), out)
			}
			for _, n := range g.NodeGroups {
				want := strings.ReplaceAll(aws.ToString(n.Slots), ",", " ")
				if !strings.Contains(out+"\n", " connected "+want+"\n") {
					return false, fmt.Errorf("nobody has %q:\n%s", want, out)
				}
			}
			return true, nil
		})
	}
}

// wantMoved expects the data to be there. Engines that move keys one by one tell the new
// node for how long each has yet to live, so that some expire a little later.
func wantMoved(t *testing.T, at, want string) {
	t.Helper()
	eventually(t, "the cluster at "+at+" holds its data", func(ctx context.Context) (bool, error) {
		got, err := clusterPrint(ctx, at)
		if err == nil && !verify.SameData(got, want) {
			err = fmt.Errorf("fingerprint %s, want %s", got, want)
		}
		return err == nil, err
	})
}

func slotCount(t *testing.T, slots string) int {
	t.Helper()
	n := 0
	for part := range strings.SplitSeq(slots, ",") {
		var first, last int
		switch got, _ := fmt.Sscanf(part, "%d-%d", &first, &last); got {
		case 2:
			n += last - first + 1
		case 1:
			n++
		}
	}
	return n
}

// TestReshardingWhileServing makes a group larger, by the command line, smaller, while a
// primary dies, and shares its slots anew, under writers.
func TestReshardingWhileServing(t *testing.T) {
	for _, e := range []struct{ engine, version string }{{"valkey", "9.1"}, {"redis", "7.0"}} {
		t.Run(e.engine+"-"+e.version, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			g := s.createGroup(east, clusterRequest("shop", e.engine, e.version, 2, 1))
			want := fillCluster(t, configuration(g))
			j := keepJournal(t, true, configuration(g), s.nodeAddress(east, "shop-0002-001"), s.nodeAddress(east, "shop-0002-002"))
			j.goesOn()

			here := s.shell(east)
			here.want("modifying", "aws elasticache modify-replication-group-shard-configuration --replication-group-id shop --node-group-count 4"+
				" --apply-immediately --query ReplicationGroup.Status --resharding-configuration"+
				" PreferredAvailabilityZones=us-east-1a,us-east-1b PreferredAvailabilityZones=us-east-1c,us-east-1d")
			if _, err := s.elasticache(east).CreateSnapshot(t.Context(), &elasticache.CreateSnapshotInput{
				ReplicationGroupId: aws.String("shop"), SnapshotName: aws.String("early"),
			}); code(err) != "InvalidReplicationGroupState" {
				t.Errorf("a snapshot of a group that is resharding: %v", err)
			}
			g = s.awaitGroup(east, "shop", "available")
			s.wantEven(g, 4)
			s.wantMessage(east, "Resharding of replication group shop from 2 to 4 node groups completed")
			j.goesOn()

			_, err := s.elasticache(east).ModifyReplicationGroupShardConfiguration(t.Context(), reshardRequest("shop", 4))
			if code(err) != "InvalidReplicationGroupState" || !strings.Contains(err.Error(), "Slots in the replication group are uniformly distributed. Nothing to do.") {
				t.Errorf("rebalancing what is even: %v", err)
			}

			in := reshardRequest("shop", 2, "0002", "0004")
			if _, err := s.elasticache(east).ModifyReplicationGroupShardConfiguration(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			s.killEngine(east, "shop-0001-001")
			g = s.awaitGroup(east, "shop", "available")
			s.wantEven(g, 2)
			j.goesOn()
			s.nothingRuns("shop-0001-001", "shop-0001-002", "shop-0003-001", "shop-0003-002")
			j.check()
			wantMoved(t, configuration(g), want)

			// A snapshot of what was resharded is whole.
			s.snapshot(east, "shop", "after")
			s.awaitSnapshot(east, "after", "available")
			restored := clusterRequest("again", e.engine, e.version, 1, 0)
			restored.SnapshotName = aws.String("after")
			wantMoved(t, configuration(s.createGroup(east, restored)), want)
		})
	}
}

// TestUnevenSlotsAreSharedAnew: the same node groups, each with its part.
func TestUnevenSlotsAreSharedAnew(t *testing.T) {
	t.Parallel()
	s := startService(t)
	in := clusterRequest("odd", "valkey", "8.1", 2, 0)
	in.NumNodeGroups, in.ReplicasPerNodeGroup = nil, nil
	in.NodeGroupConfiguration = []types.NodeGroupConfiguration{{Slots: aws.String("0-99")}, {Slots: aws.String("100-16383")}}
	g := s.createGroup(east, in)
	want := fillCluster(t, configuration(g))
	g = s.reshard(reshardRequest("odd", 2))
	s.wantEven(g, 2)
	wantMoved(t, configuration(g), want)
	s.down()
	s.start()
	g = s.awaitGroup(east, "odd", "available")
	s.wantEven(g, 2)
	wantMoved(t, configuration(g), want)
	s.deleteGroup(east, "odd", "")
	s.nothingLeft()
}

// resharding is a scenario: a group grows and shrinks.
func resharding(s *service) {
	s.t.Helper()
	g := s.createGroup(east, clusterRequest("shop", "valkey", "9.1", 1, 0))
	want := fillCluster(s.t, configuration(g))
	s.wantEven(s.reshard(reshardRequest("shop", 2)), 2)
	g = s.reshard(reshardRequest("shop", 1, "0002"))
	s.wantEven(g, 1)
	wantCluster(s.t, configuration(g), want)
	s.deleteGroup(east, "shop", "")
}

// TestReshardingThroughCrashes kills the service between the nodes and its records, in
// the midst of a move that goes in many parts.
func TestReshardingThroughCrashes(t *testing.T) {
	for _, at := range []string{"moved move", "told move"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.revive = true
			s.start()
			g := s.createGroup(east, clusterRequest("shop", "redis", "7.0", 2, 0))
			want := fillCluster(t, configuration(g))
			s.stop()
			s.start("HOLDFAST_CRASH_AT=" + at)
			j := keepJournal(t, false, configuration(g), s.nodeAddress(east, "shop-0002-001"))
			s.wantEven(s.reshard(reshardRequest("shop", 3)), 3)
			s.reviveIfDead()
			if s.revived != 1 {
				t.Errorf("the service died %d times and should have once", s.revived)
			}
			j.check()
			wantMoved(t, configuration(g), want)
			s.deleteGroup(east, "shop", "")
			s.nothingLeft()
		})
	}
}
