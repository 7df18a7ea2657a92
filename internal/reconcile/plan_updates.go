package reconcile

import (
	"slices"
	"time"

	"holdfast.dev/internal/cache"
)

// actMinor begins the change to a newer minor, or to a newer build of the same version, that
// nobody has asked for; target: the unit.
const actMinor Kind = "minor"

const week = 7 * 24 * time.Hour

// minors begins it in the maintenance window of a unit with AutoMinorVersionUpgrade, once in
// each: what fails is tried again a week later.
func (p *planner) minors() {
	s, to := p.v.settings(), p.v.Newest
	if !s.AutoMinorVersionUpgrade || !s.Pending.Empty() || p.v.upgrade() != nil || !p.v.outdated(to) {
		return
	}
	w, ok := cache.ParseWeeklyWindow(s.MaintenanceWindow)
	if !ok {
		return
	}
	inside, next := w.At(p.now)
	if !inside || !s.MinorTried.Before(next.Add(-week)) {
		p.again(next)
		return
	}
	if p.v.status() == cache.StatusAvailable && !p.v.engaged() && p.up() {
		p.do(Action{Kind: actMinor, Target: p.v.key()})
	}
}

// outdated tells whether a unit is to become what is newest: a node of it is of an older
// build, and none of a newer one. A minor that its nodes already are, and that it only has
// another name for, changes nothing but what somebody has written into a template.
func (v *View) outdated(to cache.Successor) bool {
	s := v.settings()
	if to.Build == "" || !cache.FollowsMinors(s.Engine, s.EngineVersion) || !v.clustered() && !cache.TakesAddresses(to.Build) {
		return false
	}
	newer := func(m cache.CacheCluster) bool { return cache.NewerBuild(m.Node.Build, to.Build) }
	older := func(m cache.CacheCluster) bool { return cache.NewerBuild(to.Build, m.Node.Build) }
	return slices.ContainsFunc(v.Members, older) && !slices.ContainsFunc(v.Members, newer)
}
