package metrics

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// said is a reading so many minutes after the start.
func said(minute int, info string) *Reading {
	return &Reading{At: start.Add(time.Duration(minute) * time.Minute), Fields: ParseInfo(info)}
}

const before = `# Server
run_id:aaa
used_memory:1000
maxmemory:4000
mem_not_counted_for_evict:200
connected_clients:7
total_connections_received:100
keyspace_hits:50
keyspace_misses:50
evicted_keys:3
expired_keys:10
role:master
master_repl_offset:1000
slave0:ip=127.0.0.9,port=6379,state=online,offset=990,lag=1
used_cpu_sys_main_thread:1.5
used_cpu_user_main_thread:2.5
db0:keys=10,expires=4,avg_ttl=777
db3:keys=5,expires=1,avg_ttl=0
cmdstat_get:calls=10,usec=100,usec_per_call=10
cmdstat_config|get:calls=1,usec=5
`

// after is the same process a minute later.
var after = strings.NewReplacer("keyspace_hits:50", "keyspace_hits:80", "keyspace_misses:50", "keyspace_misses:60",
	"total_connections_received:100", "total_connections_received:104", "expired_keys:10", "expired_keys:12", "offset:1000", "offset:1500",
	"sys_main_thread:1.5", "sys_main_thread:4.5", "user_main_thread:2.5", "user_main_thread:5.5",
	"get:calls=10,usec=100", "get:calls=30,usec=200", "|get:calls=1,usec=5", "|get:calls=3,usec=9").Replace(before) +
	"cmdstat_hset:calls=4,usec=8\n"

const longest = 150 * time.Second

func TestFiguresOfRedis(t *testing.T) {
	got := Redis(said(1, after), said(0, before), longest)
	want := Values{
		"BytesUsedForCache": 1000, "CurrConnections": 7, "CurrItems": 15, "CurrVolatileItems": 5, "DB0AverageTTL": 777,
		"DatabaseMemoryUsagePercentage": 25, "DatabaseCapacityUsagePercentage": 25,
		"DatabaseMemoryUsageCountedForEvictPercentage": 20, "DatabaseCapacityUsageCountedForEvictPercentage": 20,
		"CacheHits": 30, "CacheMisses": 10, "CacheHitRate": 75, "NewConnections": 4, "Evictions": 0, "Reclaimed": 2,
		"IsMaster": 1, "ReplicationBytes": 500, "EngineCPUUtilization": 10,
		"StringBasedCmds": 20, "StringBasedCmdsLatency": 5, "GetTypeCmds": 20, "GetTypeCmdsLatency": 5,
		"HashBasedCmds": 4, "HashBasedCmdsLatency": 2, "SetTypeCmds": 4, "SetTypeCmdsLatency": 2,
		"NonKeyTypeCmds": 2, "NonKeyTypeCmdsLatency": 2,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWhatIsNotKnownIsLeftOut(t *testing.T) {
	counts := []string{"CacheHits", "NewConnections", "Evictions", "ReplicationBytes", "EngineCPUUtilization", "GetTypeCmds"}
	for name, b := range map[string]*Reading{"the first reading": nil, "one after a gap": said(-3, before), "the clock was set back": said(2, before)} {
		got := Redis(said(1, after), b, longest)
		for _, n := range counts {
			if v, ok := got[n]; ok {
				t.Errorf("%s: %s is %v", name, n, v)
			}
		}
		if got["CurrItems"] != 15 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := Redis(said(1, "used_memory:5\n"), nil, longest); len(got) != 1 {
		t.Errorf("of one field come %v", got)
	}
}

func TestCountersThatBeginAnew(t *testing.T) {
	other := strings.ReplaceAll(after, "run_id:aaa", "run_id:bbb")
	got := Redis(said(1, other), said(0, before), longest)
	if got["CacheHits"] != 80 || got["NewConnections"] != 104 || got["GetTypeCmds"] != 30 {
		t.Errorf("another process: %v", got)
	}
	if got["ReplicationBytes"] != 500 {
		t.Errorf("the stream goes on in another process, and has %v bytes", got["ReplicationBytes"])
	}
	back := strings.ReplaceAll(after, "keyspace_hits:80", "keyspace_hits:4")
	if got := Redis(said(1, back), said(0, before), longest); got["CacheHits"] != 4 {
		t.Errorf("a counter that was set back: %v", got["CacheHits"])
	}
}

func TestAReplicaSendsNothing(t *testing.T) {
	replica := strings.ReplaceAll(after, "role:master", "role:slave\nmaster_link_status:up")
	got := Redis(said(1, replica), said(0, replica), longest)
	if _, ok := said(1, replica).Replicated(said(0, replica)); ok {
		t.Error("a replica has sent something")
	}
	if got["IsMaster"] != 0 || got["ReplicationBytes"] != 0 || got["MasterLinkHealthStatus"] != 1 {
		t.Error(got)
	}
	if _, ok := got["DB0AverageTTL"]; ok {
		t.Error("the average TTL is the primary's")
	}
}

func TestFiguresOfMemcached(t *testing.T) {
	stats := func(pid, gets, conns string) map[string]string {
		return map[string]string{"pid": pid, "bytes": "100", "limit_maxbytes": "1000", "cmd_get": gets, "total_connections": conns, "curr_items": "3", "get_hits": gets}
	}
	a, b := &Reading{At: start, Fields: stats("1", "10", "5")}, &Reading{At: start.Add(time.Minute), Fields: stats("1", "25", "6")}
	want := Values{"BytesUsedForCacheItems": 100, "UnusedMemory": 900, "CmdGets": 15, "GetHits": 15, "NewConnections": 1, "CurrItems": 3}
	if d := cmp.Diff(want, Memcached(b, a, longest)); d != "" {
		t.Error(d)
	}
	b.Fields = stats("2", "25", "6")
	if got := Memcached(b, a, longest); got["CmdGets"] != 25 || got["NewConnections"] != 6 {
		t.Errorf("another process: %v", got)
	}
}

// TestEverySampleCanBePacked: a figure whose name is not listed would be lost.
func TestEverySampleCanBePacked(t *testing.T) {
	all := Values{}
	for i, n := range names {
		all[n] = []float64{0, 1, 1 << 40, 0.25, -3, 99.999}[i%6]
	}
	got, ok := unpack(pack(all), names)
	if d := cmp.Diff(all, got); d != "" || !ok {
		t.Error(ok, d)
	}
	info := &strings.Builder{}
	for _, f := range append(slices.Clone(redisGauges), redisCounters...) {
		fmt.Fprintf(info, "%s:1\n", f.field)
	}
	for command := range kinds {
		fmt.Fprintf(info, "cmdstat_%s:calls=9,usec=1\n", command)
	}
	r := said(1, after+info.String())
	r.Host = Host{CPUBusy: 1, CPUTotal: 2, FreeMemory: 3, Swap: 4}
	b := said(0, before)
	b.Host = Host{CPUTotal: 1}
	both := Redis(r, b, longest)
	stats := map[string]string{"bytes": "1", "limit_maxbytes": "2"}
	for _, f := range append(slices.Clone(memcachedGauges), memcachedCounters...) {
		stats[f.field] = "1"
	}
	maps.Copy(both, Memcached(&Reading{At: start.Add(time.Minute), Fields: stats}, &Reading{At: start, Fields: stats}, longest))
	for name := range both {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not listed", name)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack(Values{"CurrItems": 7, "CacheHitRate": 0.5}))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, ok := unpack(b, names)
		if !ok {
			return
		}
		again, ok := unpack(pack(v), names)
		for n := range again {
			if x, y := v[n], again[n]; x != y {
				t.Errorf("%s was %v and is %v", n, x, y)
			}
		}
		if !ok {
			t.Error("what was packed cannot be unpacked")
		}
	})
}

var (
	one = Node{Region: "us-east-1", ClusterID: "orders-001", NodeID: "0001", GroupID: "orders", Engine: "redis"}
	two = Node{Region: "us-east-1", ClusterID: "web", NodeID: "0002", Engine: "memcached"}
)

func items(t *testing.T, h *History, n Node) (out []float64) {
	t.Helper()
	all, err := h.Range(n.Region, n.ClusterID, n.NodeID, start.Add(-48*time.Hour), start.Add(48*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		out = append(out, s.Values["CurrItems"])
	}
	return out
}

func add(t *testing.T, h *History, minute int, v Values) {
	t.Helper()
	if err := h.Add(start.Add(time.Duration(minute)*time.Minute), map[Node]Values{one: v, two: {"CurrItems": 1}}); err != nil {
		t.Fatal(err)
	}
}

func TestADayIsKept(t *testing.T) {
	h, err := OpenHistory(t.TempDir(), start)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	const hours = 30
	for m := range hours * 60 {
		add(t, h, m, Values{"CurrItems": float64(m)})
	}
	got := items(t, h, one)
	// Files go as a whole.
	if len(got) < 24*60 || len(got) > 26*60 || got[len(got)-1] != hours*60-1 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("%d samples from %v to %v", len(got), got[0], got[len(got)-1])
	}
	if n := len(h.nodes[one.key()].samples); n > 3*60+1 {
		t.Errorf("%d samples are in memory", n)
	}
	files, _ := os.ReadDir(h.disk.dir)
	if len(files) > 26 {
		t.Errorf("%d files are kept", len(files))
	}
	if err := h.Add(start.Add(60*time.Hour), nil); err != nil || len(h.nodes) != 0 {
		t.Errorf("%v: nodes that are gone are kept: %v", err, h.nodes)
	}
}

func TestARestartKeepsThem(t *testing.T) {
	dir := t.TempDir()
	reopen := func() *History {
		h, err := OpenHistory(dir, start.Add(5*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := reopen()
	add(t, h, 0, Values{"CurrItems": 1, "CacheHitRate": 33.3})
	add(t, h, 1, Values{"CurrItems": 2})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, start.Format(hourName))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v", info.Mode())
	}
	// A crash may have left any part of the last record.
	for cut := range 40 {
		if err := os.WriteFile(file, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		h := reopen()
		add(t, h, 2, Values{"CurrItems": 3})
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = reopen()
		got := items(t, h, one)
		if got[0] != 1 || got[len(got)-1] != 3 || len(got) < 2 || len(items(t, h, two)) < 2 {
			t.Fatalf("cut by %d: %v", cut, got)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	v, err := reopen().Range(one.Region, one.ClusterID, one.NodeID, start, start.Add(time.Second))
	if err != nil || len(v) != 1 || v[0].Values["CacheHitRate"] != 33.3 || !v[0].At.Equal(start) {
		t.Errorf("%+v", v)
	}
}

func TestPrometheus(t *testing.T) {
	h := NewHistory()
	odd := one
	odd.ClusterID = "odd\"\n\\"
	if err := h.Add(start, map[Node]Values{one: {"CurrItems": 5, "CacheHitRate": 12.5}, two: {"CurrItems": 7}, odd: {"CPUUtilization": 1}}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WritePrometheus(&b, h.Last(start)); err != nil {
		t.Fatal(err)
	}
	want := `# HELP aws_elasticache_cpuutilization CPUUtilization of CloudWatch.
# TYPE aws_elasticache_cpuutilization gauge
aws_elasticache_cpuutilization{region="us-east-1",cache_cluster_id="odd\"\n\\",cache_node_id="0001",replication_group_id="orders",engine="redis"} 1
# HELP aws_elasticache_cache_hit_rate CacheHitRate of CloudWatch.
# TYPE aws_elasticache_cache_hit_rate gauge
aws_elasticache_cache_hit_rate{region="us-east-1",cache_cluster_id="orders-001",cache_node_id="0001",replication_group_id="orders",engine="redis"} 12.5
# HELP aws_elasticache_curr_items CurrItems of CloudWatch.
# TYPE aws_elasticache_curr_items gauge
aws_elasticache_curr_items{region="us-east-1",cache_cluster_id="orders-001",cache_node_id="0001",replication_group_id="orders",engine="redis"} 5
aws_elasticache_curr_items{region="us-east-1",cache_cluster_id="web",cache_node_id="0002",replication_group_id="",engine="memcached"} 7
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
	if last := h.Last(start.Add(time.Second)); len(last) != 0 {
		t.Errorf("old samples are shown as the latest: %v", last)
	}
}

func TestEveryNodeIsAskedEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, asked := NewHistory(), 0
		target := func(n Node, at string, read func() string) Target {
			return Target{Node: n, Address: at, Read: func(context.Context) (map[string]string, error) {
				asked++
				if s := read(); s != "" {
					return ParseInfo(s), nil
				}
				return nil, context.DeadlineExceeded
			}}
		}
		gone := false
		replica := one
		replica.ClusterID = "orders-002"
		c := NewCollector(Config{
			History: h, Log: slog.New(slog.DiscardHandler), Host: func() Host { return Host{} },
			Targets: func(context.Context) ([]Target, error) {
				return []Target{
					target(one, "127.0.0.8:6379", func() string {
						if gone {
							return ""
						}
						return before
					}),
					target(replica, "127.0.0.9:6379", func() string { return "role:slave\nrun_id:r\n" }),
				}, nil
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(2*time.Minute + time.Second) // of the bubble
		last := h.Last(time.Now().Add(-2 * time.Second))
		if asked != 6 || last[one].Values["CacheHits"] != 0 || last[replica].Values["ReplicationLag"] != 1 {
			t.Errorf("asked %d times: %v", asked, slices.Collect(maps.Values(last)))
		}
		if _, ok := last[one].Values["CacheHits"]; !ok {
			t.Error("the second minute has no count")
		}
		gone = true
		time.Sleep(time.Minute)
		if _, ok := h.Last(time.Now().Add(-2 * time.Second))[one]; ok || c.Before(one.Region, one.ClusterID, one.NodeID) != nil {
			t.Error("a node that does not answer has figures")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
