package reconcile

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
)

// nodes sees to it that every member's process runs and has been told the right things.
func (p *planner) nodes(wants map[string]want) {
	for _, s := range p.v.shards() {
		if p.promote(s) {
			continue
		}
		for _, m := range s.Members {
			p.node(s, m, wants[m.ID])
		}
		if m := s.Primary; m != nil && p.v.seeding(s) && m.Node.Process != nil && m.Node.Ready {
			p.do(Action{Kind: actVerify, Target: m.Key()})
		}
	}
}

func (p *planner) node(s shard, m *cache.CacheCluster, w want) {
	switch {
	case m.Node.Process == nil:
		p.bringUp(s, m)
	case (!w.told(&m.Node) || p.unsure(m)) && p.bindable(m, w):
		p.do(Action{Kind: actConfigure, Target: m.Key()})
	case !m.Node.Ready:
		p.do(Action{Kind: actReady, Target: m.Key()})
	}
}

// unsure tells whether an attempt to tell the node something was cut short or
// failed: then it may know anything, whatever it was told before.
func (p *planner) unsure(m *cache.CacheCluster) bool {
	_, open := p.v.Steps[Action{Kind: actConfigure, Target: m.Key()}.ID()]
	return open
}

// bringUp starts a member that does not run: its seed first, replicas after
// their primary, and one that keeps dying ever more slowly.
func (p *planner) bringUp(s shard, m *cache.CacheCluster) {
	if s.leads(m) {
		if p.v.unseeded(s) {
			p.do(Action{Kind: actSeed, Target: p.v.seedTarget()})
			return
		}
	} else if s.Primary == nil || !s.Primary.Node.Ready {
		return // it would only knock at a closed door
	}
	n := &m.Node
	if at := proc.DefaultBackoff.Next(n.Failures, n.ExitedAt, p.now); at.After(p.now) {
		p.again(at)
		return
	}
	p.do(Action{Kind: actStart, Target: m.Key()})
}

// promote hands the lead of a shard to a replica when its primary is gone and a
// replica has the data. This comes before any restart.
func (p *planner) promote(s shard) bool {
	if !p.v.orphaned(s) {
		return false
	}
	p.do(Action{Kind: actPromote, Target: p.v.shardTarget(s)})
	return true
}

// bindable tells whether the addresses that a node is to take are free of
// other holders: those let go first.
func (p *planner) bindable(m *cache.CacheCluster, w want) bool {
	for _, host := range w.Binds {
		at := cache.Address{Host: host, Port: m.Node.Address.Port}
		if _, taken := p.v.Forwards[at]; taken {
			return false
		}
		for i := range p.v.Members {
			o := &p.v.Members[i]
			if o.ID != m.ID && o.Node.Process != nil && holds(&o.Node, host) {
				return false
			}
		}
	}
	return true
}

func holds(n *cache.Node, host string) bool {
	for _, b := range n.Binds {
		if b == host {
			return true
		}
	}
	return false
}
