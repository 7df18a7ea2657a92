package reconcile

import "holdfast.dev/internal/cache"

// reboots ends the processes of nodes that are to be rebooted. What follows is what
// follows every end: a replica with the data leads before a primary is started again,
// so that it cannot come back empty and empty the others. Unlike with ElastiCache the
// reboot of a primary that has replicas is therefore a failover, and loses nothing.
func (p *planner) reboots() {
	for i := range p.v.Members {
		m := &p.v.Members[i]
		switch {
		case m.Reboot == nil || m.Deletion != nil || m.Departed:
		case !m.Reboot.Stopped && p.v.mayStop(m):
			p.do(Action{Kind: actReboot, Target: m.Key()})
		case m.Reboot.Stopped && isReady(m) && !p.unsure(m):
			p.do(Action{Kind: actRebooted, Target: m.Key()})
		}
	}
}

// mayStop tells whether nothing is lost but what a lone node loses: a primary needs
// a replica with its data, if it has any at all.
func (v *View) mayStop(m *cache.CacheCluster) bool {
	s := v.shardOf(m)
	return m.Node.Process == nil || !s.leads(m) || len(s.replicas()) == 0 || len(s.readyReplicas()) > 0
}
