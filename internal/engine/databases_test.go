package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// A cluster with several databases has them on every node, and its slots move with the
// keys of all.
func TestClusterDatabases(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := newHive(b, testkit.Engine(t, "valkey-9.1"))
	for i := range h.nodes {
		h.nodes[i].Parameters["cluster-databases"] = "16"
	}
	h.start(0, 1, 2, 3)
	h.formed()
	if got := b.configOf(h.spec(1))["cluster-databases"]; got != "16" {
		t.Fatalf("a node has %s databases", got)
	}
	if missing, err := b.Unapplied(b.context(), h.spec(0)); err != nil || len(missing) > 0 {
		t.Errorf("not applied: %v, %v", missing, err)
	}
	c := h.customer(0)
	for _, db := range []string{"0", "5", "15"} {
		h.do(c, "SELECT", db)
		for i := range 200 {
			h.do(c, "SET", fmt.Sprintf("{b}%d", i), "of "+db)
		}
	}
	slots := cache.Slots{{First: 3300, Last: 3300}}
	h.move(cache.SlotMove{Source: h.spec(0), Target: h.spec(2), Others: []cache.NodeSpec{h.spec(1), h.spec(3)}, Slots: slots})
	to, from := h.customer(2), h.customer(0)
	for _, db := range []string{"0", "5", "15"} {
		h.do(to, "SELECT", db)
		h.do(from, "SELECT", db)
		if n, left, got := h.do(to, "DBSIZE"), h.do(from, "DBSIZE"), h.do(to, "GET", "{b}7"); n != "200" || left != "0" || got != "of "+db {
			t.Errorf("database %s: %s keys have moved and %s have not; one is %q", db, n, left, got)
		}
	}
	eventually(t, "the replica has them all", func() bool {
		return strings.Contains(h.do(h.customer(3), "INFO", "keyspace"), "db15:keys=200")
	})
}

// The number of databases of a cluster is known to Valkey 9 alone; what the parameter
// group has as its default is the engine's own.
func TestClusterDatabasesAreHonoured(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		has := build.Engine == cache.Valkey && strings.HasPrefix(build.Version, "9.")
		if bad := b.Unhonoured(build.Name, map[string]string{"cluster-databases": "16"}); (len(bad) == 0) != has {
			t.Errorf("16: %v", bad)
		}
		if bad := b.Unhonoured(build.Name, map[string]string{"cluster-databases": "0"}); len(bad) > 0 {
			t.Errorf("0: %v", bad)
		}
	})
}
