package reconcile

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
)

// nodes sees to it that every member's process runs and has been told the right things.
func (p *planner) nodes(wants map[string]want) {
	for _, s := range p.v.shards() {
		if p.handsOver(s) || p.promote(s) {
			continue
		}
		for _, m := range s.Members {
			p.node(s, m, wants)
		}
		if m := s.Primary; m != nil && p.v.seeding(s) && m.Node.Process != nil && m.Node.Ready {
			p.do(Action{Kind: actVerify, Target: m.Key()})
		}
	}
}

func (p *planner) node(s shard, m *cache.CacheCluster, wants map[string]want) {
	if p.succeed(m) {
		return
	}
	if p.exchanging(s, m) {
		return
	}
	w := p.v.attainable(m, wants[m.ID])
	due := !w.told(&m.Node) || p.unsure(m)
	switch {
	case m.Node.Process == nil:
		p.bringUp(s, m)
	case due && !p.v.turn(s, m, wants):
		// What it waits for ends with another look.
	case due:
		p.do(Action{Kind: actConfigure, Target: m.Key()})
	case !m.Node.Ready:
		p.do(Action{Kind: actReady, Target: m.Key()})
	}
}

func (p *planner) unsure(m *cache.CacheCluster) bool { return p.v.unsure(m) }

// bringUp starts a member that does not run: its seed first, replicas after
// their primary, and one that keeps dying ever more slowly.
func (p *planner) bringUp(s shard, m *cache.CacheCluster) {
	if s.leads(m) {
		if p.v.unseeded(s) {
			p.do(Action{Kind: actSeed, Target: p.v.seedTarget()})
			return
		}
		if p.heirsOnTheWay(s) {
			return
		}
	} else if !p.v.led(s) || !s.Primary.Node.Ready {
		return // it would only knock at a closed door, or at the wrong one: see turn
	}
	if !s.leads(m) && m.Node.Next != nil && !p.changing() {
		return // that comes in its place, or goes first
	}
	if _, due := p.becomes(s, m); due {
		if start := (Action{Kind: actStart, Target: m.Key()}).ID(); p.v.InFlight[start] {
			p.d.Cancel = append(p.d.Cancel, start) // as what it was
			return
		}
		p.do(Action{Kind: actConvert, Target: m.Key()})
		return
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
	a := Action{Kind: actPromote, Target: p.v.shardTarget(s)}
	if p.v.InFlight[a.ID()] {
		return true // it chooses, tells the chosen one, and nobody else moves meanwhile
	}
	if !p.v.orphaned(s) {
		return false
	}
	if s.Primary != nil {
		// A start that was planned before a replica had its data would bring the
		// primary back empty.
		start := Action{Kind: actStart, Target: s.Primary.Key()}.ID()
		if p.v.InFlight[start] {
			p.d.Cancel = append(p.d.Cancel, start)
			return true
		}
	}
	p.do(a)
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
