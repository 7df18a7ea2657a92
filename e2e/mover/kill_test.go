package mover

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast.dev/internal/testkit"
)

const (
	killKeys = 4000
	// slowly is a rate at which the data take several seconds to be written, and
	// crawling one at which they take as long to be read, which engines compress.
	slowly   = 120 << 10
	crawling = 30 << 10
)

// scene is a source with data, and proxies in front of it and of an empty target.
type scene struct {
	t          *testing.T
	from, to   *testkit.Server
	near, far  *testkit.FaultProxy // to the source, to the target
	content    *testkit.Content
	dir, spool string
}

func newScene(t *testing.T, line string) *scene {
	t.Helper()
	b := testkit.Engine(t, line)
	s := &scene{t: t, from: testkit.StartServer(t, b), to: testkit.StartServer(t, b), dir: t.TempDir(), spool: t.TempDir()}
	s.from.Must("EVAL", "for i = 1, ARGV[1] do redis.call('SET', 'k' .. i, string.rep(i, 40)) end", 0, killKeys)
	s.from.Must("RPUSH", "list", "a", "b", "c")
	s.content = testkit.ReadContent(t, s.from)
	s.near, s.far = testkit.Proxy(t, s.from.Addr()), testkit.Proxy(t, s.to.Addr())
	return s
}

// at are the addresses by which commands come to both servers.
func (s *scene) source() string { return "redis://" + s.near.Addr() }
func (s *scene) target() string { return "redis://" + s.far.Addr() }

// file is a backup that was made without disturbance.
func (s *scene) file() string {
	s.t.Helper()
	path := filepath.Join(s.dir, "whole.rdb")
	if _, err := os.Stat(path); err != nil {
		runs(s.t, done, "backup", url(s.from), path)
	}
	return path
}

// begin starts a command that keeps its temporary files in a place of their own.
func (s *scene) begin(args ...string) *command {
	s.t.Helper()
	c := holdfast(s.t, args...)
	c.Env = append(os.Environ(), "TMPDIR="+s.spool)
	return c.start()
}

// reading waits until values have been asked for.
func (s *scene) reading() {
	s.t.Helper()
	testkit.Wait(s.t, patience, func() bool {
		stats := fmt.Sprint(s.from.Must("INFO", "commandstats"))
		return strings.Contains(stats, "cmdstat_dump") || strings.Contains(stats, "cmdstat_psync")
	}, "the source to be read")
}

// writing waits until keys have arrived.
func (s *scene) writing() {
	s.t.Helper()
	testkit.Wait(s.t, patience, func() bool {
		n, ok := s.to.Must("DBSIZE").(int64)
		return ok && n > 0
	}, "keys to arrive")
}

// calm ends all disturbance.
func (s *scene) calm() {
	for _, p := range []*testkit.FaultProxy{s.near, s.far} {
		p.Slow(0)
		p.Resume()
	}
}

// movements are the commands that fill a target, by name.
func (s *scene) movements() map[string][]string {
	return map[string][]string{
		"restore":             {"restore", s.file(), s.target()},
		"migrate by commands": {"migrate", s.source(), s.target(), "--from", "commands"},
		"migrate by replica":  {"migrate", s.source(), s.target(), "--from", "replica"},
	}
}

// told fails the test unless what a movement has left behind is what it says: all,
// compared or not, or a part and how to go on, or nothing.
func (s *scene) told(c *command) {
	s.t.Helper()
	said := c.said()
	switch {
	case c.ProcessState.ExitCode() == done, strings.Contains(said, "everything was written"):
		want(s.t, s.content, 0, s.to)
	case strings.Contains(said, "--replace"):
	default:
		if n := keys(s.t, s.to); n > 0 {
			s.t.Errorf("it leaves %d keys and does not say how to go on: %s", n, said)
		}
	}
}

// goOn completes a movement that was broken off.
func (s *scene) goOn(args []string) {
	s.t.Helper()
	s.calm()
	if keys(s.t, s.to) > 0 {
		runs(s.t, failed, args...).says("--replace")
	}
	runs(s.t, done, append(args, "--replace")...).says("identical")
	want(s.t, s.content, 0, s.to)
	emptied(s.to)
}

// unharmed fails the test unless the source takes writes and holds what it held.
func (s *scene) unharmed() {
	s.t.Helper()
	s.from.Must("SET", "alive", "1") // waits as long as writes are held back
	s.from.Must("DEL", "alive")
	want(s.t, s.content, 0, s.from)
}

// TestBackupKilled: a file of its name does not appear, the source is left alone,
// and the same command again completes.
func TestBackupKilled(t *testing.T) {
	t.Parallel()
	s := newScene(t, "valkey-8.1")
	for _, by := range []string{"replica", "commands"} {
		t.Run(by, func(t *testing.T) {
			s.from.Must("CONFIG", "RESETSTAT")
			s.near.Slow(crawling)
			path := filepath.Join(s.dir, by+".rdb")
			c := s.begin("backup", s.source(), path, "--from", by)
			s.reading()
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			c.ends(-1)
			if _, err := os.Stat(path); err == nil {
				t.Error("there is a file, though it was not whole")
			}
			s.calm()
			s.unharmed()
			runs(t, done, "backup", s.source(), path, "--from", by)
			runs(t, done, "restore", path, url(s.to))
			want(t, s.content, 0, s.to)
			emptied(s.to)
		})
	}
}

// TestMovementKilled: kill -9 of us, while the source is read and while the target is
// written to.
func TestMovementKilled(t *testing.T) {
	t.Parallel()
	s := newScene(t, "redis-7.0")
	for name, args := range s.movements() {
		t.Run(name, func(t *testing.T) {
			s.far.Slow(slowly)
			c := s.begin(args...)
			s.writing()
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			c.ends(-1)
			s.unharmed()
			s.goOn(args)
		})
	}
	t.Run("while it reads", func(t *testing.T) {
		s.from.Must("CONFIG", "RESETSTAT")
		s.near.Slow(crawling)
		args := s.movements()["migrate by commands"]
		c := s.begin(args...)
		s.reading()
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.ends(-1)
		if n := keys(t, s.to); n > 0 {
			t.Errorf("%d keys arrived before the instant was fixed", n)
		}
		s.unharmed()
		s.goOn(args)
	})
}

// TestSourceKilled: what was read in part is never taken for the whole.
func TestSourceKilled(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"commands", "replica"} {
		t.Run(by+" while it is read", func(t *testing.T) {
			s := newScene(t, "valkey-8.1")
			s.near.Slow(crawling)
			c := s.begin("migrate", s.source(), s.target(), "--from", by)
			s.reading()
			s.from.Kill()
			s.told(c.ends(failed))
		})
	}
	t.Run("after it was read", func(t *testing.T) {
		s := newScene(t, "valkey-8.1")
		s.far.Slow(slowly)
		// What is chosen by name goes by way of a file: it is read whole before any of it is written.
		c := s.begin("migrate", s.source(), s.target(), "--from", "commands", "--match", "*")
		s.writing()
		s.from.Kill()
		s.calm()
		// All has been read, so all arrives; but it cannot be compared any more.
		s.told(c.ends(failed).says("everything was written"))
	})
}

// TestTargetKilled: a target that dies, and one that comes back without its data
// while the movement goes on. Half of the data is never taken for the whole,
// verified or not.
func TestTargetKilled(t *testing.T) {
	t.Parallel()
	s := newScene(t, "redis-7.0")
	for name, args := range s.movements() {
		t.Run(name, func(t *testing.T) {
			s.far.Slow(slowly)
			c := s.begin(args...)
			s.writing()
			s.to.Kill()
			// It is given two minutes to come back, which nobody waits for every day.
			if everything() {
				c.ends(failed)
			} else {
				if err := c.Process.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
				c.ends(failed, interrupted)
			}
			c.says("--replace")
			s.to.Restart()
			s.goOn(args)
		})
		for _, flags := range [][]string{nil, {"--no-verify"}} {
			t.Run(fmt.Sprintf("%s into one that comes back empty %q", name, flags), func(t *testing.T) {
				s.far.Slow(slowly)
				c := s.begin(append(args, flags...)...)
				s.writing()
				s.to.Kill()
				s.to.Restart()
				s.calm()
				if c.ends(done, failed, differ).ProcessState.ExitCode() == done {
					want(t, s.content, 0, s.to)
				}
				s.goOn(args)
			})
		}
	}
}

// TestConnectionsCut: after so many bytes, in either direction, at either end.
func TestConnectionsCut(t *testing.T) {
	t.Parallel()
	s := newScene(t, "valkey-8.1")
	for name, args := range s.movements() {
		for _, cut := range []struct {
			end   string
			dir   testkit.Direction
			bytes int64
		}{
			{"source", testkit.ToClient, 20_000},
			{"source", testkit.ToClient, 150_000},
			{"source", testkit.ToTarget, 60_000},
			{"target", testkit.ToTarget, 700},
			{"target", testkit.ToTarget, 50_000},
			{"target", testkit.ToTarget, 200_000},
			{"target", testkit.ToClient, 9000},
		} {
			if cut.end == "source" && name == "restore" {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s, %d bytes, direction %d", name, cut.end, cut.bytes, cut.dir), func(t *testing.T) {
				emptied(s.to)
				proxy := s.far
				if cut.end == "source" {
					proxy = s.near
				}
				proxy.CutAfter(cut.dir, cut.bytes)
				c := s.begin(args...).ends(done, failed)
				s.told(c)
				s.unharmed()
				if c.ProcessState.ExitCode() != done {
					s.goOn(args)
				}
			})
		}
	}
}

// TestStalled: connections that stand still are waited for, and do not keep anyone
// from interrupting; afterwards it is said what the target holds.
func TestStalled(t *testing.T) {
	t.Parallel()
	s := newScene(t, "valkey-9.1")
	for name, args := range s.movements() {
		t.Run(name, func(t *testing.T) {
			emptied(s.to)
			s.far.Slow(slowly)
			c := s.begin(args...)
			s.writing()
			s.far.Stall()
			s.calm()
			c.ends(done).says("identical")
			want(t, s.content, 0, s.to)

			emptied(s.to)
			s.far.Slow(slowly)
			c = s.begin(args...)
			s.writing()
			s.far.Stall()
			s.near.Stall()
			if err := c.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			c.ends(interrupted).says("--replace")
			s.goOn(args)
		})
	}
}
