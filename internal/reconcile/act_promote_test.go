package reconcile

import (
	"testing"
	"time"

	"holdfast.dev/internal/cache"
)

func TestTheFreshestReplicaLeads(t *testing.T) {
	at := func(id string, down time.Duration, offset int64) candidate {
		return candidate{m: &cache.CacheCluster{ID: id}, h: cache.Health{LinkDown: down, Offset: offset}}
	}
	for _, c := range []struct {
		name string
		all  []candidate
		want string
	}{
		{"the only one", []candidate{at("a", time.Hour, 0)}, "a"},
		{"who has seen the most", []candidate{at("a", 0, 10), at("b", time.Second, 12), at("c", time.Second, 11)}, "b"},
		{"not one that counts another history", []candidate{at("a", time.Minute, 99), at("b", time.Second, 12)}, "b"},
		{"nor one that never followed", []candidate{at("a", cache.NeverLinked, 99), at("b", time.Minute, 12)}, "b"},
	} {
		if got := freshest(c.all); got.m.ID != c.want {
			t.Errorf("%s: %s leads, want %s", c.name, got.m.ID, c.want)
		}
	}
}

func TestAReplicaThatHeardNothingOfAPrimaryThatLivedIsStale(t *testing.T) {
	now := time.Now()
	r := &Runner{Config: Config{Now: func() time.Time { return now }}, began: now.Add(-time.Hour)}
	for _, c := range []struct {
		dead, down, want time.Duration
	}{
		{0, time.Second, 0},
		{time.Minute, time.Minute, 0},
		{0, 5 * time.Minute, 5 * time.Minute},
		{time.Minute, 5 * time.Minute, 4 * time.Minute},
		{0, 2 * time.Hour, 0}, // whether the primary lived then was seen by nobody
	} {
		old := &cache.CacheCluster{Node: cache.Node{ExitedAt: now.Add(-c.dead)}}
		if got := r.staleness(old, cache.Health{LinkDown: c.down}); got != c.want {
			t.Errorf("dead for %v, link down for %v: stale by %v, want %v", c.dead, c.down, got, c.want)
		}
	}
}

// A primary that keeps its data on disk leads again where its replicas had lost it.
func TestAPrimaryWithItsOwnFilesIsPreferredToStaleReplicas(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.group("g", 2, nil)
	w := b.read()
	g, old, replica := w.groups[0], w.clusters["r/g-001"], w.clusters["r/g-002"]
	replica.Node.Process, replica.Node.Ready = &cache.Process{PID: 1}, true
	g.Status = cache.StatusAvailable
	v := &View{Group: &g, Members: []cache.CacheCluster{old, replica}}
	r := New(Config{DB: b.db, Now: time.Now})
	b.update(r.leaveToPrimary(v, v.shards()[0]))
	if n := b.read().clusters["r/g-001"].Node; !n.Heirless {
		t.Errorf("the primary may not be started: %+v", n)
	}
	v.Members[0].Node.Heirless, v.Members[1].Node.Ready = true, false
	if v.orphaned(v.shards()[0]) {
		t.Error("it would be replaced all the same")
	}
	b.wantEvent("Primary node g-001 is started again from its own files")
}
