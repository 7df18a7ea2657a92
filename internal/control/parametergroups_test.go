package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

func newParameterGroup(t *testing.T, w *controltest.World, name, family string, values ...control.NewValue) {
	t.Helper()
	_, err := w.Control.CreateCacheParameterGroup(t.Context(), region, control.NewParameterGroup{Name: name, Family: family, Description: "d"})
	if err != nil {
		t.Fatal(err)
	}
	if len(values) > 0 {
		if _, err := w.Control.ModifyCacheParameterGroup(t.Context(), region, name, values); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnhonoured: a value that the installed engine cannot have is refused by name,
// wherever a cache would come to use it.
func TestUnhonoured(t *testing.T) {
	w := controltest.New(t, func(c *control.Config) {
		c.Unhonoured = func(build string, values map[string]string) (out []string) {
			if _, bad := values["latency-tracking"]; bad && build == "redis-7.0.15" {
				out = []string{"latency-tracking"}
			}
			return out
		}
	})
	ctx := t.Context()
	latency := control.NewValue{Name: "latency-tracking", Value: "yes"}
	newParameterGroup(t, w, "bad", "redis7", latency)
	newParameterGroup(t, w, "good", "redis7", control.NewValue{Name: "latency-tracking", Value: "no"}) // the default
	in := group("g", 2)
	in.ParameterGroup, in.EngineVersion = "bad", "7.0"
	_, created := w.Control.CreateReplicationGroup(ctx, region, in)
	in.ParameterGroup = "good"
	if _, err := w.Control.CreateReplicationGroup(ctx, region, in); err != nil {
		t.Fatal(err)
	}
	if err := w.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	_, modified := w.Control.ModifyCacheParameterGroup(ctx, region, "good", []control.NewValue{latency, {Name: "timeout", Value: "30"}})
	_, associated := w.Control.ModifyReplicationGroup(ctx, region, "g", control.GroupChange{Change: control.Change{ParameterGroup: "bad"}})
	for what, err := range map[string]error{"create": created, "modify the group": modified, "use another": associated} {
		if !cache.IsFault(err, "InvalidParameterValue") || !strings.Contains(err.Error(), `latency-tracking ("yes")`) || !strings.Contains(err.Error(), "redis-7.0.15") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What was refused has left nothing behind.
	list, err := w.Control.DescribeCacheParameters(ctx, region, "good", cache.SourceUser, nil)
	if err != nil || len(list) != 1 || list[0].Value != "no" {
		t.Errorf("%+v, %v", list, err)
	}
	if a := readAll(t, w.DB); len(a.groups) != 1 || a.groups[0].Parameters["timeout"] != "" || a.groups[0].ParameterGroup != "good" {
		t.Errorf("%+v", a.groups)
	}
}

func TestParameterGroupQuota(t *testing.T) {
	w := controltest.New(t, nil)
	for i := range 300 {
		newParameterGroup(t, w, fmt.Sprint("g", i), "redis7")
	}
	_, err := w.Control.CreateCacheParameterGroup(t.Context(), region, control.NewParameterGroup{Name: "more", Family: "redis7", Description: "d"})
	if !cache.IsFault(err, "CacheParameterGroupQuotaExceeded") {
		t.Errorf("the 301st: %v", err)
	}
	all, err := w.Control.DescribeCacheParameterGroups(t.Context(), region, "", nil)
	if err != nil || len(all) != 321 || !slices.IsSortedFunc(all, func(a, b cache.ParameterGroup) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%d groups, %v", len(all), err)
	}
	if _, err := w.Control.DescribeCacheParameterGroups(t.Context(), "eu-west-1", "g1", nil); !cache.IsFault(err, "CacheParameterGroupNotFound") {
		t.Errorf("in another region: %v", err)
	}
}

// TestMembersHaveTheirGroupsParameters: every record that names a parameter group has
// its values, whenever it came to do so, and a primary without replicas that have its
// data is not rebooted.
func TestMembersHaveTheirGroupsParameters(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	newParameterGroup(t, w, "mine", "redis7", control.NewValue{Name: "timeout", Value: "30"})
	in := group("g", 2)
	in.ParameterGroup = "mine"
	if _, err := w.Control.CreateReplicationGroup(ctx, region, in); err != nil {
		t.Fatal(err)
	}
	check := func(what, timeout string, nodes int) {
		t.Helper()
		a := readAll(t, w.DB)
		if a.groups[0].Parameters["timeout"] != timeout || len(a.clusters) != nodes {
			t.Errorf("%s: %d nodes, %+v", what, len(a.clusters), a.groups[0].Parameters)
		}
		for _, k := range a.clusters {
			if k.ParameterGroup != "mine" || k.Parameters["timeout"] != timeout {
				t.Errorf("%s: %s has %s %v", what, k.ID, k.ParameterGroup, k.Parameters)
			}
		}
	}
	check("created", "30", 2)
	set := func(value string) {
		t.Helper()
		if _, err := w.Control.ModifyCacheParameterGroup(ctx, region, "mine", []control.NewValue{{Name: "timeout", Value: value}}); err != nil {
			t.Fatal(err)
		}
	}
	set("40")
	check("modified while it is created", "40", 2)
	if err := w.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	set("50")
	if _, err := w.Control.CreateCacheCluster(ctx, region, control.NewCluster{ID: "third", GroupID: "g"}); err != nil {
		t.Fatal(err)
	}
	set("60")
	check("one more", "60", 3)
	if err := w.Settle(ctx); err != nil {
		t.Fatal(err)
	}

	ready := func(id string, ready bool) {
		t.Helper()
		err := w.DB.Update(ctx, func(tx *store.Tx) error {
			k, _, err := records.Clusters.Get(tx, cache.Key(region, id))
			if err != nil {
				return err
			}
			k.Node.Ready = ready
			return records.Clusters.Put(tx, k.Key(), k)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ready("g-002", false)
	ready("third", false)
	_, err := w.Control.RebootCacheCluster(ctx, region, "g-001", []string{"0001"})
	if !cache.IsFault(err, "InvalidCacheClusterState") || !strings.Contains(err.Error(), "no replica has its data") {
		t.Errorf("a primary whose replicas have nothing: %v", err)
	}
	ready("third", true)
	if _, err := w.Control.RebootCacheCluster(ctx, region, "g-001", []string{"0001"}); err != nil {
		t.Error(err)
	}
	if _, err := w.Control.RebootCacheCluster(ctx, region, "third", []string{"0001"}); !cache.IsFault(err, "InvalidCacheClusterState") {
		t.Errorf("the replica that is to lead meanwhile: %v", err)
	}
}

// TestRestoreWithoutItsParameterGroup: a snapshot whose parameter group is gone is
// restored with the default group, in the mode that it was taken in.
func TestRestoreWithoutItsParameterGroup(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	for _, mode := range []string{"no", "yes"} {
		newParameterGroup(t, w, "mine-"+mode, "redis7", control.NewValue{Name: "cluster-enabled", Value: mode})
		in := group("g-"+mode, 1)
		in.ParameterGroup, in.AutomaticFailover = "mine-"+mode, mode == "yes"
		if mode == "yes" {
			in.Nodes = nil
		}
		if _, err := w.Control.CreateReplicationGroup(ctx, region, in); err != nil {
			t.Fatal(err)
		}
		if err := w.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Control.DeleteReplicationGroup(ctx, region, in.ID, "s-"+mode); err != nil {
			t.Fatal(err)
		}
		if err := w.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		if err := w.Control.DeleteCacheParameterGroup(ctx, region, "mine-"+mode); err != nil {
			t.Fatal(err)
		}
		in.ParameterGroup, in.SnapshotName = "", "s-"+mode
		g, err := w.Control.CreateReplicationGroup(ctx, region, in)
		if err != nil {
			t.Fatal(err)
		}
		want := "default.redis7"
		if mode == "yes" {
			want += ".cluster.on"
		}
		if g.ParameterGroup != want || g.ClusterEnabled != (mode == "yes") {
			t.Errorf("cluster-enabled %s: %s, %v", mode, g.ParameterGroup, g.ClusterEnabled)
		}
	}
}
