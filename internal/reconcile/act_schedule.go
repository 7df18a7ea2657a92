package reconcile

import (
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// backup begins the automatic backup of a window: the record of the snapshot, the
// mark on what it is taken of, and that the window has had its backup are written
// together, so that a crash leaves one or none begun, and never two.
func (r *Runner) backup(v *View, a Action) outcome {
	return func(tx *store.Tx) error {
		u, err := reread(tx, v)
		if err != nil || u == nil || u.status() != cache.StatusAvailable || u.deletion() != nil {
			return err // it has changed since this was planned
		}
		t, on := u.timetable()
		if !on {
			return nil
		}
		now := r.Now()
		if o, due, _ := t.at(now); !due || !o.window.Equal(a.Window) {
			return nil
		}
		m, ready := u.backupSource()
		if !ready {
			return nil
		}
		s, err := u.automaticSnapshot(tx, m)
		if err != nil {
			return err
		}
		s.Name, s.CreatedAt = cache.AutomaticName(s.Name, now), now
		_, taken, err := records.Snapshots.Get(tx, s.Key())
		if err == nil && taken {
			err = fmt.Errorf("there is a snapshot %s already", s.Name) // the next minute has another name
		}
		if err != nil {
			return err
		}
		if err := records.Snapshots.Put(tx, s.Key(), *s); err != nil {
			return err
		}
		_, _, auto := u.backups()
		auto.Window, auto.Began, auto.Snapshot = a.Window, now, s.Name
		return u.markSnapshotting(tx, s.ClusterID)
	}
}

// reread reads a unit once more, in the transaction that changes it; nil if it is gone.
func reread(tx *store.Tx, v *View) (*View, error) {
	u := &View{}
	if v.Group != nil {
		g, ok, err := records.Groups.Get(tx, v.Group.Key())
		if err != nil || !ok {
			return nil, err
		}
		u.Group = &g
	}
	for i := range v.Members {
		c, ok, err := records.Clusters.Get(tx, v.Members[i].Key())
		if err != nil {
			return nil, err
		}
		if ok {
			u.Members = append(u.Members, c)
		}
	}
	if len(u.Members) == 0 {
		return nil, nil
	}
	_, _, auto := u.backups()
	s, ok, err := records.Snapshots.Get(tx, cache.Key(u.region(), auto.Snapshot))
	if ok {
		u.Snapshots = []cache.Snapshot{s}
	}
	return u, err
}

// automaticSnapshot begins the record; its name is that of its source as yet. m is
// the member that is read, nil in cluster mode.
func (v *View) automaticSnapshot(tx *store.Tx, m *cache.CacheCluster) (*cache.Snapshot, error) {
	var s cache.Snapshot
	switch {
	case v.Group == nil:
		s = cache.SnapshotOfCluster(m)
		s.Name = m.ID
	case m == nil:
		s = cache.SnapshotOfGroup(v.Group)
		s.Name = v.Group.ID
	default:
		s = cache.SnapshotOfMember(v.Group, m)
		s.Name, s.SourceCreatedAt = m.ID, v.Group.CreatedAt // by which one knows whose it is
	}
	s.Source, s.Status, s.Tags = cache.SourceAutomated, cache.StatusCreating, nil
	var err error
	s.VpcID, err = records.VpcOf(tx, s.Region, s.SubnetGroup)
	return &s, err
}

// markSnapshotting marks the unit, and the member that is read, as being backed up.
func (v *View) markSnapshotting(tx *store.Tx, member string) error {
	for i := range v.Members {
		m := &v.Members[i]
		if m.ID != member && member != "" {
			continue
		}
		if m.Status == cache.StatusAvailable {
			m.Status = cache.StatusSnapshotting
		}
		if err := records.Clusters.Put(tx, m.Key(), *m); err != nil {
			return err
		}
	}
	if v.Group == nil {
		return nil
	}
	v.Group.Status = cache.StatusSnapshotting
	return records.Groups.Put(tx, v.Group.Key(), *v.Group)
}

// missed tells that a window has passed without a backup, and why.
func (r *Runner) missed(v *View, a Action) outcome {
	return func(tx *store.Tx) error {
		u, err := reread(tx, v)
		if err != nil || u == nil {
			return err
		}
		settings, _, auto := u.backups()
		if sameDayOrAfter(auto.Told, a.Window) && auto.Told.Before(r.Now().Add(day)) {
			return nil
		}
		auto.Told = a.Window
		if err := u.put(tx); err != nil {
			return err
		}
		why := fmt.Sprintf("its status was %s", u.status())
		if u.status() == cache.StatusAvailable {
			why = "no node of it was ready"
		}
		return r.unitEvent(tx, u, "The snapshot window %s of %s passed without an automatic backup: %s; it is taken as soon as it can be",
			settings.SnapshotWindow, a.Window.UTC().Format("2006-01-02"), why)
	}
}

// put writes the unit's own record.
func (v *View) put(tx *store.Tx) error {
	if v.Group != nil {
		return records.Groups.Put(tx, v.Group.Key(), *v.Group)
	}
	return records.Clusters.Put(tx, v.Members[0].Key(), v.Members[0])
}

// expire takes an automatic snapshot out of use; its files go next.
func (r *Runner) expire(s cache.Snapshot) outcome {
	return func(tx *store.Tx) error {
		s, ok, err := records.Snapshots.Get(tx, s.Key())
		if err != nil || !ok || s.Deleting || inUse(&s) {
			return err // something is made of it since this was planned
		}
		busy, err := beingCopied(tx, &s)
		if err != nil || busy {
			return err
		}
		s.Deleting, s.Status = true, cache.StatusDeleting
		return records.Snapshots.Put(tx, s.Key(), s)
	}
}

func beingCopied(tx *store.Tx, s *cache.Snapshot) (bool, error) {
	for o, err := range records.Snapshots.Peek(tx, records.InRegion(s.Region)) {
		if err != nil {
			return false, err
		}
		if o.CopyOf == s.Name && o.Status == cache.StatusCreating {
			return true, nil
		}
	}
	return false, nil
}
