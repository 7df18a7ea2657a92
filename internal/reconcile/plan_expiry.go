package reconcile

import (
	"strings"
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

// keeping is what PlanExpiry has to know about a snapshot; nothing if it is not automatic.
func (w *world) keeping(s *cache.Snapshot) keeping {
	if !automatic(s) {
		return keeping{}
	}
	unit := sourceKey(s)
	source, of := w.backupSource(unit), w.standing(unit)
	k := keeping{
		Orphan:     source == nil || !s.SourceCreatedAt.Equal(source.created),
		Superseded: of.newest.After(s.CreatedAt),
		Copied:     len(w.copies[s.Key()]) > 0,
	}
	best := complete(s)
	if of.newest.IsZero() {
		best = s.CreatedAt.Equal(of.filed)
	}
	k.Last = !k.Orphan && !k.Superseded && source.on && best
	return k
}

// standing is when the newest automatic snapshots of a unit were begun: of those that are
// complete, and of those that have files.
type standing struct{ newest, filed time.Time }

func (w *world) standing(unit string) (out standing) {
	for key := range w.taken[unit] {
		s := w.snapshot(key)
		if !automatic(s) {
			continue
		}
		if complete(s) {
			out.newest = later(out.newest, s.CreatedAt)
		}
		if len(s.Shards) > 0 {
			out.filed = later(out.filed, s.CreatedAt)
		}
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

// backupSource is nil for a unit that is not there.
func (w *world) backupSource(unit string) *backupSource {
	kind, key, _ := strings.Cut(unit, " ")
	if g := w.group(key); kind == "group" && g != nil {
		return &backupSource{g.CreatedAt, g.SnapshotRetention > 0 && g.Deletion == nil}
	}
	if c, ok := w.clusters[key]; kind == "cluster" && ok && c.GroupID == "" {
		return &backupSource{c.CreatedAt, c.SnapshotRetention > 0 && c.Deletion == nil}
	}
	return nil
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
