package reconcile

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// cluster writes down that a group in cluster mode is wanted, with two shards of
// two nodes each.
func (b *bench) cluster(id string, seed *cache.Seed) {
	b.update(func(tx *store.Tx) error {
		g := cache.ReplicationGroup{
			Region: "r", ID: id, Status: cache.StatusCreating, Seed: seed, Secret: "s", ClusterEnabled: true,
			ConfigurationEndpoint: cache.Address{Host: id + "-c", Port: 6379},
		}
		for i, slots := range cache.EvenSlots(2) {
			n := cache.NodeGroup{ID: cache.NodeGroupName(i + 1), Slots: slots}
			for j := range 2 {
				c := cache.CacheCluster{
					Region: "r", ID: cache.ShardMemberID(id, n.ID, j+1), GroupID: id, NodeGroupID: n.ID, Status: cache.StatusCreating,
				}
				c.NodeType, c.ParameterGroup, c.EngineVersion = "cache.t3.micro", "default.redis7.cluster.on", "7.0"
				c.Node = cache.Node{Address: cache.Address{Host: c.ID, Port: 6379}, Build: "new"}
				n.Members = append(n.Members, c.ID)
				if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
					return err
				}
			}
			n.Primary = n.Members[0]
			g.NodeGroups, g.Members = append(g.NodeGroups, n), append(g.Members, n.Members...)
		}
		return records.Groups.Put(tx, g.Key(), g)
	})
}

var fromObjects = cache.Seed{ObjectARNs: []string{"arn:aws:s3:::b/k", "arn:aws:s3:::b/l"}}

// wholeCluster tells whether all nodes are up and ready, each shard has one that
// leads, and its address is held.
func (b *bench) wholeCluster(w world) bool {
	leads := map[string]int{}
	held := 0
	for _, c := range w.clusters {
		if c.Node.Process == nil || !c.Node.Ready || !b.machine.alive(*c.Node.Process) {
			return false
		}
		if c.Node.Role == cache.RolePrimary {
			leads[c.NodeGroupID]++
		}
		held += len(c.Node.Binds)
	}
	return leads["0001"] == 1 && leads["0002"] == 1 && held == 1 && len(w.steps) == 0
}

// TestAClusterCutShortGoesOn ends the runner at random calls to the outside while a
// cluster is made of a seed and while its nodes die, and expects the same end: each
// shard led by a node that has its data.
func TestAClusterCutShortGoesOn(t *testing.T) {
	dir := t.TempDir()
	n := 0
	nodes := []string{"r/g-0001-001", "r/g-0001-002", "r/g-0002-001", "r/g-0002-002"}
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b := newBench(t, filepath.Join(dir, fmt.Sprint(n)))
		defer b.close()
		cuts := rapid.SliceOfN(rapid.IntRange(1, 16), 0, 4).Draw(rt, "calls until each cut")
		early := rapid.SliceOfN(rapid.SampledFrom(nodes), 0, 2).Draw(rt, "nodes to kill while it is made")
		late := rapid.SliceOfN(rapid.SampledFrom(nodes), 0, 3).Draw(rt, "nodes to kill later")
		seed := fromObjects
		b.cluster("g", &seed)
		for i, calls := range cuts {
			b.cutAfter(calls)
			if i < len(early) {
				b.machine.kill(early[i])
			}
		}
		b.run()
		b.eventually("available", groupIs("g", cache.StatusAvailable))
		b.eventually("whole", b.wholeCluster)
		for _, key := range []string{"r/g-0001-001", "r/g-0002-001"} {
			if !b.machine.process(key).loaded {
				rt.Fatalf("the cluster is available and %s never had its part of the seed", key)
			}
		}
		for _, key := range late {
			b.machine.kill(key)
			b.eventually("whole again", b.wholeCluster)
		}
		if g := b.read().groups[0]; len(late) > 0 && !g.Seed.Verified {
			rt.Fatalf("the seed is %+v", g.Seed)
		}
	})
}

// process is the one that runs as a node.
func (f *fakeMachine) process(key string) *fakeProcess {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.processes[key]; p != nil {
		return p
	}
	return &fakeProcess{}
}

// A primary of one shard that dies leaves the other alone, and its replica leads.
func TestAReplicaLeadsItsOwnShard(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.eventually("whole", b.wholeCluster)
	b.machine.kill("r/g-0002-001")
	b.eventually("the replica leads", func(w world) bool {
		return w.groups[0].NodeGroups[1].Primary == "g-0002-002" && b.wholeCluster(w)
	})
	if g := b.read().groups[0]; g.NodeGroups[0].Primary != "g-0001-001" || g.Primary != "" {
		t.Errorf("the other shard is led by %s, the group by %q", g.NodeGroups[0].Primary, g.Primary)
	}
	if n := b.machine.starts["r/g-0001-001"]; n != 1 {
		t.Errorf("a node of the other shard was started %d times", n)
	}
	spec := b.machine.process("r/g-0002-001").spec
	if spec.Primary.Host != "g-0002-002" {
		t.Errorf("the former primary follows %v", spec.Primary)
	}
	i := slices.IndexFunc(spec.Cluster.Nodes, func(n cache.ClusterNode) bool { return n.Address.Host == "g-0002-002" })
	if n := spec.Cluster.Nodes[i]; n.Primary != "" || n.Slots.String() != "8192-16383" {
		t.Errorf("the former primary is told that the new one is %+v", n)
	}
	b.wantEvent("Failover from primary node g-0002-001 to replica node g-0002-002")
}

// A node is started without a limit, so that nothing of its seed is evicted before it
// is compared, and is given one before anybody uses it.
func TestDataThatANodeMayNotHoldEndsTheCreation(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.machine.used = 380 << 20
	b.run()
	seed := fromObjects
	b.cluster("small", &seed)
	b.eventually("available", groupIs("small", cache.StatusAvailable))
	const limit = 536870912 / 100 * 75
	for _, key := range []string{"r/small-0001-001", "r/small-0002-001"} {
		if p := b.machine.process(key); p.spec.MaxMemory != limit || p.started.MaxMemory != 0 {
			t.Errorf("%s was started with a limit of %d and has %d, want 0 and %d", key, p.started.MaxMemory, p.spec.MaxMemory, limit)
		}
	}
	b.machine.mu.Lock()
	b.machine.used = 390 << 20
	b.machine.mu.Unlock()
	again := fromObjects
	b.cluster("g", &again)
	b.eventually("failed", groupIs("g", cache.StatusCreateFailed))
	i := slices.IndexFunc(b.read().groups, func(g cache.ReplicationGroup) bool { return g.ID == "g" })
	if reason := b.read().groups[i].Reason; !strings.Contains(reason, "the data takes 390.0 MiB of memory") || !strings.Contains(reason, "cache.t3.micro holds 384.0 MiB") {
		t.Errorf("the reason is %q", reason)
	}
	for _, c := range b.read().clusters {
		if c.GroupID == "g" && c.Status != cache.StatusRestoreFailed {
			t.Errorf("%s is %s", c.ID, c.Status)
		}
	}
}
