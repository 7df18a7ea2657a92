package reconcile

import (
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
)

// Plan says what is due for a unit.
func Plan(v View, now time.Time) Decision {
	p := planner{v: &v, now: now}
	switch {
	case len(v.Members) == 0 && v.Group == nil:
		return Decision{}
	case v.deletion() != nil:
		p.delete()
	case v.status() == cache.StatusCreateFailed || v.status() == cache.StatusRestoreFailed:
		p.sweep()
	default:
		p.run()
	}
	return p.d
}

// planner gathers one decision.
type planner struct {
	v   *View
	now time.Time
	d   Decision
}

// run is the ordinary case: the unit exists and is to serve.
func (p *planner) run() {
	if reason, hopeless := p.hopeless(); hopeless {
		p.breakOff(Action{Kind: actGiveUp, Target: p.v.key(), Reason: reason})
		return
	}
	e := p.v.endpoints()
	p.access()
	p.members()
	p.reshard()
	p.upgrade()
	if _, primary := p.takingOver(); !primary && !p.handingOver() {
		p.nodes(p.v.wants(e))
		p.parameters()
		p.reboots()
	}
	if any, _ := p.takingOver(); !any {
		p.forwards(e)
		p.snapshots()
	}
	p.encrypt()
	p.schedule()
	p.pending()
	p.minors()
	p.finish(e)
}

// do makes an action due, once, unless it is running already or rests after a failure.
func (p *planner) do(a Action) {
	if p.waitsForResize(a) {
		return
	}
	if p.v.InFlight[a.ID()] || slices.ContainsFunc(p.d.Do, func(b Action) bool { return b.ID() == a.ID() }) {
		return
	}
	if s, ok := p.v.Steps[a.ID()]; ok && s.State == cache.StepFailed && s.NotBefore.After(p.now) {
		p.again(s.NotBefore)
		return
	}
	p.d.Do = append(p.d.Do, a)
}

// again asks for another look at a time.
func (p *planner) again(at time.Time) {
	if p.d.Again.IsZero() || at.Before(p.d.Again) {
		p.d.Again = at
	}
}

// breakOff does a once nothing else of the unit runs any more, and sees to that.
func (p *planner) breakOff(a Action) {
	if p.quiet(a.Kind) {
		p.do(a)
	}
}

// quiet cancels every running action that is not of these kinds, and tells
// whether none is left.
func (p *planner) quiet(except ...Kind) bool {
	for id := range p.v.InFlight {
		kind, _, _ := strings.Cut(id, " ")
		if !slices.Contains(except, Kind(kind)) {
			p.d.Cancel = append(p.d.Cancel, id)
		}
	}
	slices.Sort(p.d.Cancel)
	return len(p.d.Cancel) == 0
}
