package mover

import (
	"fmt"
	"strings"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// TestMatrixOfClusterPairs moves everything from clusters of every engine to clusters of
// every engine, by files, by commands, as a replica, and while clients write. It takes
// long: otherwise TestMatrixOfClusters has some of the pairs.
func TestMatrixOfClusterPairs(t *testing.T) {
	if !everything() {
		t.Skip("HOLDFAST_MATRIX=full moves clusters between all engines")
	}
	builds := engines(t)
	for _, b := range builds {
		t.Run("from "+b.Name, func(t *testing.T) {
			// One source for all targets: it is opened again after each.
			from := testkit.StartCluster(t, b, 3, 0)
			fillCluster(t, from)
			for _, target := range builds {
				t.Run("to "+target.Name, func(t *testing.T) { moveClusters(t, from, target) })
			}
		})
	}
}

// fillCluster gives a cluster what a server of its kind holds.
func fillCluster(t *testing.T, c *testkit.ClusterServers) {
	t.Helper()
	one := testkit.StartServer(t, c.Primaries[0].Build)
	fillOne(t, one)
	runs(t, done, "migrate", url(one), url(c.Primaries[0])).says("identical")
	want(t, testkit.ReadContent(t, one), 0, c.Primaries...)
}

func moveClusters(t *testing.T, from *testkit.ClusterServers, b catalog.Build) {
	to := testkit.StartCluster(t, b, 2, 0)
	empty := func() {
		for _, s := range to.Primaries {
			emptied(s)
		}
	}
	for _, by := range []string{"replica", "commands"} {
		wanted := testkit.ReadContent(t, from.Primaries...)
		t.Run("files by "+by, func(t *testing.T) { byFiles(t, wanted, from.Primaries, to.Primaries, by) })
		empty()
		wanted = testkit.ReadContent(t, from.Primaries...)
		t.Run("migrate by "+by, func(t *testing.T) { byMigrate(t, wanted, from.Primaries, to.Primaries, by) })
		empty()
		t.Run("live by "+by, func(t *testing.T) { liveClusters(t, from, to, by) })
		empty()
	}
}

// clusterRound is what a client of a cluster writes in its round i: to keys of its own slot.
func clusterRound(n int, i int64) []string {
	a, b := i%50, (i*7+1)%50
	all := []string{
		"MULTI", fmt.Sprintf("DECRBY {%d}account:%d %d", n, a, i), fmt.Sprintf("INCRBY {%d}account:%d %d", n, b, i), fmt.Sprintf("SET {%d}counter %d", n, i), "EXEC",
		fmt.Sprintf("SET {%d}going %d", n, i), fmt.Sprintf("RENAME {%d}going {%d}gone:%d", n, n, i%9), fmt.Sprintf("DEL {%d}gone:%d", n, (i+4)%9),
		fmt.Sprintf("XADD {%d}events * n %d", n, i), fmt.Sprintf("XTRIM {%d}events MAXLEN 100", n), fmt.Sprintf("SET {%d}lease:%d %d PX %d", n, i%20, i, 90_000_000+i),
		fmt.Sprintf("RPUSH {%d}list %d", n, i), fmt.Sprintf("LPOP {%d}list", n), fmt.Sprintf("HSET {%d}hash f%d %d", n, i%60, i), fmt.Sprintf("ZADD {%d}zset %d m%d", n, i, i%30),
		fmt.Sprintf("EVAL redis.call('set',KEYS[1],ARGV[1]) 1 {%d}script:%d %d", n, i%10, i),
	}
	return all
}

// liveClusters: what a cluster holds when it takes no more is what the other holds.
func liveClusters(t *testing.T, from, to *testkit.ClusterServers, by string) {
	c := &clients{t: t, round: clusterRound, stop: make(chan struct{}), acked: map[string]int64{}}
	t.Cleanup(c.end)
	const writers = 3
	for n := range writers {
		owner := from.Owner(int(slotOf(t, from, fmt.Sprintf("{%d}", n))))
		for i := range 50 {
			owner.Must("SET", fmt.Sprintf("{%d}account:%d", n, i), 1000)
		}
		c.start(owner, n)
	}
	var more []string
	if from.Primaries[0].Build.Functions && !to.Primaries[0].Build.Functions {
		more = []string{"--without-functions"}
	}
	switchesTo(t, from.Primaries[1], to.Primaries[1], by, more...)
	testkit.Wait(t, patience, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.refused == writers || t.Failed() }, "the source to refuse")
	c.end()
	wanted, got := testkit.ReadContent(t, from.Primaries...), testkit.ReadContent(t, to.Primaries...)
	if !to.Primaries[0].Build.Functions {
		wanted.Functions = nil
	}
	forget(wanted)
	forget(got)
	if diff := wanted.Differences(got, tolerance(from.Primaries[0], road{by: "commands"})); len(diff) > 0 {
		t.Errorf("%d differences between the source, A, and the target, B:\n%s", len(diff), strings.Join(diff[:min(len(diff), 20)], "\n"))
	}
	for n := range writers {
		v := got.Keys[testkit.Key{Name: fmt.Sprintf("{%d}counter", n)}].Facets["value"]
		if acked := c.acked[fmt.Sprint("counter:", n)]; v != fmt.Sprint(acked) && v != fmt.Sprint(acked+1) || acked == 0 {
			t.Errorf("counter %d is %s at the target; %d was acknowledged", n, v, acked)
		}
		sum := int64(0)
		for i := range 50 {
			var has int64
			if _, err := fmt.Sscan(got.Keys[testkit.Key{Name: fmt.Sprintf("{%d}account:%d", n, i)}].Facets["value"], &has); err != nil {
				t.Error(err)
			}
			sum += has
		}
		if sum != 50_000 {
			t.Errorf("the accounts of client %d have %d", n, sum)
		}
	}
	for _, s := range from.Primaries {
		s.Must("CONFIG", "SET", "min-replicas-to-write", 0)
	}
}

func slotOf(t *testing.T, c *testkit.ClusterServers, key string) int64 {
	t.Helper()
	return c.Primaries[0].Must("CLUSTER", "KEYSLOT", key).(int64)
}
