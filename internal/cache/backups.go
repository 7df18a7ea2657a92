package cache

import (
	"regexp"
	"strconv"
	"time"
)

// AutomaticBackups is what is remembered of the daily backups of a group, or of
// a cluster that stands alone. What is owed follows from it and the clock.
type AutomaticBackups struct {
	// Since is when backups were turned on or their window was moved: a window
	// that was over by then owes nothing. Zero means since the creation.
	Since time.Time `json:",omitzero"`
	// Window is the beginning of the last window whose backup was begun: at Began,
	// as the snapshot of that name.
	Window   time.Time `json:",omitzero"`
	Began    time.Time `json:",omitzero"`
	Snapshot string    `json:",omitempty"`
	// Told is the beginning of the last window that an event said was over without a backup.
	Told time.Time `json:",omitzero"`
}

// DailyWindow is a stretch of every day, UTC, in minutes. It may go on over midnight.
type DailyWindow struct{ From, Length int }

const minutesADay = 24 * 60

var dailyRE = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])$`)

// ParseDailyWindow reads "hh24:mi-hh24:mi"; false if it is nothing of the kind. A
// window that ends when it begins has no length.
func ParseDailyWindow(s string) (DailyWindow, bool) {
	m := dailyRE.FindStringSubmatch(s)
	if m == nil {
		return DailyWindow{}, false
	}
	minutes := func(hour, minute string) int {
		h, _ := strconv.Atoi(hour) // the pattern lets digits through only
		n, _ := strconv.Atoi(minute)
		return 60*h + n
	}
	from, to := minutes(m[1], m[2]), minutes(m[3], m[4])
	return DailyWindow{From: from, Length: (to - from + minutesADay) % minutesADay}, true
}

// Last returns the beginning of the latest window that began at or before a time.
func (w DailyWindow) Last(at time.Time) time.Time {
	y, m, d := at.UTC().Date()
	begin := time.Date(y, m, d, 0, w.From, 0, 0, time.UTC)
	if begin.After(at) {
		begin = begin.AddDate(0, 0, -1)
	}
	return begin
}

// AutomaticName names the automatic backup of a group, cluster or member that
// begins at a time.
func AutomaticName(id string, at time.Time) string {
	return "automatic." + id + at.UTC().Format("-2006-01-02-15-04")
}

// SnapshotOfGroup begins the record of a snapshot with what it keeps of its group.
func SnapshotOfGroup(g *ReplicationGroup) Snapshot {
	return Snapshot{
		Region: g.Region, GroupID: g.ID, GroupDescription: g.Description, NodeGroups: g.NodeGroups,
		Settings: g.Settings, AutomaticFailover: g.AutomaticFailover, SourceCreatedAt: g.CreatedAt,
	}
}

// SnapshotOfMember does so for a member of a group that is asked for by name.
func SnapshotOfMember(g *ReplicationGroup, k *CacheCluster) Snapshot {
	s := SnapshotOfGroup(g)
	s.ClusterID, s.Zone, s.SourceCreatedAt = k.ID, k.Zone, k.CreatedAt
	return s
}

// SnapshotOfCluster does so for a cluster that stands alone.
func SnapshotOfCluster(k *CacheCluster) Snapshot {
	return Snapshot{
		Region: k.Region, ClusterID: k.ID, Settings: k.Settings, Zone: k.Zone, SourceCreatedAt: k.CreatedAt,
	}
}
