package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// sameContent compares what servers and clusters hold by their own commands, with
// nothing of ours in between.
func sameContent(t *testing.T, a, b []*testkit.Server) {
	t.Helper()
	diffs := testkit.ReadContent(t, a...).Differences(testkit.ReadContent(t, b...), 20*time.Millisecond)
	if len(diffs) > 0 {
		t.Errorf("%d differences, such as %q", len(diffs), diffs[:min(len(diffs), 5)])
	}
}

// Data go from a server to a cluster, from a cluster to one with another number of
// shards and another engine, and back to a server, by every road, and any node
// stands for its cluster.
func TestClusters(t *testing.T) {
	for _, pair := range [][2]string{{"redis-6.0", "valkey-8.1"}, {"redis-7.0", "valkey-9.1"}} {
		t.Run(pair[0]+" and "+pair[1], func(t *testing.T) {
			older, newer := testkit.Engine(t, pair[0]), testkit.Engine(t, pair[1])
			one := testkit.StartServer(t, older)
			three := testkit.StartCluster(t, older, 3, 0)
			two := testkit.StartCluster(t, newer, 2, 0)
			runs(t, 0, "generate", url(one), "--keys", "3000", "--seed", "7")
			if three.Keys() != 0 {
				t.Fatal("not empty")
			}
			if pair[0] == "redis-7.0" {
				one.Must("FUNCTION", "LOAD", library)
			}

			clusterMigrates(t, []*testkit.Server{one}, three.Primaries)
			clusterMigrates(t, three.Primaries, two.Primaries)
			_, said := runs(t, 2, "migrate", url(three.Primaries[0]), url(three.Primaries[1]), "--replace")
			if !strings.Contains(said, "same cluster") {
				t.Errorf("a cluster onto itself: %s", said)
			}
			a, _ := runs(t, 0, "fingerprint", url(one), "-o", "json")
			b, _ := runs(t, 0, "fingerprint", url(two.Primaries[1]), "-o", "json")
			if printOf(t, a) != printOf(t, b) {
				t.Errorf("%s\n%s", a, b)
			}
			clusterFinds(t, three, two)
			clusterBacksUp(t, three, one, two)
		})
	}
}

func printOf(t *testing.T, text string) string {
	t.Helper()
	var f struct{ Fingerprint string }
	if err := json.Unmarshal([]byte(text), &f); err != nil || f.Fingerprint == "" {
		t.Fatalf("%v: %s", err, text)
	}
	return f.Fingerprint
}

func clusterMigrates(t *testing.T, from, to []*testkit.Server) {
	t.Helper()
	for _, road := range []string{roadCommands, roadReplica} {
		args := []string{"migrate", url(from[len(from)-1]), url(to[0]), "--from", road, "--replace", "-o", "json"}
		if len(from) > 1 && road == roadCommands && from[0].Build.Line() == "redis-6.0" {
			// It can neither hold writes back nor read keys of several slots in one transaction.
			if _, said := runs(t, 1, args...); !strings.Contains(said, "at one instant") {
				t.Errorf("%s", said)
			}
			args = append(args, "--allow-per-key")
		}
		out, _ := runs(t, 0, args...)
		var rep struct {
			Keys     int64
			Read     struct{ Consistency string }
			Verified struct{ Equal bool }
		}
		if err := json.Unmarshal([]byte(out), &rep); err != nil {
			t.Fatal(err)
		}
		if !rep.Verified.Equal || rep.Keys != 3000 {
			t.Errorf("%s: %s", road, out)
		}
		if len(from) > 1 && road == roadReplica && rep.Read.Consistency != "point-in-time per shard" {
			t.Errorf("%s: %s", road, out)
		}
		sameContent(t, from, to)
		if road == roadCommands {
			for _, s := range to {
				s.Must("FLUSHALL")
			}
		}
	}
}

// clusterFinds: a key that one shard lacks is found and named, from both sides.
func clusterFinds(t *testing.T, a, b *testkit.ClusterServers) {
	t.Helper()
	addrs := []string{url(a.Primaries[1]), url(b.Primaries[1])}
	runs(t, 0, "verify", addrs[0], addrs[1])
	gone := b.Primaries[0].Must("RANDOMKEY").(string)
	dump := b.Primaries[0].Must("DUMP", gone)
	ttl := b.Primaries[0].Must("PTTL", gone).(int64)
	b.Primaries[0].Must("DEL", gone)
	out, _ := runs(t, 3, "verify", addrs[0], addrs[1])
	if !strings.Contains(out, gone) {
		t.Errorf("%s is not named:\n%s", gone, out)
	}
	out, _ = runs(t, 3, "verify", addrs[1], addrs[0])
	if !strings.Contains(out, gone) {
		t.Errorf("%s is not named:\n%s", gone, out)
	}
	b.Primaries[0].Must("RESTORE", gone, max(ttl, 0), dump)
}

// clusterBacksUp: a file for each shard, which together are the cluster.
func clusterBacksUp(t *testing.T, c *testkit.ClusterServers, one *testkit.Server, two *testkit.ClusterServers) {
	t.Helper()
	for _, road := range []string{roadReplica, roadCommands} {
		dir := t.TempDir()
		out, _ := runs(t, 0, "backup", url(c.Primaries[2]), filepath.Join(dir, "all.rdb"), "--from", road, "--allow-per-key")
		if !strings.Contains(out, "shard 3 of 3") {
			t.Errorf("%s", out)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 3 || filepath.Base(files[2]) != "all-0003.rdb" {
			t.Fatalf("%v %q", err, files)
		}
		runs(t, 0, "verify", filepath.Join(dir, "all-*.rdb"), url(c.Primaries[0]))
		emptied(one)
		runs(t, 0, "restore", filepath.Join(dir, "all-*.rdb"), url(one))
		sameContent(t, c.Primaries, []*testkit.Server{one})
		for _, s := range two.Primaries {
			emptied(s)
		}
		runs(t, 0, "restore", filepath.Join(dir, "all-*.rdb"), url(two.Primaries[1]))
		sameContent(t, c.Primaries, two.Primaries)
	}
	_, said := runs(t, 2, "backup", url(c.Primaries[0]), "-")
	if !strings.Contains(said, "a file for each") {
		t.Errorf("%s", said)
	}
}

// What speaks against a cluster is told before anything moves.
func TestClusterPreflight(t *testing.T) {
	c := testkit.StartCluster(t, testkit.Engine(t, "redis-7.0"), 2, 0)
	one := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	one.Must("SELECT", 3)
	one.Must("SET", "k", "v")
	_, said := runs(t, 1, "migrate", url(one), url(c.Primaries[0]))
	if !strings.Contains(said, "databases: the data have a database 3") {
		t.Errorf("%s", said)
	}
	// The second shard is not empty, and too small.
	c.Primaries[1].Must("SET", "foo", "bar")
	one.Must("FLUSHALL")
	one.Must("SELECT", 0)
	one.Must("SET", "k", "v")
	_, said = runs(t, 1, "migrate", url(one), url(c.Primaries[0]))
	if !strings.Contains(said, c.Primaries[1].Addr()+": the server holds keys already") {
		t.Errorf("%s", said)
	}
	if one.Must("GET", "k") != "v" || c.Keys() != 1 {
		t.Error("something moved")
	}
	_, said = runs(t, 2, "migrate", url(c.Primaries[0]), url(one), "--live", "--cutover", "never", "--into", "replica")
	if !strings.Contains(said, "--into restore moves clusters too") {
		t.Errorf("%s", said)
	}
	c.Primaries[1].Must("CLUSTER", "DELSLOTS", 16383) // its own
	c.Primaries[0].Must("CLUSTER", "DELSLOTS", 16383)
	var short *command
	testkit.Wait(t, patience, func() bool {
		short = newCommand(t, "fingerprint", url(c.Primaries[0]))
		if short.Run() != nil {
			return true
		}
		// What the other node had said before came late, and gave the slot back.
		_, err := c.Primaries[0].Try("CLUSTER", "DELSLOTS", 16383)
		return err != nil
	}, "the slot to be dropped")
	if said := short.err.String(); short.ProcessState.ExitCode() != 1 || !strings.Contains(said, "only 16383 of its 16384 slots") {
		t.Errorf("%s%s", &short.out, said)
	}
}
