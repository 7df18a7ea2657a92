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
	p.within(t, func() bool { return strings.Count(p.said(t), text) >= times })
}

// holds waits until keys are at the target (1), or are not any more (0).
func (p *liveProcess) holds(t *testing.T, to []*testkit.Server, keys []string, want int64) {
	t.Helper()
	for _, key := range keys {
		p.within(t, func() bool { return oneOf(t, to, "EXISTS", key) == want })
	}
}

func (p *liveProcess) within(t *testing.T, done func() bool) {
	t.Helper()
	testkit.Wait(t, patience, done, "%s", logText{t, p})
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

// switched is a migration that went through, after which the source refuses writes.
func switched(t *testing.T, w *writers, args ...string) {
	t.Helper()
	out, _ := runs(t, 0, args...)
	if !strings.Contains(out, "clients write to") {
		t.Errorf("%s", out)
	}
	w.end(t, true)
}

// finished is such a migration, with all that writers were told at the target.
func finished(t *testing.T, w *writers, from, to []*testkit.Server, args ...string) {
	t.Helper()
	switched(t, w, args...)
	w.check(t, to...)
	alike(t, from, to)
}

// Clusters and servers are followed into each other, whatever the number of shards.
func TestLiveClusters(t *testing.T) {
	t.Parallel() // what takes time is the nodes' agreeing
	for _, pair := range [][2]string{{"redis-7.0", "valkey-8.1"}, {"redis-6.0", "valkey-9.1"}} {
		t.Run(pair[0]+" and "+pair[1], func(t *testing.T) {
			t.Parallel()
			one := testkit.StartServer(t, testkit.Engine(t, pair[0]), quick)
			three := testkit.StartCluster(t, testkit.Engine(t, pair[0]), 3, 0, quick)
			two := testkit.StartCluster(t, testkit.Engine(t, pair[1]), 2, 0, quick)
			single := []*testkit.Server{one}
			runs(t, 0, "generate", url(one), "--keys", "2000", "--seed", "7")

			args := []string{"--cutover", "auto"}
			w := startClusterWriters(t, single)
			w.wait(t, 100)
			finished(t, w, single, three.Primaries, liveArgs(t.TempDir(), one, three.Primaries[2], args...)...)

			reopened(three.Primaries)
			runs(t, 0, "generate", url(three.Primaries[0]), "--keys", "2000", "--seed", "8")
			if pair[0] != "redis-6.0" {
				for _, s := range three.Primaries {
					s.Must("FUNCTION", "LOAD", library)
				}
			}
			w = startClusterWriters(t, three.Primaries)
			w.wait(t, 100)
			finished(t, w, three.Primaries, two.Primaries, liveArgs(t.TempDir(), three.Primaries[1], two.Primaries[1], append(args, "--from", "replica")...)...)

			reopened(single)
			w = startClusterWriters(t, two.Primaries)
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
	t.Parallel()
	for _, tc := range []struct{ from, to, road string }{
		{"redis-7.0", "valkey-8.1", roadCommands}, {"valkey-9.1", "valkey-8.1", roadReplica},
	} {
		t.Run(tc.from+" by "+tc.road, func(t *testing.T) {
			t.Parallel()
			src := testkit.StartCluster(t, testkit.Engine(t, tc.from), 3, 0, quick)
			dst := testkit.StartCluster(t, testkit.Engine(t, tc.to), 2, 0, quick)
			args := []string{"--from", tc.road}
			if tc.road == roadCommands {
				args = append(args, "--max-keys-per-second", "2000") // so that slots can move meanwhile
			}
			runs(t, 0, "generate", url(src.Primaries[0]), "--keys", "2000", "--seed", "9")
			w := startClusterWriters(t, src.All())
			client := newClusterClient(src.All())
			defer client.Close()
			state := t.TempDir()
			first := src.Reshard([]int{1, 2, 3, 4, 5, 6, 7, 8, 9}, src.Primaries[1])
			p := startLive(t, liveArgs(state, src.Primaries[0], dst.Primaries[0], append(args, "--cutover", "never")...)...)
			<-first.Done()
			if tc.road == roadCommands {
				p.within(t, func() bool { return count(dst.Primaries) > 100 })
				moves(t, src, []int{10, 11}, src.Primaries[1])
				p.says(t, "the shards of the source have changed", 1)
			}
			p.says(t, "the target is in step and follows", 1)
			slots := []int{12001, 12002, 12003}
			before, doomed := client.mark(t, "before", slots), client.mark(t, "doomed", append(slots, 6001))
			p.holds(t, dst.Primaries, append(before, doomed...), 1)
			changes := strings.Count(p.said(t), "the shards of the source have changed")
			if tc.from == "valkey-9.1" { // all at once
				if err := src.MigrateSlots(12001, 12003, src.Primaries[2], src.Primaries[0]); err != nil {
					t.Fatal(err)
				}
			} else {
				moves(t, src, slots, src.Primaries[0])
			}
			client.remove(t, doomed[:3])
			p.says(t, "the shards of the source have changed", changes+1)
			after := client.mark(t, "after", slots)
			p.holds(t, dst.Primaries, append(before, after...), 1)
			p.holds(t, dst.Primaries, doomed[:3], 0)

			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = p.Wait() // it was killed
			moves(t, src, []int{6001, 1}, src.Primaries[2])
			client.remove(t, doomed[3:])
			gone := client.mark(t, "gone", []int{1, 2})
			last := []int{100, 101, 102, 103, 104, 105, 106, 107, 108, 109}
			moving := src.Reshard(last, src.Primaries[1])
			switched(t, w, liveArgs(state, src.Primaries[0], dst.Primaries[0], append(args, "--cutover", "auto")...)...)
			if _, err := moving.Stop(); err != nil {
				stayed(t, src, last, err)
			}
			w.check(t, dst.Primaries...)
			alike(t, src.Primaries, dst.Primaries)
			for _, key := range append(append(before, after...), gone...) {
				if oneOf(t, dst.Primaries, "EXISTS", key) != int64(1) {
					t.Errorf("%s is missing", key)
				}
			}
		})
	}
}

// stayed closes slots whose moving the cut-over forbade: their keys stay where they are.
func stayed(t *testing.T, c *testkit.ClusterServers, slots []int, why error) {
	t.Helper()
	if !strings.Contains(why.Error(), "NOREPLICAS") {
		t.Error(why)
	}
	for _, s := range c.Primaries {
		for _, slot := range slots {
			s.Must("CLUSTER", "SETSLOT", slot, "STABLE")
		}
	}
}

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
	t.Parallel()
	src := testkit.StartCluster(t, testkit.Engine(t, "valkey-8.1"), 3, 1, quick)
	dst := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
	runs(t, 0, "generate", url(src.Primaries[0]), "--keys", "2000", "--seed", "7")
	w := startClusterWriters(t, src.All())
	state := t.TempDir()
	p := startLive(t, liveArgs(state, src.Primaries[0], dst, "--cutover", "never")...)
	p.says(t, "the target is in step and follows", 1)
	was, is := src.Primaries[1], src.Replicas[1][0]
	// The replica has all that the migration may have, so that both are of one history.
	was.Must("CLIENT", "PAUSE", patience.Milliseconds(), "WRITE")
	testkit.Wait(t, patience, func() bool {
		return is.Info("replication")["slave_repl_offset"] == was.Info("replication")["master_repl_offset"]
	}, "the replica has all")
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
	switched(t, w, liveArgs(state, src.Primaries[0], dst, "--cutover", "auto")...)
	alike(t, src.Primaries, []*testkit.Server{dst})
}
