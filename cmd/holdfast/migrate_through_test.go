package main

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// slowly is how many keys are read a second where the test has to come before the last of 6000.
const slowly = "1000"

// underWay starts a migration slow enough to be met while keys arrive.
func underWay(t *testing.T, from, to *testkit.Server, args ...string) *command {
	t.Helper()
	c := newCommand(t, append([]string{"migrate", url(from), url(to), "--max-keys-per-second", slowly, "-o", "json"}, args...)...)
	c.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	had, _ := to.Must("DBSIZE").(int64)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Wait(t, time.Minute, func() bool {
		n, ok := to.Do("DBSIZE").(int64)
		return ok && n > had+200
	}, "keys to arrive")
	return c
}

func fillKeys(s *testkit.Server, n int) {
	s.Must("EVAL", "for i = 1, ARGV[1] do redis.call('SET', 'k:' .. i, 'value ' .. i) end", 0, n)
}

// What changes while keys are handed on, and what makes reading begin anew, leaves
// the target as the source is, with nothing stale.
func TestMigrateThrough(t *testing.T) {
	for name, tc := range map[string]struct {
		act     func(s *testkit.Server)
		restart bool
	}{
		"writes and deletes": {func(s *testkit.Server) {
			s.Must("EVAL", "for i = 1, 6000, 7 do redis.call('DEL', 'k:' .. i) redis.call('RPUSH', 'k:' .. i + 1, 'x') end", 0)
		}, false},
		"FLUSHALL": {func(s *testkit.Server) { s.Must("FLUSHALL"); fillKeys(s, 100); s.Must("SET", "born", "1") }, true},
		"SWAPDB":   {func(s *testkit.Server) { s.Must("SWAPDB", 0, 1) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits, mostly
			from, to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1")), testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
			fillKeys(from, 6000)
			if name == "writes and deletes" { // of types that SET leaves to be
				from.Must("EVAL", "for i = 2, 6001, 7 do redis.call('DEL', 'k:' .. i) redis.call('RPUSH', 'k:' .. i, 'a') end", 0)
			}
			from.Must("SELECT", 1)
			from.Must("SADD", "set", "a", "b")
			from.Must("PEXPIREAT", "set", 4_000_000_000_000)
			from.Must("SELECT", 0)
			c := underWay(t, from, to)
			tc.act(from)
			c.ends(t, 0)
			var r moveReport
			if err := json.Unmarshal([]byte(c.out.String()), &r); err != nil {
				t.Fatal(err)
			}
			wantSameContent(t, from, to)
			if r.Read.Consistency != "point-in-time" || !r.Verified.Equal || len(r.Read.Restarts) > 0 != tc.restart {
				t.Errorf("%s", c.out.String())
			}
			n, _ := from.Must("DBSIZE").(int64)
			from.Must("SELECT", 1)
			if more, _ := from.Must("DBSIZE").(int64); r.Keys != n+more {
				t.Errorf("%d keys are told of %d", r.Keys, n+more)
			}
		})
	}
}

// A key that the target had before is not lost because the source had one of its name for
// a while: into a server that is not empty nothing goes before the instant is fixed.
func TestMigrateLeavesWhatWasThere(t *testing.T) {
	from, to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1")), testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fillKeys(from, 6000)
	to.Must("EVAL", "for i = 1, 6000 do redis.call('SET', 'k:' .. i, 'own') end", 0)
	c := newCommand(t, "migrate", url(from), url(to), "--replace", "--max-keys-per-second", slowly)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Wait(t, time.Minute, func() bool {
		stats := from.Info("commandstats")
		return stats["cmdstat_dump"] != "" || stats["cmdstat_getrange"] != ""
	}, "it to read")
	if n := to.Must("EVAL", "local n = 0 for i = 1, 6000 do if redis.call('GET', 'k:' .. i) ~= 'own' then n = n + 1 end end return n", 0); n != int64(0) {
		t.Errorf("%v keys were replaced before the instant", n)
	}
	from.Must("EVAL", "for i = 1, 6000, 2 do redis.call('DEL', 'k:' .. i) end", 0)
	c.ends(t, 0)
	if n := to.Must("EVAL", "local n = 0 for i = 1, 6000, 2 do if redis.call('GET', 'k:' .. i) == 'own' then n = n + 1 end end return n", 0); n != int64(3000) {
		t.Errorf("%v of 3000 keys are left that the source had not any more", n)
	}
}

// Broken off, it says that the target holds a part and what to do, which completes it.
func TestMigrateThroughBrokenOff(t *testing.T) {
	for name, tc := range map[string]struct {
		stop func(t *testing.T, from, to *testkit.Server, c *command)
		code int
	}{
		"source dies":    {func(_ *testing.T, from, _ *testkit.Server, _ *command) { from.Kill() }, exitFailed},
		"target is full": {func(_ *testing.T, _, to *testkit.Server, _ *command) { to.Must("CONFIG", "SET", "maxmemory", 1) }, exitFailed},
		"interrupted":    {func(t *testing.T, from, _ *testkit.Server, c *command) { interrupt(t, from, c) }, exitInterrupted},
		"killed": {func(t *testing.T, _, _ *testkit.Server, c *command) {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1")), testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
			fillKeys(from, 20_000)
			from.Must("SAVE")
			c := underWay(t, from, to)
			tc.stop(t, from, to, c)
			said := c.ends(t, tc.code)
			if tc.code != -1 && (!strings.Contains(said, "holds a part now, of no one instant") || !strings.Contains(said, "Empty it")) {
				t.Errorf("it does not say how to go on: %s", said)
			}
			for _, s := range []*testkit.Server{from, to} {
				if _, err := s.Try("PING"); err != nil {
					s.Restart()
				}
			}
			to.Must("CONFIG", "SET", "maxmemory", 0)
			to.Must("FLUSHALL")
			runs(t, 0, "migrate", url(from), url(to))
			wantSameContent(t, from, to)
		})
	}
}

// A target that comes back without its keys is told to differ, unless all that it had
// could be sent again.
func TestMigrateThroughTargetRestarted(t *testing.T) {
	from, to := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1")), testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fillKeys(from, 6000)
	c := underWay(t, from, to)
	to.Kill()
	to.Restart()
	err := c.Wait()
	switch c.ProcessState.ExitCode() {
	case 0:
		wantSameContent(t, from, to)
	case exitDiffers:
	default:
		t.Errorf("%v\n%s", err, c.err.String())
	}
}

// Writers that never rest: the target holds what exactly the first so many of their
// transactions made, of which each leaves its number in both of two keys.
func TestMigrateThroughUnderWriters(t *testing.T) {
	from, to := testkit.StartServer(t, testkit.Engine(t, "redis-7.0")), testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fillKeys(from, 6000)
	const script = `local n = redis.call('INCR', 'n')
local a, b = n % 500, (n * 7) % 500
redis.call('SET', 'first:' .. a, n) redis.call('HSET', 'second:' .. a, 'n', n)
redis.call('DEL', 'first:' .. b) redis.call('DEL', 'second:' .. b) return n`
	stop := make(chan struct{})
	var writers sync.WaitGroup
	writers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				from.Must("EVAL", script, 0)
			}
		}
	})
	c := newCommand(t, "migrate", url(from), url(to), "--max-keys-per-second", "10000", "--no-verify")
	err := c.Start()
	if err == nil {
		c.ends(t, 0)
	}
	close(stop)
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	n, _ := to.Must("GET", "n").(string)
	again := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fillKeys(again, 6000)
	again.Must("EVAL", "for i = 1, ARGV[1] do "+strings.ReplaceAll(script, "return n", "")+" end", 0, n)
	t.Logf("%s transactions are in the target", n)
	wantSameContent(t, again, to)
}
