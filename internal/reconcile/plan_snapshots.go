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
		m := p.sourceOf(s)
		if m == nil {
			continue
		}
		if reason, lost := p.outOfReach(m); lost {
			p.do(Action{Kind: actAbandon, Target: s.Key(), Reason: reason})
			continue
		}
		if m.Node.Process != nil && m.Node.Ready {
			a.Source = m.Key()
			p.do(a)
		}
	}
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

// sourceOf is the node that a snapshot reads, once it is ready: the one asked
// for, else a replica to spare the primary. A final snapshot reads the primary,
// which has the last write.
func (p *planner) sourceOf(s *cache.Snapshot) *cache.CacheCluster {
	if d := p.v.deletion(); d != nil && d.FinalSnapshot == s.Name {
		return p.v.primary()
	}
	if s.ClusterID != "" {
		return p.v.member(s.ClusterID)
	}
	if replicas := p.v.readyReplicas(); len(replicas) > 0 {
		return replicas[0]
	}
	return p.v.primary()
}

// PlanSnapshot says what is due for a snapshot that no longer depends on the
// cache it was taken from: to be copied, exported or erased.
func PlanSnapshot(s cache.Snapshot, steps map[string]cache.Step, inFlight map[string]bool, now time.Time) Decision {
	p := planner{v: &View{Steps: steps, InFlight: inFlight}, now: now}
	switch {
	case s.Deleting:
		p.breakOff(Action{Kind: actErase, Target: s.Key()})
	case s.Status == cache.StatusCreating && s.CopyOf != "":
		p.transfer(Action{Kind: actCopy, Target: s.Key()})
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
