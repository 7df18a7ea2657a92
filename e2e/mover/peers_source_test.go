package mover

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
)

// midway runs a command that reads a server, and interferes when it has begun to
// read values and has not ended. It returns the command, to be waited for.
func midway(t *testing.T, from *testkit.Server, interfere func(), args func(through string) []string) *command {
	t.Helper()
	slow := testkit.Proxy(t, from.Addr())
	slow.Slow(60 << 10) // it takes seconds at this rate
	c := holdfast(t, args("redis://"+slow.Addr())...).start()
	testkit.Wait(t, patience, func() bool {
		return strings.Contains(fmt.Sprint(from.Must("INFO", "commandstats")), "cmdstat_dump")
	}, "values to be read")
	interfere()
	slow.Slow(0)
	return c
}

// TestWhatChangesDuringTheReadingIsRight: databases of two digits, a database born
// meanwhile, RENAME, MOVE, FLUSHDB, an expiry that is renewed. What is read is the
// source as it is when writing ends. (A peer misses each of these.)
func TestWhatChangesDuringTheReadingIsRight(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"redis-6.0", "redis-8.0", "valkey-9.1"} {
		t.Run(line, func(t *testing.T) {
			b := testkit.Engine(t, line)
			var opts []testkit.Option
			if !b.PauseWrites { // changes are then seen by notifications
				opts = append(opts, testkit.Config("notify-keyspace-events KEA"))
			}
			from, to := testkit.StartServer(t, b, opts...), testkit.StartServer(t, b)
			for _, db := range []int{3, 10, 12, 0} {
				from.Must("SELECT", db)
				from.Must("EVAL", "for i = 1, 700 do redis.call('SET', 'k' .. i, string.rep(i, 50)) end", 0)
				from.Must("SET", "expires", "v", "PX", 600_000)
			}
			file := filepath.Join(t.TempDir(), "x.rdb")
			c := midway(t, from, func() {
				for _, db := range []int{12, 10, 0} {
					from.Must("SELECT", db)
					from.Must("SET", "k1", "new")
					from.Must("DEL", "k2")
					from.Must("RENAME", "k3", "renamed")
					from.Must("MOVE", "k4", 15) // born meanwhile
					from.Must("PEXPIRE", "expires", 90_000_000)
					from.Must("PERSIST", "expires")
					from.Must("PEXPIRE", "k5", 90_000_000)
					from.Must("DEL", "k4")
					from.Must("RPUSH", "list", "a")
				}
				from.Must("SELECT", 3)
				from.Must("FLUSHDB")
				from.Must("SELECT", 0)
			}, func(through string) []string { return []string{"backup", through, file, "--from", "commands"} })
			c.ends(done).says("point-in-time")
			runs(t, done, "restore", file, url(to))
			want(t, testkit.ReadContent(t, from), tolerance(from, road{by: "commands"}), to)
		})
	}
}

// withheld is what managed services do not let their users call.
var withheld = []string{
	"PSYNC", "SYNC", "CONFIG", "BGSAVE", "SAVE", "BGREWRITEAOF", "DEBUG", "REPLICAOF", "SLAVEOF", "SHUTDOWN", "MIGRATE", "MONITOR",
}

// TestManagedServers: a service that has taken the administrator's commands away can
// be backed up, restored into, migrated and compared all the same. (Peers ask for PSYNC.)
func TestManagedServers(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"redis-6.0", "redis-7.0", "valkey-8.1"} {
		t.Run(line, func(t *testing.T) {
			b := testkit.Engine(t, line)
			managed := []string{"notify-keyspace-events KEA"}
			for _, name := range withheld {
				managed = append(managed, "rename-command "+name+` ""`)
			}
			from, to := testkit.StartServer(t, b, testkit.Config(managed...)), testkit.StartServer(t, b, testkit.Config(managed...))
			f := filler{s: from}
			for _, c := range []string{"SET s v", "RPUSH l a b", "HSET h f v", "XADD x 1-1 f v", "XGROUP CREATE x g 0", "SET e v PX 90000000"} {
				f.words(c)
			}
			from.Must("SELECT", 11)
			from.Must("SET", "elsewhere", "v")
			from.Must("SELECT", 0)
			content, near := testkit.ReadContent(t, from), tolerance(from, road{by: "commands"})
			file := filepath.Join(t.TempDir(), "x.rdb")
			runs(t, done, "backup", url(from), file).says("point-in-time", "by commands")
			runs(t, done, "restore", file, url(to))
			want(t, content, near, to)
			emptied(to)
			runs(t, done, "migrate", url(from), url(to)).says("point-in-time")
			want(t, content, near, to)
			runs(t, done, "verify", url(from), url(to)).says("identical")
			runs(t, failed, "backup", url(from), file+"2", "--from", "replica").says("PSYNC")
			if _, err := os.Stat(file + "2"); err == nil {
				t.Error("a backup that failed is there")
			}
		})
	}
}
