package reconcile

import (
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
)

// schedule has the automatic backup of the day begun. One that cannot be taken,
// because the unit or its nodes are not in a state for it, waits: late is better
// than never, and an event says when its window has passed.
func (p *planner) schedule() {
	t, on := p.v.timetable()
	if !on || p.v.deletion() != nil || p.v.status() == cache.StatusCreating {
		return
	}
	o, due, again := t.at(p.now)
	p.again(again)
	if !due {
		return
	}
	if p.v.status() == cache.StatusAvailable {
		if _, ready := p.v.backupSource(); ready {
			p.do(Action{Kind: actBackup, Target: p.v.key(), Window: o.window})
			return
		}
	}
	if o.late {
		p.do(Action{Kind: actMissed, Target: p.v.key(), Window: o.window})
	} else if p.now.Before(o.over) {
		p.again(o.over)
	}
}

// timetable is that of the unit; false if it has no automatic backups.
func (v *View) timetable() (timetable, bool) {
	settings, created, auto := v.backups()
	w, ok := cache.ParseDailyWindow(settings.SnapshotWindow)
	if settings.SnapshotRetention <= 0 || !ok {
		return timetable{}, false
	}
	t := newTimetable(v.key(), w, created, auto)
	s := v.snapshot(auto.Snapshot)
	t.failed = s != nil && s.Status == cache.StatusFailed
	return t, true
}

func (v *View) backups() (*cache.Settings, time.Time, *cache.AutomaticBackups) {
	if v.Group != nil {
		return &v.Group.Settings, v.Group.CreatedAt, &v.Group.Automatic
	}
	m := &v.Members[0]
	return &m.Settings, m.CreatedAt, &m.Automatic
}

// backupSource is the node that an automatic backup names: the one that was
// chosen for it, else a replica, else the primary, whichever is ready. In cluster
// mode none is named, and each shard has to have one that is ready.
func (v *View) backupSource() (*cache.CacheCluster, bool) {
	if v.clustered() {
		bare := slices.ContainsFunc(v.shards(), func(s shard) bool {
			return !slices.ContainsFunc(s.Members, isReady)
		})
		return nil, !bare
	}
	var candidates []*cache.CacheCluster
	if v.Group != nil {
		candidates = append(candidates, v.member(v.Group.SnapshottingCluster))
	}
	candidates = append(candidates, v.readyReplicas()...)
	candidates = append(candidates, v.primary())
	for _, m := range candidates {
		if m != nil && isReady(m) && m.Status == cache.StatusAvailable {
			return m, true
		}
	}
	return nil, false
}

// backupsAtOnce is how many automatic backups are under way at most: enough for
// those that move data and those that come next. All others that are owed, many
// after a night of downtime, leave their caches available as long as they wait.
const backupsAtOnce = 2 * maxTransfers

// backupRoom is how many automatic backups may be begun now.
type backupRoom int

func (n *backupRoom) take() bool {
	*n--
	return *n >= 0
}

func (w *world) backupRoom(running map[string]map[string]bool) backupRoom {
	n := backupsAtOnce - w.backups
	for _, flights := range running {
		for id := range flights {
			if strings.HasPrefix(id, string(actBackup)+" ") {
				n--
			}
		}
	}
	return backupRoom(n)
}
