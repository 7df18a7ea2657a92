package reconcile

import (
	"time"

	"holdfast.dev/internal/cache"
)

// keeping is what the other records say about an automatic snapshot.
type keeping struct {
	// Orphan: what it was taken of is gone.
	Orphan bool
	// Last: no other complete one of its source is newer, and backups are on. Where none is
	// complete, it is the newest that has files: what was found damaged may be mended.
	Last bool
	// Superseded: a newer one of its source is complete.
	Superseded bool
	// Copied: a copy of it is being made.
	Copied bool
}

// PlanExpiry says whether an automatic snapshot is to go, and when to look again.
// It goes after as many days as it is kept for, and with what it was taken of;
// never while something is made of it. The last complete one stays until the next
// is complete, so that days without a backup do not end with none at all.
func PlanExpiry(s cache.Snapshot, k keeping, steps map[string]cache.Step, inFlight map[string]bool, now time.Time) Decision {
	p := planner{v: &View{Steps: steps, InFlight: inFlight}, now: now}
	a := Action{Kind: actExpire, Target: s.Key()}
	over := s.CreatedAt.Add(time.Duration(s.SnapshotRetention) * day)
	switch {
	case s.Source != cache.SourceAutomated || s.Deleting || k.Copied || inUse(&s):
	case k.Orphan, neverTaken(&s) && k.Superseded:
		p.do(a)
	case s.Status == cache.StatusCreating, k.Last:
	case over.After(now):
		p.again(over)
	default:
		p.do(a)
	}
	return p.d
}

// neverTaken tells a backup that came to nothing from one that was found damaged
// later, which may be mended and stays for its days.
func neverTaken(s *cache.Snapshot) bool { return s.Status == cache.StatusFailed && len(s.Shards) == 0 }

func inUse(s *cache.Snapshot) bool { return len(s.Restores) > 0 || len(s.Exports) > 0 }

// keepings gathers, by snapshot, what PlanExpiry has to know of the automatic ones.
func (w *world) keepings() map[string]keeping {
	sources := w.backupSources()
	copied := map[string]bool{}
	newest, filed := map[string]time.Time{}, map[string]time.Time{}
	for i := range w.snapshots {
		s := &w.snapshots[i]
		if s.CopyOf != "" && s.Status == cache.StatusCreating {
			copied[cache.Key(s.Region, s.CopyOf)] = true
		}
		if !automatic(s) {
			continue
		}
		from := sourceKey(s)
		if complete(s) {
			newest[from] = later(newest[from], s.CreatedAt)
		}
		if len(s.Shards) > 0 {
			filed[from] = later(filed[from], s.CreatedAt)
		}
	}
	out := map[string]keeping{}
	for i := range w.snapshots {
		s := &w.snapshots[i]
		if !automatic(s) {
			continue
		}
		from := sourceKey(s)
		source, there := sources[from]
		k := keeping{Orphan: !there || !s.SourceCreatedAt.Equal(source.created), Copied: copied[s.Key()]}
		k.Superseded = newest[from].After(s.CreatedAt)
		best := complete(s)
		if newest[from].IsZero() {
			best = s.CreatedAt.Equal(filed[from])
		}
		k.Last = !k.Orphan && !k.Superseded && source.on && best
		out[s.Key()] = k
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// backupSource is a group or a lone cluster as far as its backups are concerned.
type backupSource struct {
	created time.Time
	on      bool
}

// backupSources are by the name of the unit.
func (w *world) backupSources() map[string]backupSource {
	out := map[string]backupSource{}
	for i := range w.groups {
		g := &w.groups[i]
		out[groupUnit(g.Key())] = backupSource{g.CreatedAt, g.SnapshotRetention > 0 && g.Deletion == nil}
	}
	for key, c := range w.clusters {
		if c.GroupID == "" {
			out[clusterUnit(key)] = backupSource{c.CreatedAt, c.SnapshotRetention > 0 && c.Deletion == nil}
		}
	}
	return out
}

// sourceKey is the unit that a snapshot was taken of, there or not.
func sourceKey(s *cache.Snapshot) string {
	if s.GroupID != "" {
		return groupUnit(cache.Key(s.Region, s.GroupID))
	}
	return clusterUnit(cache.Key(s.Region, s.ClusterID))
}

func automatic(s *cache.Snapshot) bool {
	return s.Source == cache.SourceAutomated && s.CopyOf == "" && !s.Deleting
}

func complete(s *cache.Snapshot) bool {
	return s.Status == cache.StatusAvailable || s.Status == cache.StatusRestoring || s.Status == cache.StatusCopying
}
