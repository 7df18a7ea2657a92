package reconcile

import (
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// world is everything that is planned: a copy of the records that is kept from one look
// to the next, and of which only what has changed is read again. What is derived from
// several records is looked up in index.go. Whoever plans changes nothing here.
type world struct {
	groups    []cache.ReplicationGroup // in no order, as are snapshots
	clusters  map[string]cache.CacheCluster
	snapshots []cache.Snapshot
	steps     map[string]map[string]cache.Step // by unit, by action id

	groupAt, snapshotAt map[string]int    // by key
	unitOf              map[string]string // of a step, by its id
	taken               index             // snapshots by what they were taken of
	copies              index             // snapshots that are being made, by what they are copies of
	backups             int               // automatic snapshots that are being taken

	// touched are the units that have to be planned again.
	touched map[string]bool
	// arrived are the clusters that were read since it was last emptied.
	arrived []string
}

func newWorld() *world {
	return &world{
		clusters: map[string]cache.CacheCluster{}, steps: map[string]map[string]cache.Step{},
		groupAt: map[string]int{}, snapshotAt: map[string]int{}, unitOf: map[string]string{},
		taken: index{}, copies: index{}, touched: map[string]bool{},
	}
}

// Units are named by kind and key.
func groupUnit(key string) string    { return "group " + key }
func clusterUnit(key string) string  { return "cluster " + key }
func snapshotUnit(key string) string { return "snapshot " + key }

// tables are those that a world is made of.
func tables() []string {
	return []string{
		records.Groups.Prefix(""), records.Clusters.Prefix(""), records.Snapshots.Prefix(""), records.Steps.Prefix(""),
	}
}

// refresh brings the world to the state that tx sees.
func (w *world) refresh(tx *store.Tx, track *store.Tracker) error {
	refs, ok := track.Changed(tx)
	if !ok {
		return w.read(tx)
	}
	for _, ref := range refs {
		if err := w.readOne(tx, ref); err != nil {
			return err
		}
	}
	return nil
}

// read makes the world anew of all records.
func (w *world) read(tx *store.Tx) error {
	before := w.touched
	*w = *newWorld()
	for unit := range before {
		w.touch(unit)
	}
	w.touch(scrubUnit)
	return errorsOf(
		each(tx, records.Groups, w.putGroup),
		each(tx, records.Clusters, w.putCluster),
		each(tx, records.Snapshots, w.putSnapshot),
		each(tx, records.Steps, func(_ string, s *cache.Step) { w.putStep(s.ID, s) }),
	)
}

func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

func each[T any](tx *store.Tx, t store.Table[T], put func(key string, v *T)) error {
	for item, err := range t.Scan(tx, "", "") {
		if err != nil {
			return err
		}
		put(item.Key, &item.Value)
	}
	return nil
}

// readOne reads one record again; one that is gone is put as nil.
func (w *world) readOne(tx *store.Tx, ref store.Ref) error {
	switch ref.Table + "/" {
	case records.Groups.Prefix(""):
		return again(tx, records.Groups, ref.Key, w.putGroup)
	case records.Clusters.Prefix(""):
		return again(tx, records.Clusters, ref.Key, w.putCluster)
	case records.Snapshots.Prefix(""):
		return again(tx, records.Snapshots, ref.Key, w.putSnapshot)
	}
	return again(tx, records.Steps, ref.Key, w.putStep)
}

func again[T any](tx *store.Tx, t store.Table[T], key string, put func(key string, v *T)) error {
	v, ok, err := t.Get(tx, key)
	switch {
	case err != nil:
		return err
	case ok:
		put(key, &v)
	default:
		put(key, nil)
	}
	return nil
}

func (w *world) touch(unit string) { w.touched[unit] = true }

// touchAll has everything planned again.
func (w *world) touchAll() {
	for key := range w.groupAt {
		w.touch(groupUnit(key))
	}
	for key := range w.clusters {
		w.touchCluster(key)
	}
	for key := range w.snapshotAt {
		w.touch(snapshotUnit(key))
	}
	w.touch(scrubUnit)
}

// takeArrived returns the clusters that were read since the last call.
func (w *world) takeArrived() []cache.CacheCluster {
	var out []cache.CacheCluster
	for _, key := range w.arrived {
		if c, ok := w.clusters[key]; ok {
			out = append(out, c)
		}
	}
	w.arrived = nil
	return out
}

// group is nil for one that is not there, as is snapshot.
func (w *world) group(key string) *cache.ReplicationGroup {
	if i, ok := w.groupAt[key]; ok {
		return &w.groups[i]
	}
	return nil
}

func (w *world) snapshot(key string) *cache.Snapshot {
	if i, ok := w.snapshotAt[key]; ok {
		return &w.snapshots[i]
	}
	return nil
}

func (w *world) members(g *cache.ReplicationGroup) []cache.CacheCluster {
	nodes := g.Nodes()
	out := make([]cache.CacheCluster, 0, len(nodes))
	for _, id := range nodes {
		if c, ok := w.clusters[cache.Key(g.Region, id)]; ok {
			out = append(out, c)
		}
	}
	return out
}

// snapshotsOf are those that are taken of a unit, and the final one of its deletion.
func (w *world) snapshotsOf(unit string, members []cache.CacheCluster) []cache.Snapshot {
	keys := w.taken.of(unit)
	if strings.HasPrefix(unit, groupUnit("")) {
		for i := range members {
			keys = append(keys, w.taken.of(clusterUnit(members[i].Key()))...)
		}
	}
	slices.Sort(keys)
	var out []cache.Snapshot
	for _, key := range keys {
		if s := w.snapshot(key); s.CopyOf == "" && s.Import == nil && !s.Deleting {
			out = append(out, *s)
		}
	}
	return out
}
