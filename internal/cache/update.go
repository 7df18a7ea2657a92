package cache

import (
	"strings"
	"time"
)

// The states of a service update, and of what is done with it to a cache or a node.
const (
	UpdateAvailable = "available"
	UpdateCancelled = "cancelled" // its build is not installed any more
	UpdateExpired   = "expired"   // a newer one has taken its place

	UpdateNotApplied    = "not-applied"
	UpdateWaiting       = "waiting-to-start"
	UpdateInProgress    = "in-progress"
	UpdateStopping      = "stopping"
	UpdateStopped       = "stopped"
	UpdateComplete      = "complete"
	UpdateScheduled     = "scheduled" // it waits for the maintenance window
	UpdateNotApplicable = "not-applicable"

	// Who began one.
	ByCustomer, BySystem = "customer", "system"
)

// What is said of every service update. What a build brings nobody tells us: it is taken
// for a middling one, which is to be applied within 60 days.
const (
	UpdateType      = "engine-update"
	UpdateSeverity  = "medium"
	UpdateTakes     = "30 minutes per node"
	updateApplyTime = 60 * 24 * time.Hour
)

// ServiceUpdate is an installed build that has taken the place of an older one which served
// the same engine version.
type ServiceUpdate struct {
	Name                         string // "elc-20261121-001"
	Engine, EngineVersion, Build string
	// Former is the build before it.
	Former string
	// ReleasedAt is when it was first seen, EndedAt when it was no longer available.
	ReleasedAt time.Time
	EndedAt    time.Time `json:",omitzero"`
	Status     string
}

// ApplyBy is when it should have been applied.
func (u *ServiceUpdate) ApplyBy() time.Time { return u.ReleasedAt.Add(updateApplyTime) }

// Serves tells whether it is about the engine version of a cache.
func (u *ServiceUpdate) Serves(s *Settings) bool {
	return u.Engine == s.Engine && u.EngineVersion == s.EngineVersion
}

// Updates tells whether a change of all nodes is this update and nothing else.
func (u *ServiceUpdate) Updates(x *Upgrade) bool {
	return x != nil && x.Patch() && x.To.Engine == u.Engine && x.To.EngineVersion == u.EngineVersion && x.To.Build == u.Build
}

// Patch tells whether nothing but the build changes.
func (u *Upgrade) Patch() bool {
	to := u.From
	to.Build = u.To.Build
	return to.Same(u.To)
}

// Begins tells whether what is pending is this update and nothing else.
func (u *ServiceUpdate) Begins(s *Settings) bool {
	p := s.Pending
	return !p.Empty() && p.Patch(s) && p.Build == u.Build && u.Serves(s)
}

// Patch tells whether what is pending is another build of the version that there is.
func (p *Pending) Patch(s *Settings) bool {
	return p != nil && p.Engine == s.Engine && p.EngineVersion == s.EngineVersion && p.NodeType == ""
}

// NewerBuild tells whether a build is a newer one of the same engine than another.
func NewerBuild(build, than string) bool {
	engine, version, _ := strings.Cut(build, "-")
	other, old, ok := strings.Cut(than, "-")
	return ok && engine == other && CompareVersions(version, old) > 0
}

// TakesAddresses tells whether a build can take an address up while it runs, which a node
// has to that replaces another one without cluster mode.
func TakesAddresses(build string) bool {
	engine, version, _ := strings.Cut(build, "-")
	return engine == Valkey || engine == Redis && CompareVersions(version, "7.0") >= 0
}

// Successor is what a cache of some version is to become by itself: see AutoMinorVersionUpgrade.
type Successor struct{ EngineVersion, Build string }

// FollowsMinors tells whether caches of a version may be given the next minor by themselves.
func FollowsMinors(engine, version string) bool {
	return engine == Redis && CompareVersions(version, "6.0") >= 0 || engine == Valkey && CompareVersions(version, "7.2") >= 0
}

// UpdateAction is what was done with a service update to one cache. How far it is its nodes
// tell.
type UpdateAction struct {
	Update, Region, ID string
	Group              bool
	// CacheCreatedAt tells the cache from another one of the same name.
	CacheCreatedAt time.Time
	// By began it last, at BegunAt.
	By      string
	BegunAt time.Time
	// One at most is set: when all nodes had been replaced, when it was stopped, and why
	// it failed.
	CompletedAt time.Time `json:",omitzero"`
	StoppedAt   time.Time `json:",omitzero"`
	Failed      string    `json:",omitempty"`
	// ChangedAt is when any of this was last written.
	ChangedAt time.Time
}
