package cache

import "testing"

// TestReplicatesTo is the table of what was tried out with real engines.
func TestReplicatesTo(t *testing.T) {
	builds := []string{"redis-6.0.16", "redis-7.0.15", "redis-8.0.2", "valkey-8.1.1", "valkey-9.1.2"}
	want := map[string]string{
		"redis-6.0.16": "yyyyy",
		"redis-7.0.15": "nyyyy",
		"redis-8.0.2":  "nnynn",
		"valkey-8.1.1": "nnyyy",
		"valkey-9.1.2": "nnyyy",
	}
	for _, from := range builds {
		for i, to := range builds {
			if got, yes := ReplicatesTo(from, to), want[from][i] == 'y'; got != yes {
				t.Errorf("%s to %s: %v", from, to, got)
			}
		}
	}
	if !ReplicatesTo("redis-4.0.14", "redis-5.0.7") || ReplicatesTo("redis-7.2.4", "redis-7.0.15") || !ReplicatesTo("redis-7.2.4", "valkey-8.0.1") {
		t.Error("the versions in between")
	}
}

func TestDirections(t *testing.T) {
	for _, c := range []struct {
		from, to string // engine and version
		alone    bool
		ok       bool
	}{
		{"redis 6.2", "redis 7.0", false, true},
		{"redis 6.2", "redis 7.0", true, true},
		{"redis 5.0.6", "redis 7.1", false, true},
		{"redis 7.0", "redis 6.2", false, false},
		{"redis 5.0.6", "redis 5.0.4", false, false},
		{"redis 7.1", "valkey 7.2", false, true},
		{"redis 5.0.6", "valkey 9.1", false, true},
		{"redis 7.1", "valkey 8.0", true, false},
		{"valkey 7.2", "redis 7.1", false, true},
		{"valkey 7.2", "redis 7.0", false, false},
		{"valkey 8.0", "redis 7.1", false, false},
		{"valkey 8.0", "valkey 7.2", false, false},
		{"valkey 8.0", "valkey 9.0", true, true},
	} {
		if err := CheckUpgrade(parseKind(c.from), parseKind(c.to), nil, c.alone); (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
}

func parseKind(s string) Kind {
	for i := range s {
		if s[i] == ' ' {
			return Kind{Engine: s[:i], EngineVersion: s[i+1:]}
		}
	}
	return Kind{}
}

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		want int64
	}{
		{Kind{Engine: Redis, EngineVersion: "7.0", NodeType: "cache.t3.micro", ParameterGroup: "default.redis7"}, 536870912 / 100 * 75},
		{Kind{Engine: Valkey, EngineVersion: "8.1", NodeType: "cache.t3.micro", ParameterGroup: "mine", Parameters: map[string]string{"reserved-memory-percent": "50"}}, 536870912 / 100 * 50},
		{Kind{Engine: Valkey, EngineVersion: "8.1", NodeType: "cache.t3.micro", ParameterGroup: "mine", Parameters: map[string]string{"reserved-memory": "36870912"}}, 500000000},
	} {
		if got := c.kind.Holds(); got != c.want {
			t.Errorf("%+v holds %d, want %d", c.kind, got, c.want)
		}
	}
}
