package reconcile

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// pending begins what was put off until the maintenance window, or is not to wait for it:
// because somebody said so, or because a node has failed and had to be started anew
// anyway. It begins once all nodes are up, and nothing else is being done with them.
func (p *planner) pending() {
	w := p.v.settings().Pending
	if w.Empty() || p.v.upgrade() != nil {
		return
	}
	if !w.Now && !p.opportune() {
		return
	}
	a := Action{Kind: actBegin, Target: p.v.key()}
	status := p.v.status()
	if status != cache.StatusAvailable && (status != cache.StatusModifying || !w.Now) || p.v.engaged() {
		return
	}
	if reason, over := p.crippled(); over && w.Now {
		a.Reason = reason
		p.do(a)
		return
	}
	if p.up() {
		p.do(a)
	}
}

// engaged tells whether something else is being done to the unit, or to a node of it.
func (v *View) engaged() bool {
	if g := v.Group; g != nil && (g.Change != nil || g.Resharding != nil || g.Test != nil || g.TransitChange != nil) {
		return true
	}
	return slices.ContainsFunc(v.Members, func(m cache.CacheCluster) bool { return m.Reboot != nil || m.Deletion != nil })
}

// opportune tells whether it is the maintenance window. A node that has failed hastens
// what waits.
func (p *planner) opportune() bool {
	for i := range p.v.Members {
		if p.v.Members[i].Node.Recovering {
			p.do(Action{Kind: actHasten, Target: p.v.key()})
			return false
		}
	}
	w, ok := cache.ParseWeeklyWindow(p.v.settings().MaintenanceWindow)
	if !ok {
		return false
	}
	inside, next := w.At(p.now)
	if !inside {
		p.again(next)
	}
	return inside
}

// up tells whether every node is up and knows all that it was told.
func (p *planner) up() bool {
	for i := range p.v.Members {
		if m := &p.v.Members[i]; !isReady(m) || p.unsure(m) {
			return false
		}
	}
	return true
}

// crippled tells whether a node does not come up, and why.
func (p *planner) crippled() (string, bool) {
	for i := range p.v.Members {
		m := &p.v.Members[i]
		if reason, over := p.outOfReach(m); over && !isReady(m) {
			return m.ID + " does not come up: " + reason, true
		}
	}
	return "", false
}

// settings are those of the group, or of the cluster that stands alone.
func (v *View) settings() *cache.Settings {
	if v.Group != nil {
		return &v.Group.Settings
	}
	return &v.Members[0].Settings
}
