package source_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// noBig is beyond any value, so that a Live dumps them all.
const noBig = 1 << 40

// fillSpilled gives a server values of all types above and below spillLimit.
func fillSpilled(t testing.TB, s *testkit.Server) {
	t.Helper()
	load(t, s, flowtest.Sample())
	lua := func(code string) { s.Must("EVAL", code, "0") }
	s.Must("CONFIG", "SET", "rdbcompression", "no")
	lua(`for i=1,3000 do redis.call('HSET', 'large:hash', 'field' .. i, string.rep('v', i % 50) .. i) end`)
	lua(`for i=1,3000 do redis.call('ZADD', 'large:zset', i / 7, 'member' .. i) end`)
	lua(`for i=1,3000 do redis.call('SADD', 'large:set', 'member' .. i) end`)
	lua(`for i=1,3000 do redis.call('RPUSH', 'large:list', string.rep('x', i % 70) .. i) end redis.call('LSET', 'large:list', 5, string.rep('y', 50000))`)
	lua(`for i=1,3000 do redis.call('XADD', 'large:stream', '1-' .. i, 'f', i) end redis.call('XGROUP', 'CREATE', 'large:stream', 'g', '0')`)
	lua(`for i=1,300 do redis.call('SET', 'string:' .. i, string.rep('abc', i * 40)) end`)
	lua(`for i=1,300 do redis.call('SET', 'small:' .. i, i) end`)
	s.Must("PEXPIREAT", "large:hash", "4000000000123")
	s.Must("PEXPIREAT", "string:300", "4000000000321")
}

const spillLimit = 8 << 10

// spilledContent reads a source, and counts the values that were not in memory.
func spilledContent(t testing.TB, src flow.Source) (c flowtest.Content, bodies int) {
	t.Helper()
	defer src.Close()
	c = flowtest.Content{}
	for e, err := range src.Entries(t.Context()) {
		if err != nil {
			t.Fatalf("after %d keys: %v", len(c), err)
		}
		if e.Body != nil {
			bodies++
		}
		if fresh, err := c.Put(e); err != nil || !fresh {
			t.Fatalf("key %q: came first %t, %v", e.Key, fresh, err)
		}
	}
	return c, bodies
}

// Values that are not held in memory are the same as those that are, on every road.
func TestSpilledIsTheSame(t *testing.T) {
	for _, line := range []string{"redis-6.0", "redis-7.0", "valkey-9.1"} {
		t.Run(line, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, line))
			fillSpilled(t, s)
			want, held := spilledContent(t, source.NewScan(at(s), source.ScanOptions{}))
			if held > 0 {
				t.Fatalf("%d values were spilled without need", held)
			}
			source.SpillAbove(t, spillLimit)
			var keys []flow.Key
			for name := range want {
				var k flow.Key
				if _, err := fmt.Sscanf(name, "%d/%q", &k.DB, &k.Name); err != nil {
					t.Fatal(err)
				}
				keys = append(keys, k)
			}
			live := func(rules source.LiveRules) *source.Live {
				l := source.NewLive(at(s), source.LiveOptions{Dir: t.TempDir()})
				l.Break(rules)
				return l
			}
			pieces := live(source.LiveRules{Big: 4000})
			for name, src := range map[string]flow.Source{
				"scan": source.NewScan(at(s), source.ScanOptions{}), "keys": source.NewKeys(at(s), keys),
				"replica": source.NewPSync(at(s)), "live": live(source.LiveRules{Big: noBig}), "pieces": pieces,
				"merge": source.NewMerge(map[string]flow.Source{"one": source.NewScan(at(s), source.ScanOptions{})}),
			} {
				got, bodies := spilledContent(t, src)
				t.Logf("%s: %d of %d values were not in memory", name, bodies, len(got))
				if bodies < 5 {
					t.Errorf("%s: only %d values were not in memory", name, bodies)
				}
				flowtest.Same(t, got, want)
			}
			if r := pieces.Report(); r.Pieces < 100 || r.Large > 0 {
				t.Errorf("%d values were put together, %d had to be read in the cut", r.Pieces, r.Large)
			}
			look := source.NewScan(at(s), source.ScanOptions{})
			defer look.Close()
			got := flowtest.Content{}
			for _, k := range keys {
				e, err := look.Lookup(t.Context(), k.DB, []byte(k.Name))
				if err != nil || e == nil {
					t.Fatalf("%q: %v, %v", k.Name, e, err)
				}
				if _, err := got.Put(e); err != nil {
					t.Fatal(err)
				}
			}
			flowtest.Same(t, got, want)
		})
	}
}

// A target that follows gets large values as they change, on both roads, by DUMP and
// put together from pieces.
func TestSpilledFollow(t *testing.T) {
	source.SpillAbove(t, spillLimit)
	for name, tc := range map[string]struct {
		road string
		big  int64
	}{"replica": {source.RoadReplica, noBig}, "commands": {source.RoadCommands, noBig}, "pieces": {source.RoadCommands, 4000}} {
		t.Run(name, func(t *testing.T) {
			b := testkit.Engine(t, "valkey-8.1")
			src, dst := testkit.StartServer(t, b), testkit.StartServer(t, b)
			fillSpilled(t, src)
			r := follow(t, src, dst, source.FollowOptions{Road: tc.road}, source.LiveRules{Big: tc.big})
			r.following()
			for _, key := range []string{"large:hash", "large:zset", "large:set", "large:list", "large:stream", "string:300"} {
				src.Must("RENAME", key, "new:"+key)
			}
			src.Must("EVAL", `redis.call('APPEND', 'string:299', string.rep('z', 50000)) redis.call('DEL', 'string:298')`, "0")
			r.drained()
			r.same()
			if err := r.end(); err != nil && !strings.Contains(err.Error(), "canceled") {
				t.Error(err)
			}
		})
	}
}

// Writers at work do not make a difference: the cut reads what is large too.
func TestSpilledCut(t *testing.T) {
	source.SpillAbove(t, spillLimit)
	for _, cut := range []source.Cut{source.CutPause, source.CutExec} {
		t.Run(string(cut), func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
			fillSpilled(t, s)
			src := source.NewLive(at(s), source.LiveOptions{PointInTime: true, Dir: t.TempDir()})
			written := false
			src.Break(source.LiveRules{Big: noBig, Cut: cut, Phase: func(phase string) {
				if phase == "cut" && !written { // after the last round: the cut alone can read it
					written = true
					s.Must("EVAL", `redis.call('APPEND', 'string:300', string.rep('z', 50000)) redis.call('RPUSH', 'large:list', 'last') redis.call('XADD', 'large:stream', '2-1', 'f', 'v')`, "0")
				}
			}})
			got, bodies := spilledContent(t, src)
			if bodies < 5 || src.Report().Cut != cut {
				t.Errorf("%d values were not in memory; %+v", bodies, src.Report())
			}
			want, _ := spilledContent(t, source.NewScan(at(s), source.ScanOptions{}))
			flowtest.Same(t, got, want)
		})
	}
}

// A value takes no memory to speak of, whatever its size.
func TestSpilledMemory(t *testing.T) {
	const size = 96 << 20
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	s.Must("CONFIG", "SET", "rdbcompression", "no")
	s.Must("SETRANGE", "big", fmt.Sprint(size-1), "x")
	dumped := source.NewLive(at(s), source.LiveOptions{Dir: t.TempDir()})
	dumped.Break(source.LiveRules{Big: noBig})
	for name, src := range map[string]flow.Source{
		"scan": source.NewScan(at(s), source.ScanOptions{}), "keys": source.NewKeys(at(s), []flow.Key{{Name: "big"}}), "replica": source.NewPSync(at(s)),
		"pieces": source.NewLive(at(s), source.LiveOptions{Dir: t.TempDir()}), "live": dumped,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var n int64
		for e, err := range src.Entries(t.Context()) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if e.Body == nil {
				t.Fatalf("%s: a value of %d bytes was held", name, len(e.Value))
			}
			if n, err = io.Copy(io.Discard, e.Body); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		runtime.ReadMemStats(&after)
		if err := src.Close(); err != nil {
			t.Error(err)
		}
		used := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d bytes were allocated", name, used)
		if n < size || used > size/4 {
			t.Errorf("%s: %d bytes were read, %d allocated", name, n, used)
		}
	}
}
