package reconcile

import (
	"time"

	"holdfast.dev/internal/cache"
)

// snapshots takes those that were asked for of this unit.
func (p *planner) snapshots() {
	for i := range p.v.Snapshots {
		s := &p.v.Snapshots[i]
		if s.Status != cache.StatusCreating {
			continue
		}
		a := Action{Kind: actSnapshot, Target: s.Key()}
		if reason, over := exhausted(p.v.Steps, a); over {
			p.do(Action{Kind: actAbandon, Target: s.Key(), Reason: reason})
			continue
		}
		waits, lost := p.sourcesOf(s)
		switch {
		case lost != "":
			p.do(Action{Kind: actAbandon, Target: s.Key(), Reason: lost})
		case !waits:
			p.do(a)
		}
	}
}

// sourcesOf tells whether a snapshot has to wait for a node of some shard, or why
// it would wait for ever.
func (p *planner) sourcesOf(s *cache.Snapshot) (waits bool, lost string) {
	for _, sh := range p.v.shards() {
		if len(p.v.sources(s, sh)) > 0 {
			continue
		}
		waits = true
		m := p.v.meant(s, sh)
		if m == nil {
			continue
		}
		if reason, over := p.outOfReach(m); over {
			return true, reason
		}
	}
	return waits, ""
}

// outOfReach tells whether a node does not come up, however often it is tried,
// and why: a snapshot that waited for it, and a deletion that waited for the
// snapshot, would wait for ever and could not be taken back.
func (p *planner) outOfReach(m *cache.CacheCluster) (string, bool) {
	for _, k := range []Kind{actStart, actReady} {
		if reason, over := exhausted(p.v.Steps, Action{Kind: k, Target: m.Key()}); over {
			return reason, true
		}
	}
	return "", false
}

// PlanSnapshot says what is due for a snapshot that no longer depends on the
// cache it was taken from: to be copied, exported or erased.
func PlanSnapshot(s cache.Snapshot, steps map[string]cache.Step, inFlight map[string]bool, now time.Time) Decision {
	p := planner{v: &View{Steps: steps, InFlight: inFlight}, now: now}
	switch {
	case s.Deleting:
		p.breakOff(Action{Kind: actErase, Target: s.Key()})
	case s.Status == cache.StatusCreating && (s.CopyOf != "" || s.Import != nil):
		p.transfer(Action{Kind: becomes(&s), Target: s.Key()})
	case s.Import != nil && s.Status != cache.StatusFailed: // they may be all that there is of the data
		p.do(Action{Kind: actUnstage, Target: s.Key()})
	case len(s.Exports) > 0:
		p.transfer(Action{Kind: actExport, Target: s.Key()})
	}
	return p.d
}

// transfer does a, or abandons it after its last attempt.
func (p *planner) transfer(a Action) {
	if reason, over := exhausted(p.v.Steps, a); over {
		p.do(Action{Kind: actAbandon, Target: a.Target, Reason: reason})
		return
	}
	p.do(a)
}
