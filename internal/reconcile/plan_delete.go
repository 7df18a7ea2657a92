package reconcile

import "holdfast.dev/internal/cache"

// delete takes the final snapshot that was asked for, and then everything
// away. Without that snapshot nothing is deleted.
func (p *planner) delete() {
	if name := p.v.deletion().FinalSnapshot; name != "" {
		switch s := p.v.snapshot(name); {
		case s == nil || s.Status == cache.StatusFailed:
			p.breakOff(Action{Kind: actKeep, Target: p.v.key()})
			return
		case s.Status == cache.StatusCreating:
			p.run()
			return
		}
	}
	if p.sweep() {
		p.breakOff(Action{Kind: actDrop, Target: p.v.key()})
	}
}

// sweep ends every process, directory and forwarder of the unit and tells
// whether none is left.
func (p *planner) sweep() bool {
	if !p.quiet(actRemove, actUnforward, actDrop) {
		return false
	}
	clean := true
	for _, at := range p.v.addresses() {
		if _, stands := p.v.Forwards[at]; stands {
			clean = false
			p.do(Action{Kind: actUnforward, Target: p.v.key() + " " + hostPort(at), At: at})
		}
	}
	for i := range p.v.Members {
		if m := &p.v.Members[i]; !m.Node.Gone {
			clean = false
			p.do(Action{Kind: actRemove, Target: m.Key()})
		}
	}
	return clean
}
