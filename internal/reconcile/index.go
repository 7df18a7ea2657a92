package reconcile

import "holdfast.dev/internal/cache"

// index keeps, by a name, the keys of what belongs to it.
type index map[string]map[string]bool

func (x index) add(name, key string) {
	if x[name] == nil {
		x[name] = map[string]bool{}
	}
	x[name][key] = true
}

func (x index) remove(name, key string) {
	delete(x[name], key)
	if len(x[name]) == 0 {
		delete(x, name)
	}
}

func (x index) of(name string) []string {
	out := make([]string, 0, len(x[name]))
	for key := range x[name] {
		out = append(out, key)
	}
	return out
}

// putInto puts a record into a slice whose places are kept by key, or with nil takes it
// away. keyOf is the key that a record stands under.
func putInto[T any](all *[]T, at map[string]int, key string, keyOf func(*T) string, v *T) {
	i, there := at[key]
	switch last := len(*all) - 1; {
	case v != nil && there:
		(*all)[i] = *v
	case v != nil:
		at[key] = len(*all)
		*all = append(*all, *v)
	case there:
		(*all)[i] = (*all)[last]
		at[keyOf(&(*all)[i])] = i
		delete(at, key)
		var none T
		(*all)[last] = none
		*all = (*all)[:last]
	}
}

// putGroup puts a group as it is now, nil for one that is gone, and touches what depends
// on it. So do the others for what they are named after.
func (w *world) putGroup(key string, g *cache.ReplicationGroup) {
	unit := groupUnit(key)
	before := w.backupSource(unit)
	putInto(&w.groups, w.groupAt, key, (*cache.ReplicationGroup).Key, g)
	w.touch(unit)
	w.touchBackups(unit, before)
}

func (w *world) putCluster(key string, c *cache.CacheCluster) {
	unit := clusterUnit(key)
	before := w.backupSource(unit)
	w.touchCluster(key) // the group that it was in
	if c == nil {
		delete(w.clusters, key)
		w.touch(unit)
	} else {
		w.clusters[key] = *c
		w.arrived = append(w.arrived, key)
	}
	w.touchCluster(key)
	w.touchBackups(unit, before)
}

// touchCluster touches the unit that a cluster belongs to.
func (w *world) touchCluster(key string) {
	switch c, ok := w.clusters[key]; {
	case !ok:
	case c.GroupID != "":
		w.touch(groupUnit(cache.Key(c.Region, c.GroupID)))
		w.touch(clusterUnit(key)) // which ends, if it was one
	default:
		w.touch(clusterUnit(key))
	}
}

// touchBackups touches the automatic snapshots of a unit when that has changed for them.
func (w *world) touchBackups(unit string, before *backupSource) {
	now := w.backupSource(unit)
	if before == nil && now == nil || before != nil && now != nil && before.created.Equal(now.created) && before.on == now.on {
		return
	}
	for key := range w.taken[unit] {
		w.touch(snapshotUnit(key))
	}
}

func (w *world) putSnapshot(key string, s *cache.Snapshot) {
	before := map[string]standing{}
	for _, of := range []*cache.Snapshot{w.snapshot(key), s} {
		if of != nil {
			before[sourceKey(of)] = w.standing(sourceKey(of))
		}
	}
	w.count(key, w.snapshot(key), -1)
	putInto(&w.snapshots, w.snapshotAt, key, (*cache.Snapshot).Key, s)
	w.count(key, s, +1)
	w.touch(snapshotUnit(key))
	w.touch(scrubUnit)
	for source, was := range before {
		if w.standing(source) == was {
			continue
		}
		for other := range w.taken[source] {
			w.touch(snapshotUnit(other))
		}
	}
}

// count adds a snapshot to what is kept of all, or takes it away, and touches the units
// of what it is taken from.
func (w *world) count(key string, s *cache.Snapshot, n int) {
	if s == nil {
		return
	}
	put := w.taken.add
	copied := w.copies.add
	if n < 0 {
		put, copied = w.taken.remove, w.copies.remove
	}
	source := sourceKey(s)
	put(source, key)
	w.touch(source)
	if s.GroupID == "" {
		w.touchCluster(cache.Key(s.Region, s.ClusterID))
	}
	if automatic(s) && s.Status == cache.StatusCreating {
		w.backups += n
	}
	if s.CopyOf != "" && s.Status == cache.StatusCreating {
		from := cache.Key(s.Region, s.CopyOf)
		copied(from, key)
		w.touch(snapshotUnit(from))
	}
}

func (w *world) putStep(id string, s *cache.Step) {
	if unit, ok := w.unitOf[id]; ok {
		w.touch(unit)
		delete(w.steps[unit], id)
		delete(w.unitOf, id)
		if len(w.steps[unit]) == 0 {
			delete(w.steps, unit)
		}
	}
	if s == nil {
		return
	}
	if w.steps[s.Unit] == nil {
		w.steps[s.Unit] = map[string]cache.Step{}
	}
	w.steps[s.Unit][id], w.unitOf[id] = *s, s.Unit
	w.touch(s.Unit)
}
