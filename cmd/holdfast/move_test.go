package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// command is one run of holdfast as a process of its own. What it says can be looked at
// while it runs.
type command struct {
	*exec.Cmd
	out, err guarded
}

func newCommand(t *testing.T, args ...string) *command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &command{Cmd: exec.CommandContext(t.Context(), self, args...)}
	c.Stdout, c.Stderr = &c.out, &c.err
	c.WaitDelay = patience // for what it began and left to close its output
	return c
}

// ends waits for the process, which must exit with a code, and returns what it
// said on standard error.
func (c *command) ends(t *testing.T, code int) string {
	t.Helper()
	err := c.Wait()
	if got := c.ProcessState.ExitCode(); got != code {
		t.Fatalf("%v: exit code %d (%v), not %d\n%s%s", c.Args[1:], got, err, code, &c.out, &c.err)
	}
	return c.err.String()
}

// run runs holdfast to its end and returns what it printed, first standard output.
func runs(t *testing.T, code int, args ...string) (string, string) {
	t.Helper()
	c := newCommand(t, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	said := c.ends(t, code)
	return c.out.String(), said
}

func url(s *testkit.Server) string { return "redis://" + s.Addr() }

const library = "#!lua name=moved\nredis.register_function('answer', function() return 42 end)"

// fillAll gives a server keys of every kind in two databases, and a function where it has such.
func fillAll(t *testing.T, s *testkit.Server) {
	t.Helper()
	fillMixed(t, s)
	if s.Build.Line() != "redis-6.0" {
		s.Must("FUNCTION", "LOAD", library)
	}
}

func emptied(s *testkit.Server) {
	s.Must("FLUSHALL")
	if s.Build.Line() != "redis-6.0" {
		s.Must("FUNCTION", "FLUSH")
	}
}

func wantFunctions(t *testing.T, s *testkit.Server, want bool) {
	t.Helper()
	if s.Build.Line() == "redis-6.0" {
		return
	}
	if got := strings.Contains(fmt.Sprint(s.Must("FUNCTION", "LIST")), "moved"); got != want {
		t.Errorf("the function is there: %v", got)
	}
}

// Backed up on either road, every engine's data come back whole on every other.
func TestBackupAndRestore(t *testing.T) {
	var targets []*testkit.Server
	for _, b := range testkit.Engines(t) {
		targets = append(targets, testkit.StartServer(t, b, testkit.Config("repl-diskless-sync-delay 0")))
	}
	for _, b := range testkit.Engines(t) {
		from := testkit.StartServer(t, b, testkit.Config("repl-diskless-sync-delay 0"))
		fillAll(t, from)
		print, _ := runs(t, 0, "fingerprint", url(from))
		print = print[strings.Index(print, "hf1:"):]
		for _, road := range []string{roadReplica, roadCommands} {
			file := filepath.Join(t.TempDir(), road+".rdb")
			out, _ := runs(t, 0, "backup", url(from), file, "--from", road)
			if !strings.Contains(out, "point-in-time") || !strings.Contains(out, print) {
				t.Fatalf("not the data of one instant with %s:\n%s", print, out)
			}
			if old := b.Line() == "redis-6.0"; !strings.Contains(out, "functions: 1") != old {
				t.Errorf("functions are not told:\n%s", out)
			}
			for _, to := range targets {
				t.Run(b.Line()+" by "+road+" to "+to.Build.Line(), func(t *testing.T) {
					emptied(to)
					args := []string{"restore", file, url(to)}
					if to.Build.Line() == "redis-6.0" && b.Line() != "redis-6.0" {
						_, said := runs(t, 1, args...)
						if !strings.Contains(said, "functions: there are") || to.Do("DBSIZE") != int64(0) {
							t.Errorf("functions into an engine without: %s", said)
						}
						args = append(args, "--without-functions")
					}
					out, _ := runs(t, 0, args...)
					if !strings.HasSuffix(out, "identical\n") || strings.Count(out, strings.TrimSpace(print)) != 2 {
						t.Errorf("not the same:\n%s", out)
					}
					wantFunctions(t, to, b.Line() != "redis-6.0")
				})
			}
		}
	}
}

// Copied from server to server on either road, nothing differs.
func TestMigrate(t *testing.T) {
	var targets []*testkit.Server
	for _, b := range testkit.Engines(t) {
		targets = append(targets, testkit.StartServer(t, b))
	}
	for i, b := range testkit.Engines(t) {
		from := testkit.StartServer(t, b, testkit.Config("repl-diskless-sync-delay 0"))
		fillAll(t, from)
		for j, to := range targets {
			road := []string{roadCommands, roadReplica}[(i+j)%2]
			t.Run(b.Line()+" by "+road+" to "+to.Build.Line(), func(t *testing.T) {
				emptied(to)
				args := []string{"migrate", url(from), url(to), "--from", road, "-o", "json"}
				if to.Build.Line() == "redis-6.0" {
					args = append(args, "--without-functions")
				}
				out, _ := runs(t, 0, args...)
				var r struct {
					Keys     int64
					Read     readReport
					Verified struct{ Equal bool }
				}
				if err := json.Unmarshal([]byte(out), &r); err != nil {
					t.Fatal(err)
				}
				if r.Keys != 2000 || !r.Verified.Equal || r.Read.Road != road || r.Read.Consistency != "point-in-time" {
					t.Errorf("%+v", r)
				}
				wantFunctions(t, to, b.Line() != "redis-6.0")
			})
		}
		_, said := runs(t, 2, "migrate", url(from), url(from))
		if !strings.Contains(said, "are the same server") {
			t.Error(said)
		}
	}
}

// A source that is written to after the instant is told to differ.
func TestMigrateTellsWhatWasWrittenAfter(t *testing.T) {
	b := testkit.Engine(t, "valkey-8.1")
	from, to := testkit.StartServer(t, b), testkit.StartServer(t, b)
	fillMixed(t, from)
	runs(t, 0, "migrate", url(from), url(to))
	from.Must("SET", "later", "1")
	out, _ := runs(t, 3, "verify", url(from), url(to))
	if !strings.Contains(out, `db0 "later": missing in B`) {
		t.Error(out)
	}
	to.Must("SET", "own", "1")
	out, _ = runs(t, 0, "migrate", url(from), url(to), "--replace")
	if !strings.HasSuffix(out, "identical\n") || to.Do("EXISTS", "own", "later") != int64(2) {
		t.Error(out)
	}
}

// left lists what a command left in a directory.
func left(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// A backup whose source dies, on either road, fails and leaves no file; one that is
// interrupted too, with 130.
func TestBackupBrokenOff(t *testing.T) {
	for name, tc := range map[string]struct {
		road string
		stop func(t *testing.T, s *testkit.Server, c *command)
		code int
	}{
		"source dies by replica":  {roadReplica, func(_ *testing.T, s *testkit.Server, _ *command) { s.Kill() }, exitFailed},
		"source dies by commands": {roadCommands, func(_ *testing.T, s *testkit.Server, _ *command) { s.Kill() }, exitFailed},
		"interrupted by replica":  {roadReplica, interrupt, exitInterrupted},
		"interrupted by commands": {roadCommands, interrupt, exitInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Config("repl-diskless-sync-delay 0"))
			s.Must("DEBUG", "POPULATE", 200_000, "k", 100)
			slow := testkit.Proxy(t, s.Addr())
			slow.Slow(1 << 20)
			dir, spools := t.TempDir(), t.TempDir()
			c := newCommand(t, "backup", "redis://"+slow.Addr(), filepath.Join(dir, "x.rdb"), "--from", tc.road)
			c.Env = append(os.Environ(), "TMPDIR="+spools)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			testkit.Wait(t, 20*time.Second, func() bool {
				// What commands read is kept in a file without a name until the end.
				return bytesIn(t, dir) > 256<<10 || strings.Contains(fmt.Sprint(s.Do("INFO", "commandstats")), "cmdstat_dump")
			}, "it to read")
			if names := left(t, dir); len(names) > 1 || len(names) == 1 && names[0] == "x.rdb" {
				t.Errorf("under way there are %v", names)
			}
			tc.stop(t, s, c)
			c.ends(t, tc.code)
			if names := append(left(t, dir), left(t, spools)...); len(names) > 0 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

func interrupt(t *testing.T, _ *testkit.Server, c *command) {
	t.Helper()
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

// bytesIn is how many bytes the files of a directory have.
func bytesIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	for _, name := range left(t, dir) {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil {
			n += st.Size()
		}
	}
	return n
}

// A restore whose target dies, or that is interrupted, says how to go on, and
// going on completes it.
func TestRestoreBrokenOff(t *testing.T) {
	for name, tc := range map[string]struct {
		stop func(t *testing.T, s *testkit.Server, c *command)
		code int
	}{
		"target dies": {func(_ *testing.T, s *testkit.Server, _ *command) { s.Kill() }, exitFailed},
		"interrupted": {interrupt, exitInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			to := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
			file := filepath.Join(t.TempDir(), "x.rdb")
			runs(t, 0, "generate", file, "--keys", "20000")
			// Slow enough to be met under way on a busy machine.
			c := newCommand(t, "restore", file, url(to), "--max-keys-per-second", "1000")
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			testkit.Wait(t, 20*time.Second, func() bool {
				n, ok := to.Do("DBSIZE").(int64)
				return ok && n > 0
			}, "keys to arrive")
			tc.stop(t, to, c)
			said := c.ends(t, tc.code)
			if !strings.Contains(said, "holds a part now") || !strings.Contains(said, "--replace begins anew") {
				t.Errorf("it does not say how to go on: %s", said)
			}
			if tc.code == exitFailed {
				to.Restart()
			}
			out, _ := runs(t, 0, "restore", file, url(to), "--replace")
			if !strings.HasSuffix(out, "identical\n") {
				t.Error(out)
			}
		})
	}
}

// A file that is damaged restores nothing, and as it streams by nothing after the damage.
func TestRestoreDamaged(t *testing.T) {
	to := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	dir := t.TempDir()
	whole := filepath.Join(dir, "x.rdb")
	runs(t, 0, "generate", whole, "--keys", "20000")
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(data)
	flipped[len(data)-1] ^= 1
	for name, content := range map[string][]byte{"truncated": data[:len(data)/2], "changed": flipped} {
		t.Run(name, func(t *testing.T) {
			to.Must("FLUSHALL")
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, said := runs(t, 1, "restore", file, url(to))
			if !strings.Contains(said, "nothing was moved") || !strings.Contains(said, "at byte") || to.Do("DBSIZE") != int64(0) {
				t.Errorf("%v keys: %s", to.Do("DBSIZE"), said)
			}
			c := newCommand(t, "restore", "-", url(to), "-o", "json")
			c.Stdin = bytes.NewReader(content)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			said = c.ends(t, 1)
			var r moveReportJSON
			if err := json.Unmarshal([]byte(c.out.String()), &r); err != nil {
				t.Fatal(err)
			}
			there, ok := to.Do("DBSIZE").(int64)
			if !ok || there > 20000 || name == "truncated" && (r.Keys > 12000 || there > r.Keys+512) {
				t.Errorf("%d keys are told and %d there", r.Keys, there)
			}
			if !strings.Contains(said, "at byte") || !strings.Contains(r.Error, "holds a part now") || r.Verified != nil {
				t.Errorf("%s %+v", said, r)
			}
		})
	}
}

// moveReportJSON is what a machine reads of a movement.
type moveReportJSON struct {
	Keys     int64
	Error    string
	Verified *struct{ Equal bool }
	Findings []finding
}

// From standard input it is verified by fingerprint.
func TestPipedThrough(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), testkit.Config("repl-diskless-sync-delay 0"))
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fillAll(t, from)
	for _, road := range []string{roadReplica, roadCommands} {
		emptied(to)
		backup := newCommand(t, "backup", url(from), "-", "--from", road)
		restore := newCommand(t, "restore", "-", url(to))
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		backup.Stdout, restore.Stdin = w, r
		if err := backup.Start(); err != nil {
			t.Fatal(err)
		}
		if err := restore.Start(); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		said := backup.ends(t, 0)
		restore.ends(t, 0)
		print := said[strings.Index(said, "hf1:"):]
		if out := restore.out.String(); !strings.HasSuffix(out, "identical\n") || strings.Count(out, strings.TrimSpace(print)) != 2 {
			t.Errorf("%s\n%s", said, out)
		}
		wantFunctions(t, to, true)
	}
}

// Keys that have expired meanwhile are told, and are no difference.
func TestRestoreExpired(t *testing.T) {
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	file := filepath.Join(t.TempDir(), "x.rdb")
	// TTLs count from the beginning of the day, so these keys are of the past.
	runs(t, 0, "generate", file, "--keys", "2000", "--ttl-share", "0.3", "--ttl-min", "1ms", "--ttl-max", "2ms")
	out, _ := runs(t, 0, "restore", file, url(to))
	if !strings.Contains(out, "differ only by what has expired") || !strings.HasSuffix(out, "identical\n") {
		t.Error(out)
	}
	to.Must("FLUSHALL")
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	c := newCommand(t, "restore", "-", url(to))
	c.Stdin = in
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.ends(t, 0)
	if out := c.out.String(); !strings.Contains(out, "and not compared") || !strings.HasSuffix(out, "identical\n") {
		t.Error(out)
	}
}
