package reconcile

import (
	"maps"

	"holdfast.dev/internal/cache"
)

// parameters sees to it that every node that serves runs with its parameter group's
// values, as far as an engine takes them while it runs. A cache that is being created
// is started with them. Commands that are blocked are taken away with the rights of the
// users, before it is said that the node has its parameters.
func (p *planner) parameters() {
	if p.v.status() == cache.StatusCreating {
		return
	}
	for i := range p.v.Members {
		m := &p.v.Members[i]
		if isReady(m) && m.Deletion == nil && !m.Departed && m.CommandsTold() && untold(m) {
			p.do(Action{Kind: actParameters, Target: m.Key()})
		}
	}
}

// untold tells whether a node runs with other values than its parameter group has, or
// may do so.
func untold(m *cache.CacheCluster) bool {
	live, _ := m.SplitParameters()
	return m.Node.Parameters.Unsure || !maps.Equal(live, m.Node.Parameters.Told)
}
