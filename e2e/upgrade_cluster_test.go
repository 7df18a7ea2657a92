package e2e

import (
	"context"
	"fmt"
	"os"
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

// witness is a client of one shard of a cluster. It writes one key after another, a
// thousand times a second, and knows which writes were acknowledged, which errors it was
// told that sent it nowhere, and for how long it had to wait.
type witness struct {
	tag    string
	acked  []string
	errors []string
	// breaks are the longest times from one acknowledged write to the next.
	breaks []time.Duration
}

// witnesses are those of all shards of a cluster of three.
type witnesses struct {
	t    *testing.T
	at   []string
	all  []*witness
	stop func()
}

func watchCluster(t *testing.T, at ...string) *witnesses {
	t.Helper()
	w := &witnesses{t: t, at: at}
	for _, first := range []int{0, 5461, 10922} {
		for n := 0; ; n++ {
			tag := "w" + strconv.Itoa(n)
			if s := resp.Slot([]byte("{" + tag + "}")); s >= first && s < first+5461 {
				w.all = append(w.all, &witness{tag: tag})
				break
			}
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	for _, one := range w.all {
		work.Go(func() { one.write(ctx, at) })
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		work.Wait()
	})
	t.Cleanup(w.stop)
	return w
}

func (w *witness) write(ctx context.Context, at []string) {
	f := newFollower(at...)
	defer f.close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	last := time.Time{}
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("{%s}%d", w.tag, n)
		slot := resp.Slot([]byte(key))
		for turn := 0; ctx.Err() == nil; turn++ {
			node, known := f.slots[slot]
			if !known {
				node = f.known[turn%len(f.known)]
			}
			_, err := f.once(ctx, node, slot, []string{"SET", key, strconv.Itoa(n)})
			if err == nil {
				w.acked = append(w.acked, key)
				if now := time.Now(); !last.IsZero() {
					w.breaks = append(w.breaks, now.Sub(last))
				}
				last = time.Now()
				break
			}
			if !resp.IsServerError(err, "MOVED", "ASK", "TRYAGAIN") && ctx.Err() == nil {
				w.errors = append(w.errors, err.Error())
			}
		}
		<-tick.C
	}
}

// check ends the writing and expects every acknowledged write to be there; then it
// deletes them, so that the other data can be compared.
func (w *witnesses) check(at ...string) {
	w.t.Helper()
	w.stop()
	f := newFollower(at...)
	defer f.close()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for i, one := range w.all {
		lost := 0
		for n, key := range one.acked {
			r, err := f.do(ctx, key, "GET", key)
			if err != nil {
				w.t.Fatal(err)
			}
			if string(r.Bytes) != strings.TrimPrefix(key, "{"+one.tag+"}") {
				if lost++; lost <= 3 {
					w.t.Errorf("shard %d: write %d, %s, was acknowledged and is %q", i+1, n, key, r.Bytes)
				}
			}
		}
		// The last one may have been written and not acknowledged any more.
		for n := range len(one.acked) + 1 {
			key := fmt.Sprintf("{%s}%d", one.tag, n)
			if _, err := f.do(ctx, key, "DEL", key); err != nil {
				w.t.Fatal(err)
			}
		}
		slices.Sort(one.breaks)
		slices.Reverse(one.breaks)
		counts := map[string]int{}
		for _, e := range one.errors {
			counts[e]++
		}
		w.t.Logf("shard %d: %d writes acknowledged, %d lost, %d errors, longest waits %v %v",
			i+1, len(one.acked), lost, len(one.errors), one.breaks[:min(6, len(one.breaks))], counts)
		if lost > 0 {
			w.t.Errorf("shard %d: %d of %d acknowledged writes are lost", i+1, lost, len(one.acked))
		}
	}
}

// upgradeRequest asks for another engine version at once.
func upgradeRequest(id, engine, version string) *elasticache.ModifyReplicationGroupInput {
	return &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: &id, Engine: &engine, EngineVersion: &version, ApplyImmediately: aws.Bool(true),
	}
}

// everywhere are the addresses at which a client may begin.
func (s *service) everywhere(g types.ReplicationGroup) []string {
	out := []string{configuration(g)}
	for _, m := range g.MemberClusters {
		out = append(out, s.nodeAddress(east, m))
	}
	return out
}

// awaitUpgrade waits until a group serves as another version, for longer than one step of it may take.
func (s *service) awaitUpgrade(id, build string) types.ReplicationGroup {
	s.t.Helper()
	var g types.ReplicationGroup
	for range 4 {
		if g = s.seen(id); aws.ToString(g.Status) == "available" {
			break
		}
	}
	for _, m := range g.MemberClusters {
		out, err := try(s.t.Context(), s.nodeAddress(east, m), "INFO", "server")
		engine, version, _ := strings.Cut(build, " ")
		field := map[string]string{"redis": "redis_version:", "valkey": "valkey_version:"}[engine] + version
		if err != nil || !strings.Contains(out, field) {
			s.t.Errorf("%s is not %s: %v\n%s", m, build, err, out)
		}
	}
	return g
}

// seen looks at a group until it is available, or patience ends.
func (s *service) seen(id string) (g types.ReplicationGroup) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := s.elasticache(east).DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
		if err == nil {
			if g = out.ReplicationGroups[0]; aws.ToString(g.Status) == "available" {
				return g
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return g
		}
	}
}

// onlyMembers expects nothing to be left of an upgrade: the API shows the members, and
// every node knows them and nobody else.
func (s *service) onlyMembers(g types.ReplicationGroup) {
	s.t.Helper()
	s.allKnow(g.MemberClusters)
	out, err := s.elasticache(east).DescribeCacheClusters(s.t.Context(), &elasticache.DescribeCacheClustersInput{})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(out.CacheClusters) != len(g.MemberClusters) {
		s.t.Errorf("there are %d cache clusters, of %d members", len(out.CacheClusters), len(g.MemberClusters))
	}
	for _, m := range s.messages(east) {
		if strings.Contains(m, ".next") {
			s.t.Errorf("an event tells of a stand-in: %q", m)
		}
	}
}

// TestAClusterIsUpgradedUnderWriters, with and without replicas: nothing acknowledged is
// lost, and the data are the same.
func TestAClusterIsUpgradedUnderWriters(t *testing.T) {
	for _, c := range []struct {
		engine, version, to, later string
		replicas                   int32
	}{
		{"redis", "7.0", "valkey", "8.1", 0},
		{"redis", "7.0", "valkey", "8.1", 1},
		{"redis", "6.0", "valkey", "9.1", 0},
		{"redis", "6.0", "valkey", "9.1", 1},
	} {
		t.Run(fmt.Sprintf("%s-%s to %s-%s with %d replicas", c.engine, c.version, c.to, c.later, c.replicas), func(t *testing.T) {
			s := startService(t)
			g := s.createGroup(east, clusterRequest("shop", c.engine, c.version, 3, c.replicas))
			want := fillCluster(t, configuration(g))
			at := s.everywhere(g)
			w := watchCluster(t, at...)
			if _, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), upgradeRequest("shop", c.to, c.later)); err != nil {
				t.Fatal(err)
			}
			g = s.awaitUpgrade("shop", c.to+" "+c.later)
			w.check(at...)
			for line := range strings.Lines(s.lastWords(400)) {
				if _, rest, ok := strings.Cut(line, "a primary has handed over"); ok {
					t.Log(rest)
				}
			}
			wantCluster(t, configuration(g), want)
			s.onlyMembers(g)
			for _, m := range s.messages(east) {
				if strings.Contains(m, "Recovering") {
					t.Errorf("a node that was replaced is said to have failed: %q", m)
				}
			}
		})
	}
}

// clusterUpgradeKinds are the kinds of actions of an upgrade in cluster mode.
var clusterUpgradeKinds = []string{"recruit", "join", "prove", "exchange", "hand-over", "dismiss", "part"}

// TestAnUpgradeOfAClusterSurvivesCrashes kills the service around each of its actions.
func TestAnUpgradeOfAClusterSurvivesCrashes(t *testing.T) {
	var at []string
	for _, kind := range clusterUpgradeKinds {
		for _, place := range places {
			if place == "acted" || kind == "hand-over" || os.Getenv("HOLDFAST_ALL") != "" {
				at = append(at, place+" "+kind)
			}
		}
	}
	for _, place := range append(at, "chosen hand-over") {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.revive = true
			s.start()
			g := s.createGroup(east, clusterRequest("shop", "redis", "7.0", 2, 0))
			want := fillCluster(t, configuration(g))
			s.stop()
			s.start("HOLDFAST_CRASH_AT=" + place)
			known := s.everywhere(g)
			w := watchCluster(t, known...)
			if _, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), upgradeRequest("shop", "valkey", "8.1")); err != nil {
				s.accepted(err, "InvalidReplicationGroupState", "InvalidParameterValue")
			}
			eventually(t, "the service dies at the crash point", func(context.Context) (bool, error) {
				return s.revived > 0 || s.dead(), nil
			})
			s.reviveIfDead()
			g = s.awaitUpgrade("shop", "valkey 8.1")
			w.check(known...)
			wantCluster(t, configuration(g), want)
			s.onlyMembers(g)
			s.deleteGroup(east, "shop", "")
			s.groupGone(east, "shop")
			s.nothingLeft()
		})
	}
}

// TestANodeDiesInAnUpgradeOfACluster: the primary, a replica or the stand-in of a shard
// that is being upgraded. What a replica had of the writes that were acknowledged is kept.
func TestANodeDiesInAnUpgradeOfACluster(t *testing.T) {
	for _, c := range []struct{ engine, version, to, later, dies, once string }{
		{"redis", "7.0", "valkey", "8.1", "shop-0001-001", "shop-0001.next"},
		{"redis", "6.0", "valkey", "9.1", "shop-0001-001", "shop-0001.next"},
		{"redis", "7.0", "valkey", "9.1", "shop-0001-002", "shop-0001.next"},
		{"redis", "7.0", "valkey", "8.1", "shop-0001.next", "shop-0001.next"},
		{"redis", "6.0", "valkey", "8.1", "shop-0002-001", "shop-0001.next"},
	} {
		t.Run(fmt.Sprintf("%s %s to %s %s, %s", c.engine, c.version, c.to, c.later, c.dies), func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			g := s.createGroup(east, clusterRequest("shop", c.engine, c.version, 2, 1))
			want := fillCluster(t, configuration(g))
			at := s.everywhere(g)
			j := keepJournal(t, true, at...)
			j.goesOn()
			if _, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), upgradeRequest("shop", c.to, c.later)); err != nil {
				t.Fatal(err)
			}
			eventuallyFast(t, c.once+" has come", func() bool { return s.enginePID(east, c.once) != 0 })
			s.killEngine(east, c.dies)
			g = s.awaitUpgrade("shop", c.to+" "+c.later)
			j.check()
			wantCluster(t, configuration(g), want)
			s.onlyMembers(g)
		})
	}
}

// TestAnEncryptedClusterIsUpgraded: nodes that take nothing but TLS, also from each other.
func TestAnEncryptedClusterIsUpgraded(t *testing.T) {
	for _, c := range []struct{ engine, version, to, later string }{
		{"redis", "7.0", "valkey", "8.1"},
		{"redis", "6.0", "valkey", "9.1"},
	} {
		t.Run(c.engine+"-"+c.version+" to "+c.to+"-"+c.later, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			in := clusterRequest("shop", c.engine, c.version, 2, 0)
			in.TransitEncryptionEnabled = aws.Bool(true)
			g := s.createGroup(east, in)
			const keys = 40
			for n := range keys {
				s.routed(configuration(g), "SET", fmt.Sprint("key", n), fmt.Sprint(n))
			}
			if _, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), upgradeRequest("shop", c.to, c.later)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is upgraded", func(context.Context) (bool, error) {
				g = s.seen("shop")
				return aws.ToString(g.Status) == "available", nil
			})
			for _, m := range g.MemberClusters {
				if said := s.secretly(s.nodeAddress(east, m), "INFO", "server"); !strings.Contains(said, "valkey_version:"+c.later) {
					t.Errorf("%s is not %s", m, c.later)
				}
			}
			for n := range keys {
				if got := s.routed(configuration(g), "GET", fmt.Sprint("key", n)); got != fmt.Sprint(n) {
					t.Errorf("key%d is %q", n, got)
				}
			}
		})
	}
}

// TestAnUpgradeOfAClusterGoesOnAfterAllWasStopped: "holdfast down" ends all nodes in its
// midst, with their data put aside, and the next start goes on with it.
func TestAnUpgradeOfAClusterGoesOnAfterAllWasStopped(t *testing.T) {
	for _, once := range []string{"shop-0001.next", "shop-0002.next"} {
		t.Run(once, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			g := s.createGroup(east, clusterRequest("shop", "redis", "7.0", 2, 1))
			want := fillCluster(t, configuration(g))
			if _, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), upgradeRequest("shop", "valkey", "8.1")); err != nil {
				t.Fatal(err)
			}
			eventuallyFast(t, once+" has come", func() bool { return s.enginePID(east, once) != 0 })
			s.down()
			s.start()
			g = s.awaitUpgrade("shop", "valkey 8.1")
			wantCluster(t, configuration(g), want)
			s.onlyMembers(g)
		})
	}
}
