package reconcile

import (
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
)

// reshard changes which node groups a group has and which slots they hold: new nodes
// join like any others, then the slots are moved, then node groups that are to go
// give their endpoints up and depart.
func (p *planner) reshard() {
	g := p.v.Group
	if g == nil || g.Resharding == nil {
		return
	}
	x := g.Resharding
	reason, over := p.reshardingOver()
	switch {
	case len(x.Going) > 0:
		if p.v.unreached(x.Going, p.answers) && !slices.ContainsFunc(p.v.going(), p.busy) {
			p.do(Action{Kind: actConclude, Target: p.v.key()})
		}
	case p.moving() && over:
		// What else is under way ends first.
	case over:
		p.do(Action{Kind: actConclude, Target: p.v.key(), Reason: reason})
	case p.v.joining():
		// They are brought up like any others.
	case len(g.Transfers()) > 0:
		p.moves(g.Transfers())
	case p.moving():
	case !x.Planned:
		if p.v.allLed() {
			p.do(p.planning())
		}
	default:
		p.do(Action{Kind: actConclude, Target: p.v.key()})
	}
}

func (p *planner) planning() Action { return Action{Kind: actReshard, Target: p.v.key()} }

// moves moves slots between several pairs of node groups side by side, of which each
// gives to one and takes from one at a time.
func (p *planner) moves(all []cache.SlotTransfer) {
	busy := p.pairs()
	for _, t := range all {
		a := p.v.moveOf(t)
		from, ok := p.v.shardByID(t.From)
		to, found := p.v.shardByID(t.To)
		switch _, over := exhausted(p.v.Steps, a); {
		case over || len(busy) >= 2*maxMoves || busy[t.From] || busy[t.To]:
		case !ok || !found || !p.v.movable(from) || !p.v.movable(to):
			// A node is being replaced, which ends with another look.
		case p.resting(a):
			p.again(p.v.Steps[a.ID()].NotBefore)
		default:
			p.do(a)
			busy[t.From], busy[t.To] = true, true
		}
	}
}

// maxMoves is how many pairs of a group move slots side by side. Each keeps two
// engines and a connection of ours busy.
const maxMoves = 4

func (v *View) moveOf(t cache.SlotTransfer) Action {
	return Action{Kind: actMove, Target: v.key() + " " + t.From + " " + t.To}
}

// transferByTarget finds the move that an action names.
func (v *View) transferByTarget(target string) (cache.SlotTransfer, bool) {
	for _, t := range v.Group.Transfers() {
		if v.moveOf(t).Target == target {
			return t, true
		}
	}
	return cache.SlotTransfer{}, false
}

// pairs are the node groups between which slots are being moved.
func (p *planner) pairs() map[string]bool {
	busy := map[string]bool{}
	for id := range p.v.InFlight {
		if f := strings.Fields(id); len(f) == 4 && Kind(f[0]) == actMove {
			busy[f[2]], busy[f[3]] = true, true
		}
	}
	return busy
}

func (p *planner) moving() bool { return len(p.pairs()) > 0 }

// resting tells whether an action waits after a failure.
func (p *planner) resting(a Action) bool {
	s, ok := p.v.Steps[a.ID()]
	return ok && s.State == cache.StepFailed && s.NotBefore.After(p.now)
}

// movable tells whether slots can be moved from or to a shard: its primary serves.
func (v *View) movable(s shard) bool {
	return s.Primary != nil && isReady(s.Primary) && v.led(s)
}

func (v *View) allLed() bool {
	return !slices.ContainsFunc(v.shards(), func(s shard) bool { return !v.movable(s) })
}

// joining tells whether a member is on its way into the group.
func (v *View) joining() bool {
	return slices.ContainsFunc(v.Members, func(m cache.CacheCluster) bool { return v.Group.Joining(&m) })
}

// reshardingOver tells whether a resharding cannot get any further, and why.
func (p *planner) reshardingOver() (string, bool) {
	g := p.v.Group
	if g.Resharding.Failed != "" {
		return g.Resharding.Failed, true
	}
	for i := range p.v.Members {
		m := &p.v.Members[i]
		if g.Joining(m) && p.v.shardOf(m).leads(m) {
			if reason, over := p.cannotCome(m); over {
				return m.ID + ": " + reason, true
			}
		}
	}
	if reason, over := exhausted(p.v.Steps, p.planning()); over {
		return reason, true
	}
	// One pair that fails does not keep the others from going on.
	last := ""
	for _, t := range g.Transfers() {
		reason, over := exhausted(p.v.Steps, p.v.moveOf(t))
		if !over {
			return "", false
		}
		last = reason
	}
	return last, last != ""
}

// going are the members of the node groups that are about to be taken away.
func (v *View) going() []*cache.CacheCluster {
	var out []*cache.CacheCluster
	for i := range v.Members {
		if m := &v.Members[i]; v.shrinking(m) {
			out = append(out, m)
		}
	}
	return out
}

// shrinking tells whether a member goes with its whole node group.
func (v *View) shrinking(m *cache.CacheCluster) bool {
	return v.Group.Resharding != nil && slices.Contains(v.Group.Resharding.Going, m.ShardID())
}

// unreached tells whether no endpoint leads to a member of these node groups any more.
func (v *View) unreached(ids []string, answers func(*cache.CacheCluster) bool) bool {
	return !slices.ContainsFunc(v.Members, func(m cache.CacheCluster) bool {
		return slices.Contains(ids, m.ShardID()) && answers(&m)
	})
}
