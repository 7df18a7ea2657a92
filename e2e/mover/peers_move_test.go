package mover

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// everyRoad moves a server's data to another by each road, and judges it.
func everyRoad(t *testing.T, b, target catalog.Build, fill func(*testing.T, *testkit.Server)) {
	t.Helper()
	from := newOrigin(t, b, fill)
	to := testkit.StartServer(t, target)
	for _, r := range roads {
		t.Run(r.name, func(t *testing.T) {
			emptied(to)
			r.move(t, from, to, r.by, done)
			want(t, from.content, tolerance(from.Server, r), to)
		})
	}
}

// TestNoTailIsLost: the last keys arrive like the first, whatever their number is a
// multiple of. (A peer lost up to a thousand at the end, and exited with 0.)
func TestNoTailIsLost(t *testing.T) {
	t.Parallel()
	b := testkit.Engine(t, "redis-7.0")
	from, to := testkit.StartServer(t, b), testkit.StartServer(t, b)
	for _, n := range []int{1, 1024, 1025, 20_011} {
		emptied(from)
		from.Must("DEBUG", "POPULATE", n, "k", 30)
		content := testkit.ReadContent(t, from)
		if len(content.Keys) != n {
			t.Fatalf("%d keys instead of %d", len(content.Keys), n)
		}
		o := &origin{Server: from, content: content, dir: t.TempDir(), backups: map[string]string{}}
		for _, r := range roads {
			emptied(to)
			r.move(t, o, to, r.by, done)
			want(t, content, 0, to)
		}
	}
}

// TestASecondRunMergesNothing: values are replaced, never added to. (A peer made
// "a b c a b c" of a list, and kept fields that were gone.)
func TestASecondRunMergesNothing(t *testing.T) {
	t.Parallel()
	b := testkit.Engine(t, "valkey-8.1")
	from := newOrigin(t, b, func(_ *testing.T, s *testkit.Server) {
		s.Must("RPUSH", "list", "a", "b", "c")
		s.Must("SADD", "set", "a")
		s.Must("HSET", "hash", "f", "v")
		s.Must("ZADD", "zset", 1, "a")
		s.Must("XADD", "stream", "1-1", "f", "v")
		s.Must("SET", "string", "v")
		s.Must("SET", "expires", "v", "PX", 90_000_000)
	})
	to := testkit.StartServer(t, b)
	for _, r := range roads {
		t.Run(r.name, func(t *testing.T) {
			emptied(to)
			r.move(t, from, to, r.by, done)
			r.move(t, from, to, r.by, failed).says("--replace")
			r.move(t, from, to, r.by, done, "--replace")
			want(t, from.content, 0, to)
			to.Must("RPUSH", "list", "d")
			to.Must("SADD", "set", "b")
			to.Must("HSET", "hash", "stale", "v")
			to.Must("ZADD", "zset", 2, "b")
			to.Must("XADD", "stream", "2-1", "f", "v")
			to.Must("APPEND", "string", "w")
			to.Must("PEXPIRE", "string", 90_000_000)
			to.Must("PERSIST", "expires")
			r.move(t, from, to, r.by, done, "--replace")
			want(t, from.content, 0, to)
		})
	}
}

// TestStreamsKeepTheirMetadata: entries ever added, the greatest deleted identifier,
// what a group has read, what is pending of entries that are gone, consumers that
// wait. (A peer copies streams entry by entry and loses all of these.)
func TestStreamsKeepTheirMetadata(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{{"redis-7.0", "redis-7.0"}, {"redis-7.0", "valkey-9.1"}, {"valkey-9.1", "redis-8.0"}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			everyRoad(t, testkit.Engine(t, pair[0]), testkit.Engine(t, pair[1]), func(t *testing.T, s *testkit.Server) {
				for i := 1; i <= 5; i++ {
					s.Must("XADD", "x", fmt.Sprintf("1-%d", i), "f", i)
				}
				s.Must("XGROUP", "CREATE", "x", "g", "0")
				s.Must("XREADGROUP", "GROUP", "g", "c", "COUNT", 4, "STREAMS", "x", ">")
				s.Must("XDEL", "x", "1-4") // pending
				s.Must("XGROUP", "CREATECONSUMER", "x", "g", "idle")
				s.Must("XGROUP", "CREATE", "x", "nobody", "$")
				facets := testkit.ReadContent(t, s).Keys[testkit.Key{Name: "x"}].Facets
				for name, value := range map[string]string{
					"entries-added": "5", "max-deleted-entry-id": `"1-4"`, `group "g" entries-read`: "4", "groups": "2", `group "g" consumers`: "2",
				} {
					if facets[name] != value {
						t.Errorf("%s is %s, not %s", name, facets[name], value)
					}
				}
				if pending := facets[`group "g" pending`]; !strings.Contains(pending, "1-4") {
					t.Errorf("pending are %s", pending)
				}
			})
		})
	}
}

// TestOneStreamAmongStrings. (A peer drops it and what is left of its batch of 100.)
func TestOneStreamAmongStrings(t *testing.T) {
	t.Parallel()
	everyRoad(t, testkit.Engine(t, "redis-6.0"), testkit.Engine(t, "valkey-9.1"), func(_ *testing.T, s *testkit.Server) {
		s.Must("DEBUG", "POPULATE", 1000, "k", 20)
		s.Must("XADD", "stream", "1-1", "f", "v")
	})
}

// TestKeysThatExpireOnTheWay are neither an end of the movement nor do they take
// others with them, and none arrives to stay. (A peer stops at the first that
// expires between being listed and being read.)
func TestKeysThatExpireOnTheWay(t *testing.T) {
	t.Parallel()
	for line, by := range map[string]string{"redis-6.0": "commands", "redis-7.0": "replica", "valkey-8.1": "commands"} {
		t.Run(line+" by "+by, func(t *testing.T) {
			b := testkit.Engine(t, line)
			from, to := testkit.StartServer(t, b), testkit.StartServer(t, b)
			from.Must("DEBUG", "POPULATE", 500, "stays", 100)
			const expiring = "for i = 1, ARGV[2] do redis.call('SET', ARGV[1] .. i, i, 'PX', ARGV[3] + i * 2) end"
			from.Must("EVAL", expiring, 0, "lasts:", 500, 90_000_000)
			lasting := testkit.ReadContent(t, from)
			from.Must("EVAL", expiring, 0, "fleeting:", 1500, 0)
			slow := testkit.Proxy(t, from.Addr())
			slow.Slow(1 << 20)
			runs(t, done, "migrate", "redis://"+slow.Addr(), url(to), "--from", by)
			all := int64(len(lasting.Keys))
			testkit.Wait(t, patience, func() bool { return to.Do("DBSIZE") == all }, "fleeting keys to expire at the target too")
			want(t, lasting, time.Millisecond, to)
		})
	}
}

// TestTheTargetHoldsNothingOfOurs: no checkpoints, markers or locks among the keys,
// neither at the source nor at the target. (A peer leaves two keys.)
func TestTheTargetHoldsNothingOfOurs(t *testing.T) {
	t.Parallel()
	b := testkit.Engine(t, "valkey-9.1")
	from, to := testkit.StartServer(t, b), testkit.StartServer(t, b)
	from.Must("SET", "only", "v")
	before := testkit.ReadContent(t, from)
	file := filepath.Join(t.TempDir(), "x.rdb")
	runs(t, done, "backup", url(from), file, "--from", "commands")
	for _, by := range []string{"commands", "replica"} {
		emptied(to)
		runs(t, done, "migrate", url(from), url(to), "--from", by)
		want(t, before, 0, to)
		want(t, before, 0, from)
	}
	runs(t, done, "restore", file, url(to), "--replace")
	want(t, before, 0, to)
	for _, s := range []*testkit.Server{from, to} {
		if got := fmt.Sprint(s.Must("PUBSUB", "CHANNELS"), s.Must("CONFIG", "GET", "notify-keyspace-events")); got != "[] [notify-keyspace-events ]" {
			t.Errorf("left at %s: %s", s.Addr(), got)
		}
	}
}
