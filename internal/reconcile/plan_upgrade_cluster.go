package reconcile

import (
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
)

// The actions of an upgrade in cluster mode. Targets of those without another word are members.
const (
	actRecruit  Kind = "recruit"   // write a stand-in down; target: a node group
	actProve    Kind = "prove"     // compare what a node holds with what its primary holds
	actExchange Kind = "exchange"  // stop a replica that is to be started as another kind
	actHandOver Kind = "hand-over" // the primary hands over to a replica; target: a node group
	actDismiss  Kind = "dismiss"   // a stand-in is not needed any more
)

// upgradeClustered carries an upgrade in cluster mode on. There a node keeps its address
// and its name among the others for life, so it is replaced where it stands: one node
// group after another gets a stand-in of the new kind, its replicas are started anew, its
// primary hands over, to one of them or, without any, to the stand-in, and is started
// anew as a replica. All the while one node more than before has the data or just as many.
//
// The primary is the last, for an older engine cannot follow a newer one. Where a
// failover comes in between and a node of the new kind leads, the others follow as soon
// as they are of that kind too.
func (p *planner) upgradeClustered() {
	for _, s := range p.v.shards() {
		if p.upgradeShard(s) {
			return
		}
	}
	if len(p.v.Group.Upgrade.StandIns) == 0 {
		p.conclude()
	}
}

// goBackClustered ends an upgrade in cluster mode that has failed: stand-ins go, and
// replicas become again what their primary is. A node group that is led by a new node
// goes on to the end: it cannot go back.
func (p *planner) goBackClustered() {
	waits := false
	for i := range p.v.Members {
		waits = p.resize(&p.v.Members[i]) || waits
	}
	if !waits {
		p.upgradeClustered()
	}
}

// upgradeShard does what is due next for a node group, and tells whether anything is left.
func (p *planner) upgradeShard(s shard) bool {
	in := p.v.standIn(s)
	if in != nil && in.Departed {
		p.part(in)
		return true
	}
	if p.v.handing(s) != nil {
		p.do(p.handOverOf(s))
		return true
	}
	if !p.v.led(s) || !isReady(s.Primary) || p.v.InFlight[p.handOverOf(s).ID()] {
		return true
	}
	behind := p.v.behind(s)
	switch to := p.v.destined(s); {
	case s.Primary.Node.Build != to.Build:
		p.replaceShard(s, in, behind)
	case len(behind) > 0:
		p.exchangeAll(s, behind)
	case s.Primary.StandIn:
		p.takeLead(s)
	case in != nil:
		p.dismiss(s, in)
	default:
		return p.awaitReplicas(s)
	}
	return true
}

// replaceShard replaces the nodes of a node group whose primary has not been replaced.
func (p *planner) replaceShard(s shard, in *cache.CacheCluster, behind []*cache.CacheCluster) {
	switch {
	case in == nil:
		p.attempt(p.recruitOf(s))
	case p.v.Group.Joining(in):
		p.enlist(s, in)
	case !p.inStep(in), !p.proved(in):
	case len(behind) > 1: // besides the primary
		p.exchangeNext(s, behind)
	default:
		p.takeLead(s)
	}
}

// enlist makes a stand-in known to all once it has the data of its shard.
func (p *planner) enlist(s shard, in *cache.CacheCluster) {
	reason, over := p.cannotCome(in)
	switch {
	case over:
		p.fallShort(in.ID + " does not come: " + reason)
	case isReady(in) && !p.unsure(in):
		p.do(Action{Kind: actJoin, Target: in.Key()})
	}
}

// inStep tells whether a member is there for good, and stops short where it cannot be.
func (p *planner) inStep(m *cache.CacheCluster) bool {
	if reason, over := p.outOfReach(m); over && !isReady(m) {
		p.fallShort(m.ID + ": " + reason)
	}
	return isReady(m) && !p.unsure(m)
}

// proved tells whether what a node holds has been compared with what its primary holds,
// and has it compared. Of an upgrade that has failed nothing is compared: the stand-in
// has to hand back to somebody.
func (p *planner) proved(m *cache.CacheCluster) bool {
	if p.v.Group.Upgrade.Failed != "" || sameProcess(m.Node.Proved, m.Node.Process) {
		return true
	}
	p.attempt(Action{Kind: actProve, Target: m.Key()})
	return false
}

// attempt makes an action due that the upgrade cannot go on without.
func (p *planner) attempt(a Action) {
	if reason, over := exhausted(p.v.Steps, a); over && p.v.Group.Upgrade.Failed == "" {
		p.fallShort(reason)
		return
	}
	p.do(a)
}

// fallShort ends the upgrade with a reason, unless it has one. The names of stand-ins are
// nobody's business.
func (p *planner) fallShort(reason string) {
	if p.v.Group.Upgrade.Failed != "" {
		return
	}
	for i := range p.v.Members {
		if m := &p.v.Members[i]; m.StandIn {
			named := "the stand-in of node group " + m.ShardID()
			reason = strings.NewReplacer(m.Key(), named, m.ID, named).Replace(reason)
		}
	}
	p.stopShort(reason)
}

// exchangeNext has one replica become another kind, one that does not serve first. All
// others of its shard are in step by then, as far as an upgrade that has failed may
// expect that of them.
func (p *planner) exchangeNext(s shard, behind []*cache.CacheCluster) {
	failed := p.v.Group.Upgrade.Failed != ""
	var next *cache.CacheCluster
	for _, m := range behind {
		if !s.leads(m) && (next == nil || isReady(next) && !isReady(m)) {
			next = m
		}
	}
	for _, m := range s.Members {
		spared := m.ID == next.ID || failed && (m.StandIn || slices.Contains(behind, m))
		if !spared && !p.inStep(m) {
			return
		}
	}
	p.exchange(next)
}

// exchangeAll has all replicas become what their primary is. They cannot follow one that
// is newer, and there is nothing to wait for; an older one they follow until it is their turn.
func (p *planner) exchangeAll(s shard, behind []*cache.CacheCluster) {
	if s.Primary.Node.Build != p.v.Group.Upgrade.To.Build {
		p.exchangeNext(s, behind)
		return
	}
	for _, m := range behind {
		p.exchange(m)
	}
}

// exchange stops a replica that is to be started as another kind. What waits for it to be
// as it was waits for nothing any more.
func (p *planner) exchange(m *cache.CacheCluster) {
	for _, k := range []Kind{actStart, actReady, actConfigure} {
		if id := (Action{Kind: k, Target: m.Key()}).ID(); p.v.InFlight[id] {
			p.d.Cancel = append(p.d.Cancel, id)
		}
	}
	if !p.occupied(m) {
		p.attempt(Action{Kind: actExchange, Target: m.Key()})
	}
}

// exchanging tells whether a member is about to be stopped to become another kind, or can
// follow nobody before it does.
func (p *planner) exchanging(s shard, m *cache.CacheCluster) bool {
	a := Action{Kind: actExchange, Target: m.Key()}.ID()
	due := func(b Action) bool { return b.ID() == a }
	return p.v.InFlight[a] || slices.ContainsFunc(p.d.Do, due) || p.v.stranded(s, m)
}

// takeLead has the primary of a node group hand over.
func (p *planner) takeLead(s shard) {
	to := p.v.successor(s)
	switch {
	case to == nil:
		for _, m := range s.replicas() {
			p.inStep(m)
		}
	case !p.proved(to), p.occupied(s.Primary), p.occupied(to):
	default:
		p.attempt(p.handOverOf(s))
	}
}

// handsOver tells whether a primary that lives is handing over, or is about to: nobody
// may tell a node of the shard anything meanwhile.
func (p *planner) handsOver(s shard) bool {
	a := p.handOverOf(s)
	if p.v.InFlight[a.ID()] {
		if p.v.orphaned(s) {
			p.d.Cancel = append(p.d.Cancel, a.ID())
		}
		return true
	}
	return p.v.handing(s) != nil || slices.ContainsFunc(p.d.Do, func(b Action) bool { return b.ID() == a.ID() })
}

// dismiss has a stand-in go once its shard can do without it.
func (p *planner) dismiss(s shard, in *cache.CacheCluster) {
	if p.v.needed(in) || p.occupied(in) || p.answers(in) {
		return
	}
	for _, m := range s.Members {
		if m.ID != in.ID && isReady(in) && !isReady(m) {
			if _, over := p.outOfReach(m); !over {
				return
			}
		}
	}
	p.do(Action{Kind: actDismiss, Target: in.Key()})
}

// awaitReplicas tells whether a replica that was started anew is still to come.
func (p *planner) awaitReplicas(s shard) bool {
	for _, m := range s.Members {
		if !p.inStep(m) {
			_, over := p.outOfReach(m)
			return !over || p.v.Group.Upgrade.Failed == ""
		}
	}
	return false
}

func (p *planner) recruitOf(s shard) Action {
	return Action{Kind: actRecruit, Target: p.v.shardTarget(s)}
}

func (p *planner) handOverOf(s shard) Action {
	return Action{Kind: actHandOver, Target: p.v.shardTarget(s)}
}

// destined is what the nodes of a node group are to become: what all are to be, or, when the
// upgrade has failed, what their primary is.
func (v *View) destined(s shard) cache.Kind {
	u := v.Group.Upgrade
	if v.staysMixed(s) {
		return s.Primary.Kind(s.Primary.Node.Build)
	}
	if u.Failed == "" || s.Primary == nil || s.Primary.Node.Build == u.To.Build {
		return u.To
	}
	return u.From
}

// behind are the nodes of a node group that have yet to be started as what they are to be.
func (v *View) behind(s shard) []*cache.CacheCluster {
	to := v.destined(s)
	if v.staysMixed(s) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Members), func(m *cache.CacheCluster) bool {
		return m.StandIn || m.Node.Build == to.Build
	})
}

// staysMixed tells whether the nodes of a node group are left as they are, for somebody has
// stopped a service update. One that is led by a stand-in goes on until a member leads.
func (v *View) staysMixed(s shard) bool {
	return v.Group.Upgrade.Stopped && s.Primary != nil && !s.Primary.StandIn
}

// stranded tells whether a replica is to become another kind before it can follow its
// primary, which is of that kind already.
func (v *View) stranded(s shard, m *cache.CacheCluster) bool {
	if !v.clustered() || v.Group.Upgrade == nil || m.StandIn || s.Primary == nil || s.leads(m) || v.staysMixed(s) {
		return false
	}
	to := v.Group.Upgrade.To.Build
	return s.Primary.Node.Build == to && m.Node.Build != to
}

// standIn is the stand-in of a node group, one that has departed too; nil for none.
func (v *View) standIn(s shard) *cache.CacheCluster {
	for i := range v.Members {
		if m := &v.Members[i]; m.StandIn && m.ShardID() == s.ID {
			return m
		}
	}
	return nil
}

// successor is who comes to lead a node group: a replica that is what it is to be, or the
// stand-in where there is none, and only for as long as there is none. It is nil while nobody can.
func (v *View) successor(s shard) *cache.CacheCluster {
	to := v.destined(s)
	var in *cache.CacheCluster
	for _, m := range s.replicas() {
		switch {
		case m.StandIn:
			in = m
		case m.Node.Build == to.Build && isReady(m) && !v.unsure(m):
			return m
		}
	}
	if in == nil || !isReady(in) || v.unsure(in) || s.Primary.StandIn || len(s.replicas()) > 1 {
		return nil
	}
	return in
}

// handedTo is the replica to which the primary of a node group was handing over; nil for none.
func (v *View) handedTo(s shard) *cache.CacheCluster {
	if !v.clustered() || v.Group.Upgrade == nil {
		return nil
	}
	h := v.Group.Upgrade.Handing
	if h == nil || h.NodeGroup != s.ID || s.Primary == nil || s.Primary.ID != h.From {
		return nil
	}
	return v.member(h.To)
}

// handing is the handover of a node group of which it is not known how it ended; nil
// for none. With the death of the primary it is a failover.
func (v *View) handing(s shard) *cache.Handover {
	if !v.clustered() || v.Group.Upgrade == nil || s.Primary == nil || s.Primary.Node.Process == nil {
		return nil
	}
	if h := v.Group.Upgrade.Handing; h != nil && h.NodeGroup == s.ID && s.Primary.ID == h.From {
		return h
	}
	return nil
}
