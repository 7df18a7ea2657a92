package control_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// memories are nodes that say how much memory their data take, by key; others do not answer.
type memories map[string]int64

func (m memories) Probe(_ context.Context, spec cache.NodeSpec) (cache.Health, error) {
	used, ok := m[spec.Key]
	if !ok {
		return cache.Health{}, errors.New("it does not answer")
	}
	return cache.Health{UsedMemory: used}, nil
}

// newWorld is a world with a group "g" of two nodes, a clustered one "shards" and a lone
// cluster "alone", all of Redis 7.0 on cache.t3.small.
func newWorld(t *testing.T, used memories, change func(*control.Config)) *controltest.World {
	t.Helper()
	w := controltest.New(t, func(c *control.Config) {
		c.Nodes = used
		if change != nil {
			change(c)
		}
	})
	asked := control.Asked{Engine: cache.Redis, EngineVersion: "7.0", NodeType: "cache.t3.small"}
	_, err := w.Control.CreateReplicationGroup(t.Context(), region, control.NewGroup{ID: "g", Nodes: new(2), Asked: asked})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Control.CreateReplicationGroup(t.Context(), region, control.NewGroup{
		ID: "shards", NodeGroups: new(2), Replicas: new(1), AutomaticFailover: true, Asked: asked,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Control.CreateCacheCluster(t.Context(), region, control.NewCluster{ID: "alone", Asked: asked}); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	return w
}

func settled(t *testing.T, w *controltest.World) {
	t.Helper()
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// modify asks for another kind, of a group or of the lone cluster.
func modify(t *testing.T, w *controltest.World, id string, immediately bool, to control.Same, group string) error {
	t.Helper()
	change := control.Change{Same: to, Immediately: immediately, ParameterGroup: group}
	if id == "alone" {
		_, err := w.Control.ModifyCacheCluster(t.Context(), region, id, change)
		return err
	}
	_, err := w.Control.ModifyReplicationGroup(t.Context(), region, id, control.GroupChange{Change: change})
	return err
}

func events(t *testing.T, w *controltest.World, id string) []string {
	t.Helper()
	all, err := w.Control.DescribeEvents(t.Context(), region, control.EventFilter{SourceID: id}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		out = append(out, e.Message)
	}
	return out
}

// t3.micro has 512 MiB, a quarter of which is reserved.
const microHolds = 536870912 / 100 * 75

func TestANodeTypeHasToHoldTheData(t *testing.T) {
	const failed = "Failed applying modification to cache node type to cache.t3.micro."
	used := memories{
		"us-east-1/g-001": microHolds + 1, "us-east-1/g-002": 1,
		"us-east-1/shards-0001-001": 1, "us-east-1/shards-0002-001": microHolds + 1, "us-east-1/alone": microHolds + 1,
	}
	w := newWorld(t, used, nil)
	micro := control.Same{NodeType: "cache.t3.micro"}
	for id, node := range map[string]string{"g": "g-001", "shards": "shards-0002-001", "alone": "alone"} {
		err := modify(t, w, id, true, micro, "")
		if !cache.IsFault(err, "InvalidParameterCombination") {
			t.Fatalf("%s: %v", id, err)
		}
		for _, part := range []string{node, "384.0 MiB of memory and a node of type cache.t3.micro holds 384.0 MiB", "default.redis7"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q is not in %q", id, part, err)
			}
		}
		if got := events(t, w, id); got[0] != failed {
			t.Errorf("%s: events %q", id, got)
		}
		if got := events(t, w, node); got[0] != failed {
			t.Errorf("%s: events %q", node, got)
		}
		// Nothing is changed.
		settled(t, w)
		if kind := kindOf(t, w, id); kind.NodeType != "cache.t3.small" {
			t.Errorf("%s is of %s", id, kind.NodeType)
		}
		// What waits is looked at when it begins.
		if err := modify(t, w, id, false, micro, ""); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if err := modify(t, w, id, true, control.Same{}, ""); !cache.IsFault(err, "InvalidParameterCombination") {
			t.Errorf("%s: %v", id, err)
		}
		// After some keys are deleted the same call works.
		used["us-east-1/"+node] = microHolds
		if err := modify(t, w, id, true, micro, ""); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		settled(t, w)
		if kind := kindOf(t, w, id); kind.NodeType != "cache.t3.micro" {
			t.Errorf("%s is of %s", id, kind.NodeType)
		}
	}
}

// A node that does not answer is asked again when the change begins.
func TestWhatIsNotKnownIsNotRefused(t *testing.T) {
	w := newWorld(t, memories{}, nil)
	if err := modify(t, w, "g", true, control.Same{NodeType: "cache.t3.micro"}, ""); err != nil {
		t.Error(err)
	}
}

func kindOf(t *testing.T, w *controltest.World, id string) (k cache.Kind) {
	t.Helper()
	err := w.DB.View(t.Context(), func(tx *store.Tx) error {
		if id == "alone" {
			c, _, err := records.Clusters.Get(tx, cache.Key(region, id))
			k = c.Kind(c.Node.Build)
			return err
		}
		g, _, err := records.Groups.Get(tx, cache.Key(region, id))
		k = g.Kind("")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestReplacingNodesNeedsMemoryOfTheMachine(t *testing.T) {
	w := newWorld(t, memories{"us-east-1/shards-0001-001": 3 << 20, "us-east-1/shards-0002-001": 4 << 20}, nil)
	w.Memory.Free = 7<<20 - 1
	to := control.Same{Engine: cache.Valkey, EngineVersion: "8.1"}
	err := modify(t, w, "shards", true, to, "")
	if !cache.IsFault(err, "InsufficientCacheClusterCapacity") || !strings.Contains(err.Error(), "7.0 MiB") {
		t.Errorf("got %v", err)
	}
	// Another version of the same build replaces nothing.
	if err := modify(t, w, "shards", true, control.Same{EngineVersion: "7.1"}, ""); err != nil {
		t.Error(err)
	}
	settled(t, w)
	w.Memory.Free++
	if err := modify(t, w, "shards", true, to, ""); err != nil {
		t.Error(err)
	}
}

func TestReservedMemoryOfLargerNodes(t *testing.T) {
	w := newWorld(t, nil, func(c *control.Config) { c.StrictMemory = true })
	small, _ := cache.FindNodeType("cache.t3.small")
	medium, _ := cache.FindNodeType("cache.t3.medium")
	w.Memory.All = 7*small.MaxMemory + 2*(medium.MaxMemory-small.MaxMemory) - 1
	if err := modify(t, w, "g", true, control.Same{NodeType: "cache.t3.medium"}, ""); !cache.IsFault(err, "InsufficientCacheClusterCapacity") {
		t.Errorf("got %v", err)
	}
	w.Memory.All++
	if err := modify(t, w, "g", true, control.Same{NodeType: "cache.t3.medium"}, ""); err != nil {
		t.Error(err)
	}
}

// A group that reserves a number of bytes says nothing about another node type.
func TestReservedBytesAreForOneNodeType(t *testing.T) {
	w := newWorld(t, memories{"us-east-1/g-001": 1}, nil)
	for _, name := range []string{"bytes", "more"} {
		if _, err := w.Control.CreateCacheParameterGroup(t.Context(), region, control.NewParameterGroup{Name: name, Family: "redis7", Description: "d"}); err != nil {
			t.Fatal(err)
		}
		values := []control.NewValue{{Name: "reserved-memory", Value: "600000000"}}
		if _, err := w.Control.ModifyCacheParameterGroup(t.Context(), region, name, values); err != nil {
			t.Fatal(err)
		}
	}
	if err := modify(t, w, "g", false, control.Same{}, "bytes"); err != nil {
		t.Fatal(err)
	}
	to := control.Same{NodeType: "cache.t3.medium"}
	if err := modify(t, w, "g", true, to, ""); !cache.IsFault(err, "InvalidParameterCombination") || !strings.Contains(err.Error(), "reserved-memory") {
		t.Errorf("got %v", err)
	}
	// Nothing is left of a node type that has less than is reserved.
	if err := modify(t, w, "g", true, control.Same{NodeType: "cache.t3.micro"}, "more"); !cache.IsFault(err, "InvalidParameterCombination") {
		t.Errorf("got %v", err)
	}
	if err := modify(t, w, "g", true, to, "more"); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	if k := kindOf(t, w, "g"); k.NodeType != "cache.t3.medium" || k.ParameterGroup != "more" || k.Parameters["reserved-memory"] != "600000000" {
		t.Errorf("got %+v", k)
	}
}

func TestEnginesThatDoNotReplicate(t *testing.T) {
	w := newWorld(t, nil, nil)
	// 7.1 is served by what is newer where nothing else is installed.
	w.Engines = slices.DeleteFunc(w.Engines, func(v control.Version) bool { return v.Engine == cache.Redis && v.Asked == "7.1" })
	w.Engines = append(w.Engines, control.Version{Engine: cache.Redis, Choice: control.Choice{Asked: "7.1", Build: "redis-8.0.2", Family: "redis7"}})
	if err := modify(t, w, "g", true, control.Same{EngineVersion: "7.1"}, ""); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	err := modify(t, w, "g", false, control.Same{Engine: cache.Valkey, EngineVersion: "8.1"}, "")
	if !cache.IsFault(err, "InvalidParameterCombination") || !strings.Contains(err.Error(), "redis-8.0.2 does not replicate to valkey-8.1.1") ||
		!strings.Contains(err.Error(), "holdfast migrate --live") {
		t.Errorf("got %v", err)
	}
}

// In the midst of an upgrade both parameter groups are in use, and each node has the
// values of its own.
func TestParameterGroupsOfAnUpgrade(t *testing.T) {
	w := newWorld(t, nil, nil)
	for name, family := range map[string]string{"old": "redis7", "new": "valkey8"} {
		if _, err := w.Control.CreateCacheParameterGroup(t.Context(), region, control.NewParameterGroup{Name: name, Family: family, Description: "d"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := modify(t, w, "g", false, control.Same{}, "old"); err != nil {
		t.Fatal(err)
	}
	err := w.DB.Update(t.Context(), func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, "us-east-1/g")
		if err != nil {
			return err
		}
		to := cache.Kind{Engine: cache.Valkey, EngineVersion: "8.1", NodeType: g.NodeType, ParameterGroup: "new", Build: "valkey-8.1.1"}
		g.Upgrade = &cache.Upgrade{From: g.Kind("redis-7.0.15"), To: to, StartedAt: w.Now()}
		k, _, err := records.Clusters.Get(tx, "us-east-1/g-002")
		if err != nil {
			return err
		}
		k.Become(to)
		k.Node.Build = to.Build
		return errors.Join(records.Clusters.Put(tx, k.Key(), k), records.Groups.Put(tx, g.Key(), g))
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"old": "60", "new": "90"} {
		if _, err := w.Control.ModifyCacheParameterGroup(t.Context(), region, name, []control.NewValue{{Name: "timeout", Value: value}}); err != nil {
			t.Fatal(err)
		}
		if err := w.Control.DeleteCacheParameterGroup(t.Context(), region, name); !cache.IsFault(err, "InvalidCacheParameterGroupState") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A change of something else leaves it at that.
	if err := modify(t, w, "g", false, control.Same{}, ""); err != nil {
		t.Fatal(err)
	}
	all := readAll(t, w.DB)
	for _, g := range all.groups {
		if up := g.Upgrade; up != nil && (g.Parameters["timeout"] != "60" || up.From.Parameters["timeout"] != "60" || up.To.Parameters["timeout"] != "90") {
			t.Errorf("got %+v and %+v", g.Parameters, up)
		}
	}
	for _, k := range all.clusters {
		want := map[string][2]string{"g-001": {"old", "60"}, "g-002": {"new", "90"}}
		if w, ok := want[k.ID]; ok && (k.ParameterGroup != w[0] || k.Parameters["timeout"] != w[1]) {
			t.Errorf("%s has %s with %v", k.ID, k.ParameterGroup, k.Parameters)
		}
	}
}

// What waits is re-written, not added to, and says since when.
func TestAskedAt(t *testing.T) {
	w := newWorld(t, nil, nil)
	pending := func() cache.Pending {
		for _, g := range readAll(t, w.DB).groups {
			if g.ID == "g" && g.Pending != nil {
				return *g.Pending
			}
		}
		return cache.Pending{}
	}
	if err := modify(t, w, "g", false, control.Same{EngineVersion: "7.1"}, ""); err != nil {
		t.Fatal(err)
	}
	first := pending()
	w.Pass(time.Hour)
	if err := modify(t, w, "g", false, control.Same{EngineVersion: "7.1"}, ""); err != nil {
		t.Fatal(err)
	}
	if again := pending(); again != first || again.EngineVersion != "7.1" || again.Build != "redis-7.0.15" || again.Now {
		t.Errorf("first %+v, then %+v", first, again)
	}
	if err := modify(t, w, "g", false, control.Same{NodeType: "cache.t3.medium"}, ""); err != nil {
		t.Fatal(err)
	}
	if p := pending(); !p.AskedAt.Equal(w.Now()) || p.EngineVersion != "7.1" || p.NodeType != "cache.t3.medium" {
		t.Errorf("got %+v", p)
	}
}
