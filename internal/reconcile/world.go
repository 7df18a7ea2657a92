package reconcile

import (
	"context"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// world is everything that is planned, read in one transaction.
type world struct {
	groups    []cache.ReplicationGroup
	clusters  map[string]cache.CacheCluster
	snapshots []cache.Snapshot
	steps     map[string]map[string]cache.Step // by unit, by action id
}

// unit is what Plan is asked about: its name stands in the steps.
type unit struct {
	name string
	plan func(now time.Time) Decision
}

// Units are named by kind and key.
func groupUnit(key string) string    { return "group " + key }
func clusterUnit(key string) string  { return "cluster " + key }
func snapshotUnit(key string) string { return "snapshot " + key }

func (r *Runner) load(ctx context.Context) (*world, error) {
	w := &world{clusters: map[string]cache.CacheCluster{}, steps: map[string]map[string]cache.Step{}}
	err := r.DB.View(ctx, func(tx *store.Tx) error { return w.read(tx) })
	return w, err
}

func (w *world) read(tx *store.Tx) (err error) {
	if w.groups, err = records.Groups.List(tx, ""); err != nil {
		return err
	}
	clusters, err := records.Clusters.List(tx, "")
	if err != nil {
		return err
	}
	for _, c := range clusters {
		w.clusters[c.Key()] = c
	}
	if w.snapshots, err = records.Snapshots.List(tx, ""); err != nil {
		return err
	}
	steps, err := records.Steps.List(tx, "")
	if err != nil {
		return err
	}
	for _, s := range steps {
		if w.steps[s.Unit] == nil {
			w.steps[s.Unit] = map[string]cache.Step{}
		}
		w.steps[s.Unit][s.ID] = s
	}
	return nil
}

// units lists what there is to plan.
func (w *world) units(running map[string]map[string]bool, forwards map[cache.Address][]cache.Address, rebind func(string) bool) []unit {
	var out []unit
	taken := w.snapshotsBySource()
	add := func(name string, v View) {
		v.Steps, v.InFlight, v.Forwards = w.steps[name], running[name], forwards
		v.Snapshots = taken[name]
		v.CanRebind = map[string]bool{}
		for i := range v.Members {
			b := v.Members[i].Node.Build
			v.CanRebind[b] = rebind(b)
		}
		out = append(out, unit{name, func(now time.Time) Decision { return Plan(v, now) }})
	}
	for i := range w.groups {
		g := &w.groups[i]
		add(groupUnit(g.Key()), View{Group: g, Members: w.members(g)})
	}
	for key, c := range w.clusters {
		if c.GroupID == "" {
			add(clusterUnit(key), View{Members: []cache.CacheCluster{c}})
		}
	}
	kept := w.keepings()
	for _, s := range w.snapshots {
		name := snapshotUnit(s.Key())
		out = append(out, unit{name, func(now time.Time) Decision {
			d := PlanSnapshot(s, w.steps[name], running[name], now)
			return d.and(PlanExpiry(s, kept[s.Key()], w.steps[name], running[name], now))
		}})
	}
	out = append(out, unit{scrubUnit, func(now time.Time) Decision {
		return PlanScrub(w.snapshots, w.steps[scrubUnit], running[scrubUnit], isMoving(running), now)
	}})
	return out
}

func (w *world) members(g *cache.ReplicationGroup) []cache.CacheCluster {
	out := make([]cache.CacheCluster, 0, len(g.Members))
	for _, id := range g.Members {
		if c, ok := w.clusters[cache.Key(g.Region, id)]; ok {
			out = append(out, c)
		}
	}
	return out
}

// snapshotsBySource gives each unit the snapshots that are taken of it, and the
// final one of its deletion.
func (w *world) snapshotsBySource() map[string][]cache.Snapshot {
	out := map[string][]cache.Snapshot{}
	for _, s := range w.snapshots {
		if s.CopyOf != "" || s.Import != nil || s.Deleting {
			continue
		}
		if name := w.sourceUnit(&s); name != "" {
			out[name] = append(out[name], s)
		}
	}
	return out
}

func (w *world) sourceUnit(s *cache.Snapshot) string {
	if s.GroupID != "" {
		return groupUnit(cache.Key(s.Region, s.GroupID))
	}
	c, ok := w.clusters[cache.Key(s.Region, s.ClusterID)]
	switch {
	case !ok:
		return ""
	case c.GroupID != "":
		return groupUnit(cache.Key(s.Region, c.GroupID))
	}
	return clusterUnit(c.Key())
}
