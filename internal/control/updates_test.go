package control_test

import (
	"context"
	"fmt"
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

// install has another build serve versions of Redis, and looks at what is installed anew.
func install(t *testing.T, w *controltest.World, build string, versions ...string) {
	t.Helper()
	for i := range w.Engines {
		if v := &w.Engines[i]; v.Engine == cache.Redis && slices.Contains(versions, v.Asked) {
			v.Build = build
		}
	}
	noteBuilds(t, w)
}

func noteBuilds(t *testing.T, w *controltest.World) {
	t.Helper()
	if err := w.Control.NoteBuilds(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// updates are the service updates, a line each.
func updates(t *testing.T, w *controltest.World, f control.UpdateFilter) string {
	t.Helper()
	all, err := w.Control.DescribeServiceUpdates(t.Context(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, u := range all {
		out = append(out, fmt.Sprintf("%s %s %s %s>%s %s", u.Name, u.Engine, u.EngineVersion, u.Former, u.Build, u.Status))
	}
	return strings.Join(out, "\n")
}

// actions are the update actions of the region, a line each.
func actions(t *testing.T, w *controltest.World, f control.UpdateFilter) string {
	t.Helper()
	all, err := w.Control.DescribeUpdateActions(t.Context(), region, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range all {
		line := fmt.Sprintf("%s %s %s %d/%d met=%s", a.Update, a.ID, a.Status, a.Updated(), len(a.Nodes), a.Met)
		for _, n := range a.Nodes {
			line += " " + n.ClusterID + "=" + n.Status
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if want = strings.TrimSpace(strings.ReplaceAll(want, "\t", "")); got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

func outcomes(all []control.UpdateOutcome, err error) string {
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, o := range all {
		said := o.Status
		if o.Fault != nil {
			said = o.Fault.Error()
		}
		out = append(out, o.ID+": "+said)
	}
	return strings.Join(out, "\n")
}

func apply(ctx context.Context, w *controltest.World, name, group, cluster string) string {
	return outcomes(w.Control.BatchApplyUpdateAction(ctx, region, batch(name, group, cluster)))
}

func stop(ctx context.Context, w *controltest.World, name, group, cluster string) string {
	return outcomes(w.Control.BatchStopUpdateAction(ctx, region, batch(name, group, cluster)))
}

func batch(name, group, cluster string) control.UpdateBatch {
	return control.UpdateBatch{Name: name, Groups: strings.Fields(group), Clusters: strings.Fields(cluster)}
}

// first is the name of the first update of these tests.
func first(w *controltest.World) string { return "elc-" + w.Now().UTC().Format("20060102") + "-001" }

func TestServiceUpdates(t *testing.T) {
	w := newWorld(t, nil, nil)
	noteBuilds(t, w)
	wantText(t, "at first", updates(t, w, control.UpdateFilter{}), "")
	day := strings.TrimSuffix(first(w), "001")
	install(t, w, "redis-7.0.16", "7.0", "7.1")
	noteBuilds(t, w) // the next start finds nothing new
	wantText(t, "a newer build", updates(t, w, control.UpdateFilter{}), day+"001 redis 7.0 redis-7.0.15>redis-7.0.16 available")
	wantText(t, "its actions", actions(t, w, control.UpdateFilter{}), `
		`+day+`001 alone not-applied 0/1 met=n/a alone=not-applied
		`+day+`001 g not-applied 0/2 met=n/a g-001=not-applied g-002=not-applied
		`+day+`001 shards not-applied 0/4 met=n/a shards-0001-001=not-applied shards-0001-002=not-applied shards-0002-001=not-applied shards-0002-002=not-applied`)
	if said := events(t, w, "g-002"); !slices.Contains(said, "Service update is available for cache node 0001.") {
		t.Errorf("the events of g-002 are %q", said)
	}
	// It is cumulative: the next takes its place.
	w.Pass(24 * time.Hour)
	install(t, w, "redis-7.0.17", "7.0")
	wantText(t, "a still newer one", updates(t, w, control.UpdateFilter{Statuses: []string{"expired"}}), day+"001 redis 7.0 redis-7.0.15>redis-7.0.16 expired")
	wantText(t, "actions of the one that has expired", actions(t, w, control.UpdateFilter{Name: day + "001"}), "")
	// What is taken away again is nobody's update, and comes back as the same one.
	install(t, w, "redis-7.0.15", "7.0")
	wantText(t, "taken away", updates(t, w, control.UpdateFilter{Name: first(w)}), first(w)+" redis 7.0 redis-7.0.16>redis-7.0.17 cancelled")
	wantText(t, "its actions", actions(t, w, control.UpdateFilter{}), "")
	install(t, w, "redis-7.0.17", "7.0")
	wantText(t, "back", updates(t, w, control.UpdateFilter{Name: first(w)}), first(w)+" redis 7.0 redis-7.0.15>redis-7.0.17 available")
	_, err := w.Control.DescribeServiceUpdates(t.Context(), control.UpdateFilter{Name: "elc-none"}, nil)
	if !cache.IsFault(err, "ServiceUpdateNotFoundFault") {
		t.Errorf("of an unknown one: %v", err)
	}
}

// TestUpdatesOfOldCaches: where nothing was noted before, the caches tell what served.
func TestUpdatesOfOldCaches(t *testing.T) {
	w := newWorld(t, nil, nil)
	install(t, w, "redis-7.0.16", "7.0", "7.1")
	wantText(t, "updates", updates(t, w, control.UpdateFilter{}), first(w)+" redis 7.0 redis-7.0.15>redis-7.0.16 available")
}

func TestApplyUpdate(t *testing.T) {
	w := newWorld(t, nil, nil)
	noteBuilds(t, w)
	install(t, w, "redis-7.0.16", "7.0")
	name := first(w)
	wantText(t, "apply", apply(t.Context(), w, name, "g none", "alone g-001"), `
		g: waiting-to-start
		none: ReplicationGroupNotFoundFault: ReplicationGroup none not found.
		alone: waiting-to-start
		g-001: InvalidParameterValue: Cache cluster g-001 is a member of replication group g. Name the group in ReplicationGroupIds.`)
	wantText(t, "waiting", actions(t, w, control.UpdateFilter{Groups: []string{"g"}}), name+" g waiting-to-start 0/2 met=n/a g-001=waiting-to-start g-002=waiting-to-start")
	wantText(t, "by status", actions(t, w, control.UpdateFilter{Actions: []string{"waiting-to-start"}, Clusters: []string{"alone", "g"}}), name+" alone waiting-to-start 0/1 met=n/a alone=waiting-to-start")
	wantText(t, "again", apply(t.Context(), w, name, "g", ""),
		"g: InvalidReplicationGroupState: Replication group must be in available state to modify. Replication group g has status modifying.")
	shown, err := w.Control.DescribeCacheClusters(t.Context(), region, "g-001", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Control.ShowPending(t.Context(), shown); err != nil || shown[0].Pending.EngineVersion != "" {
		t.Errorf("%v; it shows %+v as pending", err, shown[0].Pending)
	}
	settled(t, w)
	wantText(t, "complete", actions(t, w, control.UpdateFilter{Groups: []string{"g"}}), name+" g complete 2/2 met=yes g-001=complete g-002=complete")
	if k := kindOf(t, w, "g"); k.EngineVersion != "7.0" {
		t.Errorf("it is %+v", k)
	}
	wantText(t, "once more", apply(t.Context(), w, name, "g", ""),
		"g: InvalidParameterValue: Service update "+name+" is not applicable to replication group g: its nodes have it.")
}

func TestApplyUpdateRefuses(t *testing.T) {
	w := newWorld(t, nil, nil)
	noteBuilds(t, w)
	install(t, w, "redis-7.0.16", "7.0")
	name := first(w)
	many := strings.Repeat("g ", 21)
	for what, got := range map[string]string{
		"ServiceUpdateNotFoundFault: Service update elc-none not found.":                                          apply(t.Context(), w, "elc-none", "g", ""),
		"InvalidParameterCombination: At least one of ReplicationGroupIds and CacheClusterIds must be provided.":  apply(t.Context(), w, name, "", ""),
		"InvalidParameterValue: The parameter ReplicationGroupIds must not name more than 20 replication groups.": apply(t.Context(), w, name, many, ""),
		"InvalidParameterValue: The parameter CacheClusterIds must not name more than 20 cache clusters.":         apply(t.Context(), w, name, "", many),
		"g: InvalidParameterValue: Service update " + name + " is not being applied to replication group g.":      stop(t.Context(), w, name, "g", ""),
		"InvalidParameterValue: The parameter ServiceUpdateName must be provided and must not be null.":           apply(t.Context(), w, "", "g", ""),
	} {
		wantText(t, what, got, what)
	}
	if err := modify(t, w, "g", false, control.Same{Engine: cache.Valkey, EngineVersion: "8.1"}, ""); err != nil {
		t.Fatal(err)
	}
	wantText(t, "pending", apply(t.Context(), w, name, "g", ""), "g: InvalidParameterCombination: The modification of replication group g "+
		"to engine version valkey 8.1 is pending and would be overtaken. Apply it or cancel it first.")
	w.Memory.Free = 1 << 20
	full := newWorld(t, memories{region + "/g-001": 64 << 20}, nil)
	noteBuilds(t, full)
	install(t, full, "redis-7.0.16", "7.0")
	full.Memory.Free = 1 << 20
	if got := apply(t.Context(), full, first(full), "g", ""); !strings.HasPrefix(got, "g: InsufficientCacheClusterCapacity: ") {
		t.Errorf("without memory: %s", got)
	}
}

// TestRedis6CannotBeUpdatedInPlace: it cannot take up an address while it runs. In cluster
// mode no node has to.
func TestRedis6CannotBeUpdatedInPlace(t *testing.T) {
	w := newWorld(t, nil, nil)
	_, err := w.Control.CreateReplicationGroup(t.Context(), region, control.NewGroup{
		ID: "six", Nodes: new(2), Asked: control.Asked{Engine: cache.Redis, EngineVersion: "6.0", NodeType: "cache.t3.small"},
	})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	noteBuilds(t, w)
	install(t, w, "redis-6.0.20", "6.0")
	if got := apply(t.Context(), w, first(w), "six", ""); !strings.Contains(got, "cannot take over the address of another one") {
		t.Errorf("it says %q", got)
	}
}

func TestStopUpdate(t *testing.T) {
	w := newWorld(t, nil, nil)
	noteBuilds(t, w)
	install(t, w, "redis-7.0.16", "7.0")
	name := first(w)
	// Before it has begun.
	apply(t.Context(), w, name, "g", "")
	wantText(t, "stop", stop(t.Context(), w, name, "g", ""), "g: stopped")
	if err := modify(t, w, "g", false, control.Same{NodeType: "cache.t3.medium"}, ""); err != nil {
		t.Errorf("it cannot be changed afterwards: %v", err)
	}
	if err := modify(t, w, "g", false, control.Same{NodeType: "cache.t3.small"}, ""); err != nil {
		t.Error(err)
	}
	settled(t, w)
	wantText(t, "stopped", actions(t, w, control.UpdateFilter{Groups: []string{"g"}}), name+" g stopped 0/2 met=n/a g-001=stopped g-002=stopped")
	// When one node has it.
	apply(t.Context(), w, name, "g", "")
	halfway(t, w)
	wantText(t, "halfway", actions(t, w, control.UpdateFilter{Groups: []string{"g"}}), name+" g in-progress 1/2 met=n/a g-001=waiting-to-start g-002=complete")
	wantText(t, "stop", stop(t.Context(), w, name, "g", ""), "g: stopping")
	wantText(t, "stopping", actions(t, w, control.UpdateFilter{Groups: []string{"g"}}), name+" g stopping 1/2 met=n/a g-001=stopping g-002=complete")
	wantText(t, "stop again", stop(t.Context(), w, name, "g", ""), "g: stopping")
	w.Pass(61 * 24 * time.Hour)
	if got := actions(t, w, control.UpdateFilter{Groups: []string{"g"}}); !strings.Contains(got, "met=no") {
		t.Errorf("after its time: %s", got)
	}
}

// halfway has the update of g be under way, with its second node replaced.
func halfway(t *testing.T, w *controltest.World) {
	t.Helper()
	err := w.DB.Update(t.Context(), func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, cache.Key(region, "g"))
		if err != nil {
			return err
		}
		from := g.Kind("redis-7.0.15")
		to := from
		to.Build = "redis-7.0.16"
		g.Pending, g.Upgrade = nil, &cache.Upgrade{From: from, To: to, StartedAt: w.Now()}
		k, _, err := records.Clusters.Get(tx, cache.Key(region, "g-002"))
		if err != nil {
			return err
		}
		k.Node.Build = to.Build
		if err := records.Clusters.Put(tx, k.Key(), k); err != nil {
			return err
		}
		return records.Groups.Put(tx, g.Key(), g)
	})
	if err != nil {
		t.Fatal(err)
	}
}
