package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
)

// liveProcess is a migration that goes on, and what it says.
type liveProcess struct {
	*command
	log string
}

func startLive(t *testing.T, args ...string) *liveProcess {
	t.Helper()
	p := &liveProcess{newCommand(t, args...), filepath.Join(t.TempDir(), "log")}
	f, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // the process has it open
	p.Stderr = f
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *liveProcess) said(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// says waits until it has said something so many times.
func (p *liveProcess) says(t *testing.T, text string, times int) {
	t.Helper()
	if !p.within(t, func() bool { return strings.Count(p.said(t), text) >= times }) {
		t.Fatalf("it does not say %q:\n%s", text, p.said(t))
	}
}

// holds waits until a key is at the target.
func (p *liveProcess) holds(t *testing.T, to []*testkit.Server, keys []string) {
	t.Helper()
	for _, key := range keys {
		if !p.within(t, func() bool { return oneOf(t, to, "EXISTS", key) == int64(1) }) {
			t.Fatalf("%s does not come:\n%s", key, p.said(t))
		}
	}
}

func (p *liveProcess) within(t *testing.T, done func() bool) bool {
	t.Helper()
	ok := false
	testkit.Wait(t, patience, func() bool { ok = done(); return ok }, "%s", logText{t, p})
	return ok
}

// logText is what a process has said by the time that it is printed.
type logText struct {
	t *testing.T
	p *liveProcess
}

func (l logText) String() string { return "it goes no further:\n" + l.p.said(l.t) }

func count(servers []*testkit.Server) (n int64) {
	for _, s := range servers {
		n += s.Must("DBSIZE").(int64)
	}
	return n
}

// reopened lets writes through again, and empties.
func reopened(servers []*testkit.Server) {
	for _, s := range servers {
		s.Must("CONFIG", "SET", "min-replicas-to-write", "0")
		emptied(s)
	}
}

// alike judges by the servers' own commands, and then has verify do so.
func alike(t *testing.T, a, b []*testkit.Server) {
	t.Helper()
	sameContent(t, a, b)
	runs(t, 0, "verify", url(a[0]), url(b[0]))
}

// finished is a migration that went through, with all that writers were told at the target.
func finished(t *testing.T, w *writers, from, to []*testkit.Server, args ...string) {
	t.Helper()
	out, _ := runs(t, 0, args...)
	if !strings.Contains(out, "clients write to") {
		t.Errorf("%s", out)
	}
	w.end(t, true)
	w.check(t, to...)
	alike(t, from, to)
}

// Clusters and servers are followed into each other, whatever the number of shards.
func TestLiveClusters(t *testing.T) {
	for _, pair := range [][2]string{{"redis-7.0", "valkey-8.1"}, {"redis-6.0", "valkey-9.1"}} {
		t.Run(pair[0]+" and "+pair[1], func(t *testing.T) {
			one := testkit.StartServer(t, testkit.Engine(t, pair[0]), quick)
			three := testkit.StartCluster(t, testkit.Engine(t, pair[0]), 3, 0, quick)
			two := testkit.StartCluster(t, testkit.Engine(t, pair[1]), 2, 0, quick)
			single := []*testkit.Server{one}
			runs(t, 0, "generate", url(one), "--keys", "2000", "--seed", "7")

			w := startWriters(t, one)
			w.wait(t, 100)
			args := []string{"--cutover", "auto"}
			// Of two databases one is left behind: a cluster has no second.
			w.end(t, false)
			one.Must("SELECT", 11)
			one.Must("FLUSHDB")
			one.Must("SELECT", 0)
			w = &writers{stop: make(chan struct{}), acked: map[string]int64{}, sent: map[string]int64{}, cluster: true}
			w.write(t, newClusterClient(single))
			finished(t, w, single, three.Primaries, liveArgs(t.TempDir(), one, three.Primaries[2], args...)...)

			reopened(three.Primaries)
			runs(t, 0, "generate", url(three.Primaries[0]), "--keys", "2000", "--seed", "8")
			if pair[0] != "redis-6.0" {
				for _, s := range three.Primaries {
					s.Must("FUNCTION", "LOAD", library)
				}
			}
			w = startClusterWriters(t, three)
			w.wait(t, 100)
			finished(t, w, three.Primaries, two.Primaries, liveArgs(t.TempDir(), three.Primaries[1], two.Primaries[1], append(args, "--from", "replica")...)...)

			reopened(single)
			w = startClusterWriters(t, two)
			w.wait(t, 100)
			if pair[0] == "redis-6.0" {
				args = append(args, "--without-functions")
			}
			finished(t, w, two.Primaries, single, liveArgs(t.TempDir(), two.Primaries[0], one, append(args, "--from", "commands")...)...)
		})
	}
}

// Slots move while everything is read, while it is followed, while we are dead, and
// while the cut-over is tried; nothing that was acknowledged is missing.
func TestLiveClusterResharded(t *testing.T) {
	for _, tc := range []struct{ from, to, road string }{
		{"valkey-8.1", "redis-7.0", roadReplica}, {"redis-7.0", "valkey-8.1", roadCommands}, {"valkey-9.1", "valkey-9.1", roadReplica},
	} {
		t.Run(tc.from+" by "+tc.road, func(t *testing.T) {
			src := testkit.StartCluster(t, testkit.Engine(t, tc.from), 3, 0, quick)
			dst := testkit.StartCluster(t, testkit.Engine(t, tc.to), 2, 0, quick)
			args := []string{"--from", tc.road}
			if tc.from == "valkey-9.1" && tc.to != tc.from {
				args = append(args, "--without-functions")
			}
			runs(t, 0, "generate", url(src.Primaries[0]), "--keys", "4000", "--seed", "9")
			w := startClusterWriters(t, src)
			client := newClusterClient(src.All())
			defer client.Close()
			state := t.TempDir()
			p := startLive(t, liveArgs(state, src.Primaries[0], dst.Primaries[0], append(args, "--cutover", "never", "--max-keys-per-second", rateOf(tc.road))...)...)

			p.within(t, func() bool { return count(dst.Primaries) > 100 })
			moves(t, src, []int{1, 2, 3, 4, 5}, src.Primaries[1])
			p.says(t, "the shards of the source have changed", 1)
			p.says(t, "the target is in step and follows", 1)
			slots := []int{12001, 12002, 12003}
			before := client.mark(t, "before", slots)
			moves(t, src, slots, src.Primaries[0])
			after := client.mark(t, "after", slots)
			p.holds(t, dst.Primaries, append(before, after...))

			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = p.Wait() // it was killed
			moves(t, src, []int{6001, 1}, src.Primaries[2])
			gone := client.mark(t, "gone", []int{1, 2})
			last := src.Reshard([]int{100, 101, 102, 103, 104, 105, 106, 107, 108, 109}, src.Primaries[1])
			finished(t, w, src.Primaries, dst.Primaries, liveArgs(state, src.Primaries[0], dst.Primaries[0], append(args, "--cutover", "auto")...)...)
			if _, err := last.Stop(); err != nil && !strings.Contains(err.Error(), "NOREPLICAS") {
				t.Error(err)
			}
			for _, key := range append(append(before, after...), gone...) {
				if oneOf(t, dst.Primaries, "EXISTS", key) != int64(1) {
					t.Errorf("%s is missing", key)
				}
			}
		})
	}
}

// rateOf is slow enough for slots to move meanwhile.
func rateOf(string) string { return "3000" }

func moves(t *testing.T, c *testkit.ClusterServers, slots []int, to *testkit.Server) {
	t.Helper()
	r := c.Reshard(slots, to)
	<-r.Done()
	if n, err := r.Stop(); err != nil || n == 0 {
		t.Fatalf("%d slots moved: %v", n, err)
	}
}

// A primary of the source dies while it is followed, and its replica takes over.
func TestLiveClusterFailover(t *testing.T) {
	src := testkit.StartCluster(t, testkit.Engine(t, "valkey-8.1"), 3, 1, quick)
	dst := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
	runs(t, 0, "generate", url(src.Primaries[0]), "--keys", "2000", "--seed", "7")
	w := startClusterWriters(t, src)
	state := t.TempDir()
	p := startLive(t, liveArgs(state, src.Primaries[0], dst, "--cutover", "never")...)
	p.says(t, "the target is in step and follows", 1)
	was, is := src.Primaries[1], src.Replicas[1][0]
	was.Kill()
	is.Must("CLUSTER", "FAILOVER", "TAKEOVER")
	testkit.Wait(t, patience, func() bool { return is.Info("replication")["role"] == "master" }, "the failover")
	p.says(t, "the shards of the source have changed", 1)
	w.wait(t, w.count()+200)
	if said := p.said(t); !strings.Contains(said, "\"read again\"=0 \"taken over\"=1") {
		t.Errorf("it did not go on with the new primary: %s", said)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); p.ProcessState.ExitCode() != exitInterrupted {
		t.Fatalf("%v: %s", err, p.said(t))
	}
	src.Primaries[1] = is
	out, _ := runs(t, 0, liveArgs(state, src.Primaries[0], dst, "--cutover", "auto")...)
	if !strings.Contains(out, "clients write to") {
		t.Errorf("%s", out)
	}
	w.end(t, true)
	alike(t, src.Primaries, []*testkit.Server{dst})
}
