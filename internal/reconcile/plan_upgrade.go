package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
)

// The actions of an upgrade. Targets of those without another word are members.
const (
	actPrepare   Kind = "prepare"    // write down which node is to replace a member's
	actLaunch    Kind = "launch"     // start that node
	actCatchUp   Kind = "catch-up"   // wait until it has its primary's data
	actCompare   Kind = "compare"    // compare these with the primary's
	actTakeOver  Kind = "take-over"  // make it the member's node
	actDiscard   Kind = "discard"    // end what has been replaced, or did not come to replace
	actConvert   Kind = "convert"    // a replica that does not run is started as another kind
	actRevert    Kind = "revert"     // stop a replica that is to be started as its primary's kind
	actStopShort Kind = "stop-short" // nothing more is replaced; target: the unit
	actUpgraded  Kind = "upgraded"   // the upgrade is over; target: the unit
)

// upgrade carries a change of all nodes on, while the unit serves: one node at a time is
// replaced by another process that has followed its primary, replicas before primaries,
// for an older engine cannot follow a newer one. Who replaces a node that has died, and
// what a dead replica is started as, is decided where nodes are brought up.
func (p *planner) upgrade() {
	p.discard()
	u := p.v.upgrade()
	if u == nil || p.changing() {
		return
	}
	switch {
	case u.Failed == "" && !p.saved(u):
	case u.Failed != "" && p.v.clustered():
		p.goBackClustered()
	case p.waitForResizes(u):
	case p.v.clustered():
		p.upgradeClustered()
	case u.Failed != "":
		p.goBack()
	default:
		p.replaceAll(u)
	}
}

// changing tells whether members come or go.
func (p *planner) changing() bool {
	g := p.v.Group
	return g != nil && (g.Change != nil || g.Resharding != nil)
}

// saved waits for the snapshot that is taken first.
func (p *planner) saved(u *cache.Upgrade) bool {
	if u.Snapshot == "" {
		return true
	}
	s := p.v.snapshot(u.Snapshot)
	switch {
	case s != nil && s.Status == cache.StatusCreating:
		return false
	case s == nil || s.Status == cache.StatusFailed:
		if p.untouched(u) {
			p.stopShort("the snapshot " + u.Snapshot + ", which was to be taken first, failed")
			return false
		}
	}
	return true
}

// untouched tells whether no member has been changed yet. A snapshot that somebody
// deletes afterwards stops nothing.
func (p *planner) untouched(u *cache.Upgrade) bool {
	return !slices.ContainsFunc(p.v.Members, func(m cache.CacheCluster) bool {
		return m.Node.Next != nil || m.Kind(m.Node.Build).Same(u.To)
	})
}

// waitForResizes has members told that need no other process.
func (p *planner) waitForResizes(u *cache.Upgrade) bool {
	waits := false
	for i := range p.v.Members {
		m := &p.v.Members[i]
		if p.resize(m) {
			waits = true
			if reason, over := exhausted(p.v.Steps, Action{Kind: actResize, Target: m.Key()}); over && u.Failed == "" {
				p.stopShort(m.ID + ": " + reason)
			}
		}
	}
	return waits
}

func (p *planner) stopShort(reason string) {
	p.do(Action{Kind: actStopShort, Target: p.v.key(), Reason: reason})
}

// replaceAll replaces the next member, or ends the upgrade when none is left.
func (p *planner) replaceAll(u *cache.Upgrade) {
	for _, s := range p.v.shards() {
		for _, m := range append(s.replicas(), s.Primary) {
			switch {
			case m == nil:
				return
			case m.Node.Next != nil || m.Node.Build != u.To.Build:
				p.replace(s, m, u)
				return
			case !isReady(m):
				p.awaitMember(m)
				return
			}
		}
	}
	p.conclude()
}

// awaitMember waits for a member that has been replaced and does not run, or is not in
// step.
func (p *planner) awaitMember(m *cache.CacheCluster) {
	if reason, over := p.outOfReach(m); over {
		p.stopShort(reason)
	}
}

// conclude ends the upgrade once nothing of it is left to be done.
func (p *planner) conclude() {
	if slices.ContainsFunc(p.v.Members, func(m cache.CacheCluster) bool { return len(m.Node.Discard) > 0 || m.Node.Next != nil }) {
		return
	}
	if u := p.v.upgrade(); u.Failed == "" && !p.inPlace() {
		return // the endpoints are on their way to engines that can hold them
	}
	p.do(Action{Kind: actUpgraded, Target: p.v.key()})
}

// replace does what is due next for one member.
func (p *planner) replace(s shard, m *cache.CacheCluster, u *cache.Upgrade) {
	if reason, over := p.cannotReplace(m, u); over {
		p.stopShort(reason)
		return
	}
	if !p.v.led(s) || !isReady(s.Primary) || len(m.Node.Discard) > 0 {
		p.awaitMember(s.Primary)
		return
	}
	next := m.Node.Next
	switch {
	case next == nil && m.Node.Process == nil:
		// It is started as what it is to be: see bringUp.
	case next == nil:
		p.do(Action{Kind: actPrepare, Target: m.Key()})
	case next.Process == nil:
		p.launch(m)
	case !next.Ready || next.Primary != s.Primary.Node.Address:
		p.catchUp(s, m)
	case !next.Compared:
		p.do(Action{Kind: actCompare, Target: m.Key()})
	case !p.occupied(m):
		p.do(Action{Kind: actTakeOver, Target: m.Key()})
	}
}

// cannotReplace tells why a member is not replaced: an engine that cannot take an address
// up while it runs, or a step that has failed too often.
func (p *planner) cannotReplace(m *cache.CacheCluster, u *cache.Upgrade) (string, bool) {
	if !p.v.CanRebind[u.To.Build] {
		return fmt.Sprintf("%s is not installed, or cannot take over an address while it runs", u.To.Build), true
	}
	for _, k := range []Kind{actPrepare, actLaunch, actCatchUp, actCompare, actTakeOver} {
		if reason, over := exhausted(p.v.Steps, Action{Kind: k, Target: m.Key()}); over {
			return reason, true
		}
	}
	return "", false
}

func (p *planner) launch(m *cache.CacheCluster) {
	if at := nextStart(m.Node.Next, p.now); at.After(p.now) {
		p.again(at)
		return
	}
	p.do(Action{Kind: actLaunch, Target: m.Key()})
}

// catchUp waits for a node's data; for those of the primary that there is now.
func (p *planner) catchUp(s shard, m *cache.CacheCluster) {
	a := Action{Kind: actCatchUp, Target: m.Key()}
	if p.v.InFlight[a.ID()] && m.Node.Next.Primary != s.Primary.Node.Address {
		p.d.Cancel = append(p.d.Cancel, a.ID())
		return
	}
	p.do(a)
}

// occupied tells whether something is being done with a member's node that its end
// would break off: a snapshot may be read from any.
func (p *planner) occupied(m *cache.CacheCluster) bool {
	for id := range p.v.InFlight {
		kind, target, _ := strings.Cut(id, " ")
		if target == m.Key() && Kind(kind) != actTakeOver || Kind(kind) == actSnapshot || Kind(kind) == actPromote {
			return true
		}
	}
	return false
}

// discard ends the processes that have been replaced.
func (p *planner) discard() {
	for i := range p.v.Members {
		if m := &p.v.Members[i]; len(m.Node.Discard) > 0 {
			p.do(Action{Kind: actDiscard, Target: m.Key()})
		}
	}
}

// goBack ends an upgrade that has failed: what was on its way is discarded, and replicas
// that are of another build than their primary are started as what that is. Where the
// primary itself is a new one there is no way back, for the former engine could not
// follow it.
func (p *planner) goBack() {
	for _, s := range p.v.shards() {
		for _, m := range s.Members {
			switch {
			case m.Node.Next != nil:
				p.abandonNext(m)
				return
			case s.leads(m) || s.Primary == nil:
			case m.Node.Build != s.Primary.Node.Build && m.Node.Process != nil && !p.v.upgrade().Stopped:
				if isReady(s.Primary) && !p.occupied(m) {
					p.do(Action{Kind: actRevert, Target: m.Key()})
				}
				return
			case !isReady(m):
				if _, over := p.outOfReach(m); !over {
					return
				}
			}
		}
	}
	p.conclude()
}

// abandonNext has a replacement go, unless it has to succeed a node that is dead.
func (p *planner) abandonNext(m *cache.CacheCluster) {
	if p.succession(m) {
		return
	}
	for _, k := range []Kind{actLaunch, actCatchUp, actCompare} {
		if a := (Action{Kind: k, Target: m.Key()}); p.v.InFlight[a.ID()] {
			p.d.Cancel = append(p.d.Cancel, a.ID())
		}
	}
	if len(p.d.Cancel) == 0 && !p.occupied(m) {
		p.do(Action{Kind: actRevert, Target: m.Key()})
	}
}

// succession tells whether a member's node is dead and its replacement is what there is
// of it: one that was about to take over, or one that has the data.
func (p *planner) succession(m *cache.CacheCluster) bool {
	n := m.Node.Next
	if n == nil || m.Node.Process != nil {
		return false
	}
	if n.TakingOver {
		return true
	}
	if p.v.isPrimary(m) && !p.v.stumbled(m) && (m.Node.Parked || p.v.keepsOnDisk(m)) {
		return false // its own files have all that it acknowledged
	}
	_, over := exhausted(p.v.Steps, Action{Kind: actTakeOver, Target: m.Key()})
	return n.Process != nil && n.Ready && !over
}

// heirsOnTheWay tells whether a replica of a shard is dead, or about to be, whose
// replacement may have the data: the primary is not started before that has come.
func (p *planner) heirsOnTheWay(s shard) bool {
	return slices.ContainsFunc(s.replicas(), func(m *cache.CacheCluster) bool {
		return p.succession(m) || p.v.InFlight[Action{Kind: actTakeOver, Target: m.Key()}.ID()]
	})
}

// succeed has a replacement take over from a node that is dead, and tells whether
// nothing else is to be done with that member: nor may it be told or started while one
// takes over.
func (p *planner) succeed(m *cache.CacheCluster) bool {
	a := Action{Kind: actTakeOver, Target: m.Key()}
	if p.v.InFlight[a.ID()] {
		return true
	}
	if !p.succession(m) {
		return false
	}
	if _, over := exhausted(p.v.Steps, a); over {
		a.Reason = "it does not answer"
	}
	p.do(a)
	return true
}

// takingOver tells whether a node is about to take over, of which nobody else may be
// told anything: the primary's. With any, no endpoint changes hands.
func (p *planner) takingOver() (any, primary bool) {
	for i := range p.v.Members {
		m := &p.v.Members[i]
		a := Action{Kind: actTakeOver, Target: m.Key()}.ID()
		if p.v.InFlight[a] || slices.ContainsFunc(p.d.Do, func(b Action) bool { return b.ID() == a }) {
			any = true
			primary = primary || p.v.isPrimary(m)
		}
	}
	return any, primary
}

// becomes is what a replica that does not run is to be started as: the kind that all are
// to be, or, without that, what its primary is, which it could not follow otherwise.
func (p *planner) becomes(s shard, m *cache.CacheCluster) (cache.Kind, bool) {
	if p.v.clustered() || s.leads(m) || s.Primary == nil || m.Node.Process != nil || m.Node.Parked || m.Node.Next != nil {
		return cache.Kind{}, false
	}
	to, u := s.Primary.Kind(s.Primary.Node.Build), p.v.upgrade()
	if u == nil {
		// Another build of the same version is as good.
		return to, to.Engine != m.Engine || to.EngineVersion != m.EngineVersion
	}
	if u.Failed == "" && !p.changing() && p.saved(u) {
		to = u.To
	}
	return to, to.Build != m.Node.Build
}
