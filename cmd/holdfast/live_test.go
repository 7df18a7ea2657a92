package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// patience is how long a step of a migration may take on a machine that has other things to do.
const patience = 90 * time.Second

// liveArgs is the command line of a migration with a state of its own.
func liveArgs(state string, from, to *testkit.Server, more ...string) []string {
	return append([]string{"migrate", url(from), url(to), "--live", "--state-dir", state}, more...)
}

// quick is a configuration that does not make replicas wait.
var quick = testkit.Config("repl-diskless-sync-delay 0")

// wantSame compares two servers by their own commands, which nothing of the mover
// has a part in, and then by verify.
func wantSame(t *testing.T, from, to *testkit.Server) {
	t.Helper()
	wantSameContent(t, from, to)
	runs(t, 0, "verify", url(from), url(to))
}

func wantSameContent(t *testing.T, from, to *testkit.Server) {
	t.Helper()
	if diff := testkit.ReadContent(t, from).Differences(testkit.ReadContent(t, to), 2*time.Millisecond); len(diff) > 0 {
		t.Fatalf("%d differences, the first: %s", len(diff), strings.Join(diff[:min(len(diff), 5)], "\n"))
	}
}

// Clients write all the time, to keys of every kind; whatever was acknowledged is
// at the target after the switch, and the source takes nothing more.
func TestLive(t *testing.T) {
	pairs := [][2]string{
		{"redis-6.0", "redis-7.0"},
		{"redis-7.0", "valkey-9.1"},
		{"redis-8.0", "valkey-8.1"},
		{"valkey-9.1", "redis-8.0"},
		{"valkey-8.1", "redis-6.0"},
	}
	for _, pair := range pairs {
		from := testkit.StartServer(t, testkit.Engine(t, pair[0]), quick)
		to := testkit.StartServer(t, testkit.Engine(t, pair[1]), quick)
		for _, road := range []string{roadReplica, roadCommands} {
			t.Run(pair[0]+" to "+pair[1]+" by "+road, func(t *testing.T) {
				from.Must("CONFIG", "SET", "min-replicas-to-write", "0")
				emptied(from)
				emptied(to)
				args := []string{"--from", road, "--cutover", "auto", "-o", "json"}
				fillMixed(t, from)
				if pair[1] == "redis-6.0" {
					args = append(args, "--without-functions")
				} else {
					fillAll(t, from)
				}
				w := startWriters(t, from)
				w.wait(t, 500)
				out, _ := runs(t, 0, liveArgs(t.TempDir(), from, to, args...)...)
				var rep struct {
					Switched     bool
					Undo         string
					PauseSeconds float64
					Final        struct {
						Equal bool
						Keys  int64
					}
				}
				if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &rep); err != nil || !rep.Switched || !rep.Final.Equal || rep.Undo == "" {
					t.Fatalf("%v\n%s", err, out)
				}
				w.end(t, true)
				w.check(t, to)
				wantSame(t, from, to)
				t.Logf("held for %.1f ms, %d keys compared then", rep.PauseSeconds*1000, rep.Final.Keys)
			})
		}
	}
}

// A cut-over that is taken back leaves the source as it was, and the same command goes on.
func TestLiveTakenBack(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), quick)
	fillAll(t, from)
	w := startWriters(t, from)
	state := t.TempDir()
	_, said := runs(t, 1, liveArgs(state, from, to, "--cutover", "auto", "--on-switch", "exit 3")...)
	if !strings.Contains(said, "exit status 3") || !strings.Contains(said, "same command goes on") {
		t.Errorf("it said: %s", said)
	}
	w.wait(t, w.count()+100) // they write again
	out, said := runs(t, 0, liveArgs(state, from, to, "--cutover", "auto", "--on-switch", "echo switched to $HOLDFAST_TARGET")...)
	if !strings.Contains(said, "going on with the migration") || !strings.Contains(said, "switched to "+url(to)) || !strings.Contains(out, "clients write to") {
		t.Errorf("it said: %s%s", out, said)
	}
	w.end(t, true)
	w.check(t, to)
	wantSame(t, from, to)
}

// Writes are held no longer than they may be.
func TestLivePauseIsBounded(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), quick)
	fillAll(t, from)
	runs(t, 0, "generate", url(from), "--keys", "20000", "--seed", "7")
	w := startWriters(t, from)
	_, said := runs(t, 1, liveArgs(t.TempDir(), from, to, "--cutover", "auto", "--compare", "all", "--max-pause", "3ms")...)
	if !strings.Contains(said, "gave up after 3 cut-overs") {
		t.Errorf("it said: %s", said)
	}
	w.wait(t, w.count()+100)
	w.end(t, false)
}

// Killed at any time, the source takes writes again, and the same command ends it.
func TestLiveKilled(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
	old := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"), quick)
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), quick)
	for _, tc := range []struct {
		name  string
		from  *testkit.Server
		args  []string
		until func(t *testing.T, c *command, mark string)
	}{
		{"in the full phase", from, []string{"--cutover", "never", "--from", "commands", "--max-keys-per-second", "10000"}, func(t *testing.T, _ *command, _ string) {
			testkit.Wait(t, patience, func() bool { return to.Must("DBSIZE").(int64) > 3000 }, "no key arrives")
		}},
		{"while it follows", from, []string{"--cutover", "never"}, func(t *testing.T, c *command, _ string) {
			testkit.Wait(t, patience, func() bool { return strings.Contains(c.err.String(), "the target is in step") }, "it is never in step")
		}},
		{"while writes are held", from, []string{"--cutover", "auto", "--on-switch", untilDeath}, waitMark},
		{"while writes are refused", old, []string{"--cutover", "auto", "--on-switch", untilDeath}, waitMark},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, s := range []*testkit.Server{tc.from, to} {
				s.Must("CONFIG", "SET", "min-replicas-to-write", "0")
				emptied(s)
			}
			fillAll(t, tc.from)
			runs(t, 0, "generate", url(tc.from), "--keys", "20000", "--seed", "7")
			w := startWriters(t, tc.from)
			state, mark := t.TempDir(), filepath.Join(t.TempDir(), "held")
			c := newCommand(t, liveArgs(state, tc.from, to, tc.args...)...)
			c.Env = append(os.Environ(), "MARK="+mark)
			c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			tc.until(t, c, mark)
			if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			c.ends(t, -1)
			args := []string{"--cutover", "auto"}
			if tc.from == from {
				w.wait(t, w.count()+50) // writes go on by themselves
			}
			if i := len(tc.args); tc.args[i-2] == "--max-keys-per-second" {
				args = append(args, "--from", "commands")
			}
			_, said := runs(t, 0, liveArgs(state, tc.from, to, args...)...)
			if !strings.Contains(said, "going on with the migration") {
				t.Errorf("it began anew: %s", said)
			}
			w.end(t, true)
			w.check(t, to)
			wantSame(t, tc.from, to)
		})
	}
}

// untilDeath is a command that ends when the migration is dead, of whose group it is not.
const untilDeath = "touch $MARK; while kill -0 $PPID; do sleep 0.1; done"

func waitMark(t *testing.T, c *command, mark string) {
	testkit.Wait(t, patience, func() bool { _, err := os.Stat(mark); return err == nil }, "writes are never held: %s", &c.err)
}

// A target that comes back without its data is not taken for the one that was filled.
func TestLiveTargetStartedAnew(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), quick)
	fillAll(t, from)
	state := t.TempDir()
	c := newCommand(t, liveArgs(state, from, to, "--cutover", "never")...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Wait(t, patience, func() bool { return strings.Contains(c.err.String(), "the target is in step") }, "it is never in step")
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if said := c.ends(t, exitInterrupted); !strings.Contains(said, "same command goes on") {
		t.Errorf("interrupted, it said: %s", said)
	}
	to.Kill()
	to.Restart()
	if to.Must("DBSIZE") != int64(0) {
		t.Fatal("the target kept its keys")
	}
	_, said := runs(t, 0, liveArgs(state, from, to, "--cutover", "auto")...)
	if !strings.Contains(said, "started anew") {
		t.Errorf("it said: %s", said)
	}
	wantSame(t, from, to)
}

// What is chosen and renamed is followed under its new names; nothing else is touched.
func TestLiveSelection(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), quick)
	from.Must("SET", "other", "1")
	w := startWriters(t, from)
	w.wait(t, 200)
	runs(t, 0, liveArgs(t.TempDir(), from, to, "--cutover", "auto", "--match", "w:*", "--rename-prefix", "w:=was:", "--map-db", "0:3")...)
	w.end(t, true)
	if to.Must("DBSIZE") != int64(0) {
		t.Error("database 0 got keys")
	}
	to.Must("SELECT", "3")
	for k, v := range w.acknowledged() {
		w.checkKey(t, k, v, to.Must("GET", "was:"+strings.TrimPrefix(k, "w:")))
	}
	if got := to.Do("EXISTS", "other", "was:other"); got != int64(0) {
		t.Error("a key came that was not chosen")
	}
}

func TestLiveRefusals(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	to.Must("SET", "theirs", "1")
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{2, "there is no terminal to ask on", []string{"--live"}},
		{2, "needs a terminal", []string{"--live", "--cutover", "ask"}},
		{2, "--cutover goes with --live", []string{"--cutover", "auto"}},
		{2, "--replace-all", []string{"--live", "--cutover", "auto", "--replace"}},
		{2, "--compare none", []string{"--live", "--cutover", "auto", "--no-verify"}},
		{1, "holds keys already", []string{"--live", "--cutover", "auto"}},
	} {
		args := append([]string{"migrate", url(from), url(to)}, tc.args...)
		if len(tc.args) > 1 {
			args = append(args, "--state-dir", t.TempDir())
		}
		if tc.args[0] != "--live" {
			args = args[:len(args)-2]
		}
		if _, said := runs(t, tc.code, args...); !strings.Contains(said, tc.want) {
			t.Errorf("%v said %s", tc.args, said)
		}
	}
	if to.Must("GET", "theirs") != "1" {
		t.Error("the target's own key is gone")
	}
	runs(t, 0, liveArgs(t.TempDir(), from, to, "--cutover", "auto", "--replace-all")...)
	if to.Must("DBSIZE") != int64(0) {
		t.Error("the target holds more than the source")
	}
}
