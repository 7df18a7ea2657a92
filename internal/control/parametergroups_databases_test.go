package control_test

import (
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

// A group in cluster mode keeps the number of databases that it was created with, through
// an upgrade to an engine that could have more.
func TestAnUpgradeKeepsTheNumberOfDatabases(t *testing.T) {
	w := newWorld(t, memories{}, nil)
	for name, n := range map[string]string{"many": "16", "one": "1"} {
		if _, err := w.Control.CreateCacheParameterGroup(t.Context(), region, control.NewParameterGroup{Name: name, Family: "valkey9", Description: "d"}); err != nil {
			t.Fatal(err)
		}
		_, err := w.Control.ModifyCacheParameterGroup(t.Context(), region, name, []control.NewValue{{Name: "cluster-enabled", Value: "yes"}, {Name: "cluster-databases", Value: n}})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.Engines = append(w.Engines, control.Version{
		Engine: cache.Valkey,
		Choice: control.Choice{Asked: "9.1", Build: "valkey-9.1.0", FullVersion: "9.1.0", Exact: true, Family: "valkey9"},
	})
	to := control.Same{Engine: cache.Valkey, EngineVersion: "9.1"}
	err := modify(t, w, "shards", true, to, "many")
	if err == nil || !strings.Contains(err.Error(), "cluster-databases makes 16 databases of it") {
		t.Errorf("to 16 databases: %v", err)
	}
	if err := modify(t, w, "shards", true, to, "one"); err != nil {
		t.Errorf("to one database: %v", err)
	}
}
