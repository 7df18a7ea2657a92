package reconcile

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// upgrade is the one that is under way; nil for none.
func (v *View) upgrade() *cache.Upgrade {
	if v.Group != nil {
		return v.Group.Upgrade
	}
	return v.Members[0].Upgrade
}

// resize has a member that needs no other build be told while it runs what it is to be:
// how much data it may hold, and the values of its parameter group. It tells whether that
// is still to be done, or waits for its turn; until then nothing else is to be done with
// the member for the upgrade's sake, and the upgrade cannot end. Of an upgrade that has
// Failed such members go back to what they were, in the same way.
func (p *planner) resize(m *cache.CacheCluster) bool {
	to, due := p.v.resizedTo(m)
	if !due {
		// One that is being told may have to be told the contrary afterwards.
		return p.v.InFlight[Action{Kind: actResize, Target: m.Key()}.ID()]
	}
	if isReady(m) && p.instructed(m) && p.v.mayResize(m, to) {
		p.do(Action{Kind: actResize, Target: m.Key()})
	}
	return true
}

// instructed tells whether a member knows its role and its addresses, and is not being
// told anything: with whatever it is told goes the limit of its memory, as it was known
// when that began.
func (p *planner) instructed(m *cache.CacheCluster) bool {
	w := p.v.attainable(m, p.v.wants(p.v.endpoints())[m.ID])
	busy := p.v.InFlight[Action{Kind: actConfigure, Target: m.Key()}.ID()] || p.v.InFlight[Action{Kind: actParameters, Target: m.Key()}.ID()]
	return w.told(&m.Node) && !p.unsure(m) && !busy
}

// waitsForResize tells whether a has to wait for the resize of the same node, which is
// broken off where a is the more urgent.
func (p *planner) waitsForResize(a Action) bool {
	if a.Kind != actConfigure && a.Kind != actParameters {
		return false
	}
	resize := Action{Kind: actResize, Target: a.Target}.ID()
	if !p.v.InFlight[resize] {
		return slices.ContainsFunc(p.d.Do, func(b Action) bool { return b.ID() == resize })
	}
	if a.Kind == actConfigure && !slices.Contains(p.d.Cancel, resize) {
		p.d.Cancel = append(p.d.Cancel, resize)
	}
	return true
}

// resizedTo is what a member is to become by being told; false for nothing.
func (v *View) resizedTo(m *cache.CacheCluster) (cache.Kind, bool) {
	u := v.upgrade()
	if u == nil || m.Deletion != nil || m.Departed {
		return cache.Kind{}, false
	}
	to := u.To
	if u.Failed != "" {
		to = u.From
	}
	return to, to.Build == m.Node.Build && !to.Same(m.Kind(m.Node.Build))
}

// mayResize tells whether it is a member's turn. No replica may come to lead that holds
// less than its primary does: replicas grow first, and shrink last.
func (v *View) mayResize(m *cache.CacheCluster, to cache.Kind) bool {
	s := v.shardOf(m)
	if shrinks(m, to) {
		return s.leads(m) || s.Primary == nil || !v.toResize(s.Primary)
	}
	if !s.leads(m) {
		return true
	}
	for _, o := range s.replicas() {
		if v.toResize(o) {
			return false
		}
	}
	return true
}

func (v *View) toResize(m *cache.CacheCluster) bool {
	_, due := v.resizedTo(m)
	return due
}

// shrinks tells whether a member would hold less.
func shrinks(m *cache.CacheCluster, to cache.Kind) bool {
	now := m.Kind(m.Node.Build)
	return to.Holds() < now.Holds()
}
