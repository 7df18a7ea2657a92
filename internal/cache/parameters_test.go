package cache

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFamiliesHave holds what ElastiCache documents of each family against ours: what
// is new in it, what it has no more, and values that differ from the family before.
func TestFamiliesHave(t *testing.T) {
	for family, want := range map[string]struct {
		count     int
		has, less string
	}{
		"redis2.6":     {32, "maxmemory-samples=3 activerehashing=yes tcp-keepalive=0 repl-timeout=60 reserved-memory=0 list-max-ziplist-entries=512", "reserved-memory-percent notify-keyspace-events min-slaves-to-write"},
		"redis2.8":     {38, "min-slaves-to-write=0 min-slaves-max-lag=10 close-on-slave-write=yes repl-backlog-size=1048576", "hll-sparse-max-bytes"},
		"redis3.2":     {40, "list-max-ziplist-size=-2 cluster-enabled=no hll-sparse-max-bytes=3000 reserved-memory-percent=25 tcp-keepalive=300", "reserved-memory list-max-ziplist-entries repl-timeout"},
		"redis4.0":     {54, "activedefrag=no active-defrag-cycle-min=25 lfu-log-factor=10 lazyfree-lazy-expire=no proto-max-bulk-len=536870912", "lua-replicate-commands"},
		"redis5.0":     {60, "active-defrag-cycle-min=5 lua-replicate-commands=yes close-on-replica-write=yes min-replicas-to-write=0 stream-node-max-entries=100", "close-on-slave-write acllog-max-len"},
		"redis6.x":     {65, "acl-pubsub-default=allchannels acllog-max-len=128 active-expire-effort=1 tracking-table-max-keys=1000000 databases=16", "lua-replicate-commands"},
		"redis7":       {67, "cluster-allow-pubsubshard-when-down=yes latency-tracking=no hash-max-listpack-entries=512 zset-max-listpack-value=64", "activerehashing hash-max-ziplist-entries zset-max-ziplist-value"},
		"valkey7":      {67, "lazyfree-lazy-user-del=no maxmemory-samples=3", "extended-redis-compatibility"},
		"valkey8":      {70, "repl-backlog-size=10485760 extended-redis-compatibility=yes commandlog-large-reply-max-len=128 search-fanout-target-mode=client", "lazyfree-lazy-expire replica-lazy-flush cluster-databases"},
		"valkey9":      {71, "cluster-databases=0", "lazyfree-lazy-expire"},
		"memcached1.4": {33, "modern=1 expirezero_does_not_evict=0 chunk_size_growth_factor=1.25", "no_modern inline_ascii_resp"},
		"memcached1.5": {33, "no_modern=1 inline_ascii_resp=0 max_item_size=1048576", "modern"},
		"memcached1.6": {33, "no_modern=1 idle_timeout=0", "expirezero_does_not_evict"},
	} {
		all := Parameters(family, false)
		if len(all) != want.count {
			t.Errorf("%s has %d parameters, want %d", family, len(all), want.count)
		}
		for _, pair := range strings.Fields(want.has) {
			name, value, _ := strings.Cut(pair, "=")
			if p, ok := FindParameter(family, name); !ok || p.Value != value {
				t.Errorf("%s of %s is %q (there: %v), want %q", name, family, p.Value, ok, value)
			}
		}
		for _, name := range strings.Fields(want.less) {
			if slices.ContainsFunc(all, named(name)) {
				t.Errorf("%s has %s", family, name)
			}
		}
	}
}

// TestAllowedValues: the default of every parameter is allowed, and what is not is refused.
func TestAllowedValues(t *testing.T) {
	for _, f := range Families() {
		for _, p := range Parameters(f.Name, false) {
			if p.ByNodeType || p.Name == "cluster-databases" {
				continue // no value of its own; printed as 0, which cannot be set
			}
			if err := p.Check(p.Value); err != nil {
				t.Errorf("the default of %s in %s: %v", p.Name, f.Name, err)
			}
			for _, bad := range []string{"\n", "é"} {
				if p.Check(p.Value+bad) == nil {
					t.Errorf("%s takes %q", p.Name, p.Value+bad)
				}
			}
		}
	}
	for _, c := range []struct{ family, name, good, bad string }{
		{"redis7", "timeout", "0 20 1000000", "1 19 -1 20.5 x +20"},
		{"redis7", "maxmemory-policy", "allkeys-lfu noeviction", "lfu ALLKEYS-LRU volatile-lru,allkeys-lru"},
		{"redis3.2", "maxmemory-policy", "allkeys-lru", "allkeys-lfu"},
		{"redis7", "slowlog-log-slower-than", "-1 0 99999999", "x 1.5"},
		{"redis7", "list-max-ziplist-size", "-5 -1 1 100", "-6 0"},
		{"redis7", "reserved-memory-percent", "0 25 100", "-1 101"},
		{"valkey7", "maxmemory-samples", "1 5000", "0"},
		{"valkey8", "maxmemory-samples", "1 64", "0 65"},
		{"redis7", "client-query-buffer-limit", "1048576 1073741824", "1048575 1073741825"},
		{"redis7", "notify-keyspace-events", "KEA Kx g$", "KEq KE@"},
		{"redis7", "lua-time-limit", "5000", "4999 5001"},
		{"redis5.0", "databases", "1 1200000", "0 1200001"},
		{"redis6.x", "databases", "10000", "10001"},
		{"redis6.x", "acl-pubsub-default", "resetchannels", "none"},
		{"memcached1.6", "chunk_size_growth_factor", "1.25 2", "0.5 x"},
		{"memcached1.6", "slab_automove", "0 2", "3"},
	} {
		p, ok := FindParameter(c.family, c.name)
		if !ok {
			t.Errorf("%s has no %s", c.family, c.name)
		}
		for _, v := range strings.Fields(c.good) {
			if err := p.Check(v); err != nil {
				t.Error(err)
			}
		}
		for _, v := range strings.Fields(c.bad) {
			if p.Check(v) == nil {
				t.Errorf("%s of %s takes %q", c.name, c.family, v)
			}
		}
	}
	renames, _ := FindParameter("redis7", "rename-commands")
	for value, good := range map[string]bool{
		"": true, "flushall blocked": true, "get Get2 set blocked": true, "FLUSHALL Blocked keys blocked": true,
		"config blocked": false, "no-such-thing blocked": false, "get blocked GET g2": false, "get g2 set G2": false,
		"flushall": false, "get not-a-word": false, "get abcdefghijklmnopqrstu": false,
	} {
		if err := renames.Check(value); (err == nil) != good {
			t.Errorf("rename-commands %q: %v", value, err)
		}
	}
}

// TestWhatCanBeSet holds ElastiCache's list of fixed parameters, and what differs here.
func TestWhatCanBeSet(t *testing.T) {
	fixed := func(family string) string {
		var out []string
		for _, p := range Parameters(family, false) {
			if !p.Modifiable {
				name := p.Name
				if p.Settable() {
					name += "!"
				}
				out = append(out, name)
			}
		}
		return strings.Join(out, " ")
	}
	want := "activerehashing! appendfsync! appendonly! client-output-buffer-limit-replica-hard-limit client-output-buffer-limit-replica-soft-limit " +
		"client-output-buffer-limit-replica-soft-seconds cluster-enabled! databases! list-max-ziplist-size lua-time-limit maxclients maxmemory " +
		"replica-allow-chaining replica-ignore-maxmemory replica-lazy-flush"
	if diff := cmp.Diff(want, fixed("redis5.0")); diff != "" {
		t.Errorf("redis5.0 (-want +got):\n%s", diff)
	}
	if got := fixed("redis2.8"); strings.Contains(got, "append") {
		t.Errorf("the oldest families have appendonly fixed: %s", got)
	}
}

func TestGroupValues(t *testing.T) {
	g := ParameterGroup{Region: "r", Name: "mine", Family: "redis7"}
	g.Set("timeout", "30")
	before := g.Values
	g.Set("cluster-enabled", "yes")
	g.Set("reserved-memory", "1000")
	if before["cluster-enabled"] != "" || !g.ClusterMode {
		t.Error("cluster mode, or a former set of values was changed")
	}
	reserve := func() (out []string) {
		for _, p := range g.Parameters() {
			if strings.HasPrefix(p.Name, "reserved-memory") {
				out = append(out, p.Name+"="+p.Value+" "+p.Source)
			}
		}
		return out
	}
	if diff := cmp.Diff([]string{"reserved-memory=1000 user"}, reserve()); diff != "" {
		t.Error(diff)
	}
	g.Set("reserved-memory-percent", "10")
	if diff := cmp.Diff([]string{"reserved-memory-percent=10 user"}, reserve()); diff != "" {
		t.Error(diff)
	}
	g.Reset("reserved-memory-percent", "cluster-enabled")
	if diff := cmp.Diff(map[string]string{"timeout": "30"}, g.Values); diff != "" || g.ClusterMode {
		t.Error(diff, g.ClusterMode)
	}
	if g.Reset(); g.Values != nil {
		t.Error(g.Values)
	}
}

// TestNodeParameters: what a node runs with while its parameter group changes.
func TestNodeParameters(t *testing.T) {
	c := CacheCluster{Status: StatusCreating}
	c.Settings = Settings{
		Engine: Redis, EngineVersion: "6.2", NodeType: "cache.t3.micro", ParameterGroup: "mine",
		Parameters: map[string]string{"timeout": "30", "databases": "20"},
	}
	look := func(what, apply, timeout, databases string) {
		t.Helper()
		v := c.RunningParameters()
		if got := c.ParameterStatus(); got != apply || v["timeout"] != timeout || v["databases"] != databases || v["maxmemory-policy"] != "volatile-lru" {
			t.Errorf("%s: %s, timeout %s, databases %s", what, got, v["timeout"], v["databases"])
		}
	}
	look("before the start", ParametersInSync, "30", "20")
	c.Node.Parameters, c.Node.Process, c.Status = c.StartedParameters(), &Process{PID: 1}, StatusAvailable
	look("created", ParametersInSync, "30", "20")
	c.Parameters = map[string]string{"timeout": "40", "databases": "50"}
	look("changed", ParametersApplying, "40", "20")
	c.Node.Parameters.Told, _ = c.SplitParameters()
	look("told", ParametersPendingReboot, "40", "20")
	c.Node.Process, c.Node.Parked = nil, true
	look("put aside", ParametersPendingReboot, "40", "20")
	if got := c.StartedParameters(); got.Started["databases"] != "20" || !got.Unsure {
		t.Errorf("started from what was put aside: %+v", got)
	}
	c.Node.Parked = false
	look("about to start", ParametersPendingReboot, "40", "50")
	c.Node.Parameters, c.Node.Process = c.StartedParameters(), &Process{PID: 2}
	look("started", ParametersApplying, "40", "50")
	c.Node.Parameters.Unsure = false
	look("started and looked at", ParametersInSync, "40", "50")
	c.Node.Process, c.Node.Parameters.Refused = nil, map[string]string{"timeout": "40"}
	look("the engine refused and is to be started", ParametersInSync, "0", "50")
	c.Node.Process = &Process{PID: 3}
	look("started all the same", ParametersInSync, "40", "50")
	c.Parameters, c.ParameterGroup = nil, "default.redis6.x"
	look("default", ParametersApplying, "0", "50")
	if diff := cmp.Diff([]string{"databases", "timeout"}, ChangedParameters("redis6.x", c.Node.Parameters.Told, map[string]string{"databases": "50"})); diff != "" {
		t.Error(diff)
	}
	if got := ChangedParameters("redis7", map[string]string{"timeout": "0"}, nil); got != nil {
		t.Errorf("a default that was set and is not any more: %v", got)
	}
}
