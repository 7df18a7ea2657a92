package reconcile

import (
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
)

// members changes who is in a group that serves: nodes come, nodes go, another one
// leads because somebody said so, and a primary dies to test what follows.
func (p *planner) members() {
	g := p.v.Group
	if g == nil {
		return
	}
	if g.Test != nil {
		p.testFailover(g.Test)
	}
	if g.Change == nil {
		return
	}
	for i := range p.v.Members {
		switch m := &p.v.Members[i]; {
		case m.Departed:
			p.part(m)
		case p.v.shrinking(m): // it goes with its whole node group
		case p.v.leaving(m):
			p.leave(m)
		case g.Joining(m):
			p.join(m)
		}
	}
	p.handOver(g.Change)
	if p.v.settled() && p.inPlace() {
		p.do(Action{Kind: actSettle, Target: p.v.key()})
	}
}

// join ends the addition of a member once it has the data of its shard. It is started
// and told like any other; the reader endpoint takes it as soon as it is ready.
func (p *planner) join(m *cache.CacheCluster) {
	s := p.v.shardOf(m)
	reason, over := p.cannotCome(m)
	if !over && s.Primary != nil {
		reason, over = p.outOfReach(s.Primary) // it would wait for it for ever
	}
	switch {
	case over && !s.leads(m): // one that does has the only data
		p.do(Action{Kind: actCallOff, Target: m.Key(), Reason: reason})
	case isReady(m) && !p.v.unsure(m) && p.v.led(s):
		p.do(Action{Kind: actJoin, Target: m.Key()})
	}
}

// leaving tells whether a member is to go while its group stays.
func (v *View) leaving(m *cache.CacheCluster) bool {
	return v.Group != nil && v.Group.Change != nil && m.Leaving()
}

// needed tells whether a member that is to go may be the only one with the data: its
// primary is dead, or about to load what was put aside, which may fail.
func (v *View) needed(m *cache.CacheCluster) bool {
	s := v.shardOf(m)
	return v.orphaned(s) || m.Node.Process != nil && s.Primary != nil && s.Primary.Node.Parked
}

func (p *planner) cannotCome(m *cache.CacheCluster) (string, bool) {
	for _, k := range []Kind{actStart, actReady, actConfigure, actJoin} {
		if reason, over := exhausted(p.v.Steps, Action{Kind: k, Target: m.Key()}); over {
			return reason, true
		}
	}
	return "", false
}

// leave has a member that is to go stop being one, after its final snapshot and once
// no endpoint leads to it any more. One that has come to lead meanwhile stays.
func (p *planner) leave(m *cache.CacheCluster) {
	stay := Action{Kind: actCallOff, Target: m.Key()}
	switch s := p.v.shardOf(m); {
	case s.leads(m):
		stay.Reason = "it is the primary"
		p.do(stay)
		return
	case p.v.needed(m), p.v.InFlight[Action{Kind: actPromote, Target: p.v.shardTarget(s)}.ID()]:
		return // it may be the one that takes over
	}
	if name := m.Deletion.FinalSnapshot; name != "" {
		switch s := p.v.snapshot(name); {
		case s == nil || s.Status == cache.StatusFailed:
			stay.Reason = "its final snapshot " + name + " failed"
			p.do(stay)
			return
		case s.Status == cache.StatusCreating:
			return
		}
	}
	if !p.answers(m) && !p.busy(m) {
		p.do(Action{Kind: actLeave, Target: m.Key()})
	}
}

// answers tells whether clients may still come to a member through an endpoint.
func (p *planner) answers(m *cache.CacheCluster) bool {
	for _, at := range p.v.addresses() {
		if slices.Contains(p.v.Forwards[at], m.Node.Address) {
			return true
		}
	}
	return m.Node.Process != nil && (len(m.Node.Binds) > 0 || p.v.unsure(m))
}

// busy tells whether anything is being done with a member.
func (p *planner) busy(m *cache.CacheCluster) bool {
	for id := range p.v.InFlight {
		if strings.HasSuffix(id, " "+m.Key()) {
			return true
		}
	}
	return false
}

// part ends the process of a member that has departed, then what others know of it. A
// node whose start began before may have been given the former list of nodes, so that
// no start may be under way.
func (p *planner) part(m *cache.CacheCluster) {
	starting := false
	for id := range p.v.InFlight {
		starting = starting || strings.HasPrefix(id, string(actStart)+" ")
	}
	switch {
	case !m.Node.Gone && !p.busy(m):
		p.do(Action{Kind: actRemove, Target: m.Key()})
	case m.Node.Gone && !starting:
		p.do(Action{Kind: actPart, Target: m.Key()})
	}
}

// handOver has the primary of a group without cluster mode follow the member that is
// to lead. That one is told as after any failover.
func (p *planner) handOver(c *cache.MemberChange) {
	to := p.v.member(c.Promote)
	s := p.v.shards()[0]
	if to == nil || s.Primary == nil || s.leads(to) {
		return
	}
	a := p.demotion()
	reason, over := exhausted(p.v.Steps, a)
	if !over {
		reason, over = p.outOfReach(to)
	}
	switch {
	case over:
		p.do(Action{Kind: actCallOff, Target: to.Key(), Reason: reason})
	case p.v.InFlight[a.ID()] && p.v.orphaned(s):
		p.d.Cancel = append(p.d.Cancel, a.ID())
	case p.v.InFlight[Action{Kind: actConfigure, Target: s.Primary.Key()}.ID()]:
		// It would be told to lead while it is told to follow.
	case isReady(s.Primary) && p.v.led(s) && isReady(to) && !p.v.unsure(to) && to.Node.Primary == s.Primary.Node.Address:
		p.do(a)
	}
}

func (p *planner) demotion() Action { return Action{Kind: actDemote, Target: p.v.key()} }

// handingOver tells that a primary is being made a replica, or is about to be. Nobody else
// may tell it anything meanwhile.
func (p *planner) handingOver() bool {
	id := p.demotion().ID()
	begins := slices.ContainsFunc(p.d.Do, func(a Action) bool { return a.ID() == id })
	return (begins || p.v.InFlight[id]) && !p.v.orphaned(p.v.shards()[0])
}

// inPlace tells whether every endpoint leads where it should, as far as nodes run.
func (p *planner) inPlace() bool {
	e := p.v.endpoints()
	wants := p.v.wants(e)
	for i := range p.v.Members {
		if m := &p.v.Members[i]; isReady(m) && (!wants[m.ID].told(&m.Node) || p.v.unsure(m)) {
			return false
		}
	}
	for _, at := range p.v.addresses() {
		if !slices.Equal(p.v.Forwards[at], e.forwards[at]) {
			return false
		}
	}
	return true
}

// settled tells whether a change of members is complete.
func (v *View) settled() bool {
	if v.Group.Resharding != nil {
		return false
	}
	for i := range v.Members {
		if m := &v.Members[i]; v.leaving(m) || v.Group.Joining(m) {
			return false
		}
	}
	c := v.Group.Change
	if c.Promote == "" {
		return true
	}
	to, old := v.member(c.Promote), v.member(c.Promoting)
	s := v.shards()[0]
	return to == nil || s.leads(to) && v.led(s) && (old == nil || isReady(old) && !v.unsure(old))
}

// testFailover kills a primary, and ends the test when its node is back.
func (p *planner) testFailover(t *cache.FailoverTest) {
	s, ok := p.v.shardByID(t.NodeGroupID)
	old := p.v.member(t.Primary)
	switch {
	case !t.Done && ok:
		p.do(Action{Kind: actTest, Target: p.v.shardTarget(s)})
	case !ok || old == nil || isReady(old) && !old.Node.Recovering && !sameProcess(old.Node.Process, &t.Process):
		p.do(Action{Kind: actSettle, Target: p.v.key()})
	default:
		if _, over := p.outOfReach(old); over {
			p.do(Action{Kind: actSettle, Target: p.v.key()})
		}
	}
}

func (v *View) shardByID(id string) (shard, bool) {
	for _, s := range v.shards() {
		if s.ID == id {
			return s, true
		}
	}
	return shard{}, false
}
