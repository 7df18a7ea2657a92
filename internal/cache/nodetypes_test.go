package cache

import (
	"strings"
	"testing"
)

func TestNodeTypes(t *testing.T) {
	all := NodeTypes()
	if len(all) < 100 {
		t.Fatalf("%d node types", len(all))
	}
	for i, n := range all {
		if i > 0 && all[i-1].Name >= n.Name {
			t.Errorf("%s after %s", n.Name, all[i-1].Name)
		}
		// maxmemory is about what the type has: a slipped digit shows.
		if n.GiB > 0 {
			if ratio := float64(n.MaxMemory) / (n.GiB * (1 << 30)); ratio < 0.9 || ratio > 1.1 {
				t.Errorf("%s: %d bytes of %v GiB", n.Name, n.MaxMemory, n.GiB)
			}
		}
		if n.VCPU == 0 || n.MaxMemory == 0 {
			t.Errorf("%+v", n)
		}
	}
	for name, want := range map[string]int64{"cache.t3.micro": 536870912, "cache.r7g.16xlarge": 450000750456, "cache.c8gn.large": 3330020474} {
		if n, ok := FindNodeType(name); !ok || n.MaxMemory != want {
			t.Errorf("%s: %+v", name, n)
		}
	}
	if _, ok := FindNodeType("cache.r6gd.large"); ok {
		t.Error("r6gd.large does not exist")
	}
}

func TestFamilies(t *testing.T) {
	for v, want := range map[string]string{
		"redis 2.8.24": "redis2.8", "redis 5.0.6": "redis5.0", "redis 6.0": "redis6.x", "redis 6.x": "redis6.x", "redis 7.1": "redis7",
		"valkey 7.2": "valkey7", "valkey 8.1": "valkey8", "valkey 9.1": "valkey9", "memcached 1.6.22": "memcached1.6",
		"redis 8.0": "", "valkey 6.0": "", "redis x": "", "mysql 8.0": "",
	} {
		engine, version, _ := strings.Cut(v, " ")
		got, ok := FamilyOf(engine, version)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %s, %v", v, got, ok)
		}
	}
	for _, f := range Families() {
		if got, ok := FamilyOf(f.Engine, f.First); !ok || got != f.Name {
			t.Errorf("the first version of %s belongs to %s", f.Name, got)
		}
		if g, ok := FindParameterGroup(DefaultParameterGroup(f.Name)); !ok || g.Family != f.Name || g.ClusterMode {
			t.Errorf("%s: %+v", f.Name, g)
		}
	}
	if len(ParameterGroups()) != 13+8 {
		t.Errorf("%d groups", len(ParameterGroups()))
	}
}

func TestCompareVersions(t *testing.T) {
	order := []string{"x", "2.8", "2.8.6", "2.8.24", "6.0", "7.0", "7.0.15", "7.2", "10.0"}
	for i, a := range order {
		for j, b := range order {
			if got := CompareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
}

// TestParameters looks at every family: names once and in order, values allowed.
func TestParameters(t *testing.T) {
	for _, f := range Families() {
		all := Parameters(f.Name, false)
		if len(all) < 25 {
			t.Errorf("%s has %d parameters", f.Name, len(all))
		}
		reserves := 0
		for i, p := range all {
			if i > 0 && all[i-1].Name >= p.Name {
				t.Errorf("%s: %s after %s", f.Name, p.Name, all[i-1].Name)
			}
			if p.Type == "" || p.Change == "" || p.MinVersion == "" || p.Description == "" {
				t.Errorf("%s: %+v", f.Name, p)
			}
			if p.Allowed == yesNo && p.Value != "yes" && p.Value != "no" {
				t.Errorf("%s: %s is %q", f.Name, p.Name, p.Value)
			}
			if p.ByNodeType != (p.Value == "" && NodeTypeValue(p.Name, NodeTypes()[0]) != "") {
				t.Errorf("%s: %s by node type: %v", f.Name, p.Name, p.ByNodeType)
			}
			if fam, ok := FamilyOf(f.Engine, p.MinVersion); !ok || fam != f.Name {
				t.Errorf("%s: %s from version %s of family %s", f.Name, p.Name, p.MinVersion, fam)
			}
			if strings.HasPrefix(p.Name, "reserved-memory") {
				reserves++
			}
		}
		if f.Engine != Memcached && reserves != 1 {
			t.Errorf("%s has %d ways to reserve memory", f.Name, reserves)
		}
	}
	if Parameters("none", false) != nil {
		t.Error("a family that there is not has parameters")
	}
}

func TestEffectiveParameters(t *testing.T) {
	for _, c := range []struct {
		group, node, version, parameter, want string
	}{
		{"default.redis7", "cache.t3.micro", "7.0", "maxmemory", "536870912"},
		{"default.redis7", "cache.t3.micro", "7.0", "maxclients", "20000"},
		{"default.redis7", "cache.r7g.large", "7.0", "maxclients", "65000"},
		{"default.redis7", "cache.t3.micro", "7.0", "client-output-buffer-limit-replica-hard-limit", "53687091"},
		{"default.redis7", "cache.t3.micro", "7.0", "cluster-enabled", "no"},
		{"default.redis7.cluster.on", "cache.t3.micro", "7.0", "cluster-enabled", "yes"},
		{"default.valkey8", "cache.t3.micro", "8.0", "repl-backlog-size", "10485760"},
		{"default.valkey8", "cache.t3.micro", "8.0", "commandlog-request-larger-than", ""},
		{"default.valkey8", "cache.t3.micro", "8.1", "commandlog-request-larger-than", "1048576"},
		{"default.valkey8", "cache.t3.micro", "8.1", "search-default-timeout-ms", ""},
		{"default.redis6.x", "cache.t3.micro", "6.0", "acl-pubsub-default", ""},
		{"default.redis6.x", "cache.t3.micro", "6.2", "acl-pubsub-default", "allchannels"},
		{"default.redis5.0", "cache.t3.micro", "5.0.6", "rename-commands", ""},
		{"default.redis4.0", "cache.t3.micro", "4.0.10", "close-on-slave-write", "yes"},
	} {
		got := EffectiveParameters(c.group, c.node, c.version)
		if got[c.parameter] != c.want {
			t.Errorf("%s for %s on %s, version %s: %q, want %q", c.parameter, c.group, c.node, c.version, got[c.parameter], c.want)
		}
	}
	if _, ok := EffectiveParameters("default.redis5.0", "cache.t3.micro", "5.0.6")["rename-commands"]; !ok {
		t.Error("rename-commands is there from 5.0.3 on, without a value")
	}
	if EffectiveParameters("mine", "cache.t3.micro", "7.0") != nil {
		t.Error("a group that there is not has values")
	}
}

func TestDataMemory(t *testing.T) {
	n := NodeType{MaxMemory: 1000}
	for _, c := range []struct {
		values map[string]string
		want   int64
	}{
		{nil, 1000},
		{map[string]string{"reserved-memory-percent": "25"}, 750},
		{map[string]string{"reserved-memory-percent": "100"}, 0},
		{map[string]string{"reserved-memory-percent": "x"}, 1000},
		{map[string]string{"reserved-memory": "0"}, 1000},
		{map[string]string{"reserved-memory": "400"}, 600},
		{map[string]string{"reserved-memory": "4000"}, 0},
	} {
		if got := DataMemory(n, c.values); got != c.want {
			t.Errorf("%v: %d, want %d", c.values, got, c.want)
		}
	}
}
