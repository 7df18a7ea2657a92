package reconcile

// access sees to it that every node that runs has been told who may log in: all of them at
// once and whatever else is going on, for a token that was revoked is valid until then.
// A node that does not run is started with it. One that was being told when that was cut
// short, or failed, may know anything, also if its record is right again by now.
func (p *planner) access() {
	for i := range p.v.Members {
		m := &p.v.Members[i]
		a := Action{Kind: actAccess, Target: m.Key()}
		if _, open := p.v.Steps[a.ID()]; m.Node.Process != nil && !m.Departed && (open || !m.AccessTold()) {
			p.do(a)
		}
	}
}
