package control

import (
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Change is what ModifyReplicationGroup and ModifyCacheCluster have in common.
// Zero values and nil mean that nothing was said. What replaces or resizes nodes waits for
// the maintenance window unless Immediately; all else is applied at once in any case.
type Change struct {
	SnapshotRetention                 *int
	SnapshotWindow, MaintenanceWindow string
	// NotificationTopicARN of "" takes the topic away.
	NotificationTopicARN    *string
	NotificationTopicStatus string
	AutoMinorVersionUpgrade *bool
	SecurityGroupIDs        []string
	// ParameterGroup is the parameter group that is to be used from now on.
	ParameterGroup string
	// Same is what is named of engine, version and node type, often only as it is already.
	Same Same
	// Immediately is ApplyImmediately.
	Immediately bool
	// Memcached is for that engine alone, which can be given another version and node type too.
	Memcached MemcachedChange
}

// Same are settings that a request names, to change them or as they are.
type Same struct{ Engine, EngineVersion, NodeType, IPDiscovery string }

// check checks what can be said without looking anywhere.
func (c *Change) check(region string) error {
	if err := checkRetention(c.SnapshotRetention); err != nil {
		return err
	}
	if arn := orElse(c.NotificationTopicARN, ""); arn != "" {
		if err := checkTopic(region, arn); err != nil {
			return err
		}
	}
	if s := c.NotificationTopicStatus; s != "" && s != "active" && s != "inactive" {
		return invalid("The parameter NotificationTopicStatus must be active or inactive. Provided value: %s", s)
	}
	if slices.Contains(c.SecurityGroupIDs, "") {
		return invalid("The parameter SecurityGroupIds must not hold an empty id.")
	}
	return nil
}

// check holds what is named against what there is.
func (s *Same) check(now *cache.Settings, build string) error {
	version := presentVersion(s.EngineVersion, now.EngineVersion, build)
	for _, c := range []struct {
		member, asked, present string
		equal                  bool
	}{
		{"Engine", s.Engine, now.Engine, lower(s.Engine) == now.Engine},
		{"EngineVersion", s.EngineVersion, now.EngineVersion, version},
		{"CacheNodeType", s.NodeType, now.NodeType, s.NodeType == now.NodeType},
		{"IpDiscovery", s.IPDiscovery, now.IPDiscovery, s.IPDiscovery == now.IPDiscovery},
	} {
		if c.asked != "" && !c.equal {
			return unchangeable(c.member, c.asked, c.present)
		}
	}
	return nil
}

// presentVersion tells whether a version, as the API takes or shows it, is the one that
// there is: "7.0", "7.0.15" of the build, or "6.2.0" where that is of another version.
func presentVersion(asked, now, build string) bool {
	_, full, _ := strings.Cut(build, "-")
	return asked == now || asked == full && strings.HasPrefix(full+".", now+".") || asked == now+".0"
}

// unchangeable refuses a change that is not built.
func unchangeable(member, asked, present string) error {
	return invalid("The parameter %s asks for a change from %s to %s, which is not supported by this endpoint yet. Leave it out.", member, present, asked)
}

// apply changes the settings, and what is remembered of the automatic backups
// where those are turned on or moved. The notes tell what is kept without effect.
func (c *Control) apply(in *Change, to *cache.Settings, auto *cache.AutomaticBackups) (notes []string, err error) {
	before := *to
	to.SnapshotRetention = orElse(in.SnapshotRetention, to.SnapshotRetention)
	to.AutoMinorVersionUpgrade = orElse(in.AutoMinorVersionUpgrade, to.AutoMinorVersionUpgrade)
	if t, ok := cache.FindNodeType(to.NodeType); ok && !t.Snapshots && to.SnapshotRetention > 0 {
		return nil, conflict("%s SnapshotRetentionLimit must be 0.", noSnapshots(to.NodeType))
	}
	if err := in.windows(to); err != nil {
		return nil, err
	}
	on := before.SnapshotRetention == 0 && to.SnapshotRetention > 0
	if on || before.SnapshotWindow != to.SnapshotWindow {
		auto.Since = c.Now()
	}
	if in.NotificationTopicARN != nil {
		to.NotificationTopicARN = *in.NotificationTopicARN
	}
	if to.NotificationTopicARN != "" && (to.NotificationTopicARN != before.NotificationTopicARN || in.NotificationTopicStatus == "active") {
		notes = append(notes, topicNote(to.NotificationTopicARN))
	}
	if len(in.SecurityGroupIDs) > 0 && !slices.Equal(in.SecurityGroupIDs, to.SecurityGroupIDs) {
		to.SecurityGroupIDs = slices.Clone(in.SecurityGroupIDs)
		notes = append(notes, securityGroupsNote(to.SecurityGroupIDs))
	}
	return notes, nil
}

// windows moves the windows that are asked for. They must not overlap the other
// one, be that new or old.
func (c *Change) windows(to *cache.Settings) error {
	if c.SnapshotWindow == "" && c.MaintenanceWindow == "" {
		return nil
	}
	snapshot, maintenance := to.SnapshotWindow, to.MaintenanceWindow
	if c.SnapshotWindow != "" {
		snapshot = c.SnapshotWindow
	}
	if c.MaintenanceWindow != "" {
		maintenance = c.MaintenanceWindow
	}
	s, err := parseSnapshotWindow(snapshot)
	if err != nil {
		return err
	}
	m, err := parseMaintenanceWindow(maintenance)
	if err != nil {
		return err
	}
	if overlap(s, m) {
		return errOverlap()
	}
	to.SnapshotWindow, to.MaintenanceWindow = formatDaily(s), formatWeekly(m)
	return nil
}

// keepFor has the automatic snapshots of a group or cluster kept for another
// number of days. When backups are turned off, each stays for as long as it was to.
func keepFor(tx *store.Tx, region, group, cluster string, days int) error {
	if days == 0 {
		return nil
	}
	all, err := records.Snapshots.List(tx, records.InRegion(region))
	if err != nil {
		return err
	}
	for _, s := range all {
		of := s.GroupID == group && (group != "" || s.ClusterID == cluster)
		if !of || s.Source != cache.SourceAutomated || s.SnapshotRetention == days {
			continue
		}
		s.SnapshotRetention = days
		if err := records.Snapshots.Put(tx, s.Key(), s); err != nil {
			return err
		}
	}
	return nil
}

// modifiable tells whether a cache of this status can be modified: while it is
// backed up, too.
func modifiable(s cache.Status) bool {
	return s == cache.StatusAvailable || s == cache.StatusSnapshotting
}
