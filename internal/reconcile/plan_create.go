package reconcile

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// hopeless tells whether a creation cannot succeed any more, and why.
func (p *planner) hopeless() (string, bool) {
	if p.v.status() != cache.StatusCreating {
		return "", false
	}
	var needed []Action
	if p.v.clustered() {
		needed = append(needed, Action{Kind: actSeed, Target: p.v.seedTarget()})
	}
	for i := range p.v.Members {
		for _, k := range []Kind{actSeed, actStart, actReady, actConfigure, actVerify} {
			needed = append(needed, Action{Kind: k, Target: p.v.Members[i].Key()})
		}
	}
	for _, at := range p.v.addresses() {
		needed = append(needed, p.forwardAt(at))
	}
	for _, a := range needed {
		if reason, over := exhausted(p.v.Steps, a); over {
			return reason, true
		}
	}
	return "", false
}

// finish ends a creation once every node is up, told, and has its verified data.
func (p *planner) finish(e endpoints) {
	if p.v.status() != cache.StatusCreating || !p.complete(e) {
		return
	}
	p.do(Action{Kind: actFinish, Target: p.v.key()})
}

func (p *planner) complete(e endpoints) bool {
	if s := p.v.seed(); s != nil && !s.Verified {
		return false
	}
	wants := p.v.wants(e)
	for i := range p.v.Members {
		n := &p.v.Members[i].Node
		if n.Process == nil || !n.Ready || !wants[p.v.Members[i].ID].told(n) || p.unsure(&p.v.Members[i]) {
			return false
		}
	}
	for at, to := range e.forwards {
		if !slices.Equal(p.v.Forwards[at], to) {
			return false
		}
	}
	return true
}
