package reconcile

import (
	"reflect"
	"slices"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
)

// MemcachedView is all that is known about one Memcached cluster. PlanMemcached reads it
// and nothing else.
type MemcachedView struct {
	Cluster cache.CacheCluster
	// Steps and InFlight as in View.
	Steps    map[string]cache.Step
	InFlight map[string]bool
	// Fronts are those that stand; nil for none. What may stand or not is not equal to
	// what is to stand.
	Fronts *cache.MemcachedFronts
}

// PlanMemcached says what is due for a Memcached cluster. Its nodes know nothing of each
// other; what ties them together is the list that auto discovery answers. A node comes on
// it once it serves at its address, and is off it everywhere before anything of it goes.
// One that failed stays on it, and is started again, empty.
func PlanMemcached(v MemcachedView, now time.Time) Decision {
	p := newMemcachedPlanner(&v, now)
	switch {
	case p.c.Deletion != nil:
		if p.sweep() {
			p.breakOff(Action{Kind: actDrop, Target: p.c.Key()})
		}
	case p.c.Status == cache.StatusRestoreFailed:
		p.sweep()
	default:
		p.run()
	}
	return p.d
}

type memcachedPlanner struct {
	planner
	c      *cache.CacheCluster
	m      *cache.MemcachedCluster
	fronts *cache.MemcachedFronts
}

func newMemcachedPlanner(v *MemcachedView, now time.Time) *memcachedPlanner {
	return &memcachedPlanner{
		planner: planner{v: &View{Members: []cache.CacheCluster{v.Cluster}, Steps: v.Steps, InFlight: v.InFlight}, now: now},
		c:       &v.Cluster, m: v.Cluster.Memcached, fronts: v.Fronts,
	}
}

func (p *memcachedPlanner) run() {
	if reason, hopeless := p.hopeless(); hopeless {
		p.breakOff(Action{Kind: actGiveUp, Target: p.c.Key(), Reason: reason})
		return
	}
	if !p.told() {
		p.do(Action{Kind: actFront, Target: p.c.Key()})
	}
	for i := range p.m.Nodes {
		p.node(&p.m.Nodes[i])
	}
	p.roll()
	if p.relisted() != nil {
		p.do(Action{Kind: actList, Target: p.c.Key()})
	}
	p.pending()
	p.finish()
}

func (p *memcachedPlanner) on(k Kind, n *cache.MemcachedNode) Action {
	return Action{Kind: k, Target: cache.MemcachedNodeKey(p.c.Key(), n.ID)}
}

// told tells whether everything stands as it is to and answers the list as it is.
func (p *memcachedPlanner) told() bool {
	return p.fronts != nil && reflect.DeepEqual(*p.fronts, p.m.Fronts())
}

// node brings one node up, restarts it if that was asked for, and takes away what is off the list.
func (p *memcachedPlanner) node(n *cache.MemcachedNode) {
	switch {
	case p.v.InFlight[p.on(actRestart, n).ID()]:
	case n.Leaving:
		if !n.Listed && p.told() {
			p.do(p.on(actRemove, n))
		}
	case n.Process == nil:
		if at := proc.DefaultBackoff.Next(n.Failures, n.ExitedAt, p.now); at.After(p.now) {
			p.again(at)
			return
		}
		p.do(p.on(actStart, n))
	case n.Reboot || n.Restarting && n.Ready: // the latter was cut short before it was stopped
		p.do(p.on(actRestart, n))
	case !n.Ready:
		p.do(p.on(actReady, n))
	}
}

// roll restarts nodes that are to be of another build or node type: a batch at a time,
// and none while another one is not up.
func (p *memcachedPlanner) roll() {
	var due []*cache.MemcachedNode
	staying := 0
	for i := range p.m.Nodes {
		n := &p.m.Nodes[i]
		if n.Leaving {
			continue
		}
		staying++
		if n.Process == nil || !n.Ready || n.Reboot || n.Restarting || p.v.InFlight[p.on(actRestart, n).ID()] {
			return
		}
		if p.c.Outdated(n) {
			due = append(due, n)
		}
	}
	if len(due) == 0 {
		return
	}
	batch := 1
	if s := p.m.Scale; s != nil && !p.m.RolledAt.IsZero() {
		if at := p.m.RolledAt.Add(time.Duration(s.Minutes) * time.Minute); at.After(p.now) {
			p.again(at)
			return
		}
	}
	if s := p.m.Scale; s != nil {
		batch = max(1, staying*s.Percent/100)
	}
	for _, n := range due[:min(batch, len(due))] {
		p.do(p.on(actRestart, n))
	}
}

// relisted are the nodes with the list as it is to be; nil if it is so already. A cluster
// that is being created is listed as a whole.
func (p *memcachedPlanner) relisted() []cache.MemcachedNode {
	out, changed := slices.Clone(p.m.Nodes), false
	for i := range out {
		n := &out[i]
		switch {
		case n.Listed && n.Leaving:
			n.Listed, changed = false, true
		case n.Listed || n.Leaving:
		case n.Ready && p.told():
			n.Listed, changed = true, true
		case p.c.Status == cache.StatusCreating:
			return nil
		}
	}
	if !changed {
		return nil
	}
	return out
}

// pending begins in the maintenance window what was put off until then.
func (p *memcachedPlanner) pending() {
	if p.m.Pending.Empty() {
		return
	}
	w, ok := cache.ParseWeeklyWindow(p.c.MaintenanceWindow)
	if !ok {
		return
	}
	inside, next := w.At(p.now)
	switch {
	case !inside:
		p.again(next)
	case p.c.Status == cache.StatusAvailable:
		p.do(Action{Kind: actApply, Target: p.c.Key()})
	}
}

// finish ends a creation, a modification or a reboot.
func (p *memcachedPlanner) finish() {
	if p.c.Status != cache.StatusAvailable && p.whole() {
		p.do(Action{Kind: actFinish, Target: p.c.Key()})
	}
}

// whole tells whether all nodes are as they are to be, and everybody can know.
func (p *memcachedPlanner) whole() bool {
	for i := range p.m.Nodes {
		n := &p.m.Nodes[i]
		if n.Leaving || n.Process == nil || !n.Ready || !n.Listed || n.Reboot || n.Restarting || p.c.Outdated(n) {
			return false
		}
	}
	return p.told()
}

// hopeless tells whether a creation cannot succeed any more, and why.
func (p *memcachedPlanner) hopeless() (string, bool) {
	if p.c.Status != cache.StatusCreating {
		return "", false
	}
	needed := []Action{{Kind: actFront, Target: p.c.Key()}}
	for i := range p.m.Nodes {
		needed = append(needed, p.on(actStart, &p.m.Nodes[i]), p.on(actReady, &p.m.Nodes[i]))
	}
	for _, a := range needed {
		if reason, over := exhausted(p.v.Steps, a); over {
			return reason, true
		}
	}
	return "", false
}

// sweep ends every front, process and directory and tells whether none is left.
func (p *memcachedPlanner) sweep() bool {
	if !p.quiet(actRemove, actUnfront, actDrop) {
		return false
	}
	clean := p.fronts == nil
	if !clean {
		p.do(Action{Kind: actUnfront, Target: p.c.Key()})
	}
	for i := range p.m.Nodes {
		if n := &p.m.Nodes[i]; !n.Gone {
			clean = false
			p.do(p.on(actRemove, n))
		}
	}
	return clean
}
