package reconcile

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// endpoints says who answers at the group's addresses.
type endpoints struct {
	// binds: the engine itself, by member id.
	binds map[string][]string
	// forwards: a forwarder in front of these nodes.
	forwards map[cache.Address][]cache.Address
}

// endpoints decides who stands at the primary and the reader endpoint. An
// engine that can change its addresses holds an endpoint itself: that costs
// nothing and only one process can. A forwarder stands where it cannot, where
// several replicas share the reader endpoint, and where all nodes share one host.
func (v *View) endpoints() endpoints {
	e := endpoints{binds: map[string][]string{}, forwards: map[cache.Address][]cache.Address{}}
	lead := v.primary()
	if v.Group == nil || lead == nil {
		return e
	}
	e.give(v, v.Group.PrimaryEndpoint, []*cache.CacheCluster{lead})
	e.give(v, v.Group.ReaderEndpoint, v.readers(lead))
	return e
}

// readers are the members behind the reader endpoint: the replicas, or the
// primary while there is none. During creation a replica that is still on its
// way counts, so that the address does not change hands before anyone uses it.
func (v *View) readers(lead *cache.CacheCluster) []*cache.CacheCluster {
	replicas := v.readyReplicas()
	if v.status() == cache.StatusCreating {
		replicas = nil
		for i := range v.Members {
			if m := &v.Members[i]; !v.isPrimary(m) {
				replicas = append(replicas, m)
			}
		}
	}
	if len(replicas) == 0 {
		return []*cache.CacheCluster{lead}
	}
	return replicas
}

func (e *endpoints) give(v *View, at cache.Address, to []*cache.CacheCluster) {
	if at.IsZero() {
		return
	}
	if len(to) == 1 {
		m := to[0]
		own := m.Node.Address
		if v.CanRebind[m.Node.Build] && own.Port == at.Port && own.Host != at.Host {
			e.binds[m.ID] = append(e.binds[m.ID], at.Host)
			return
		}
	}
	for _, m := range to {
		e.forwards[at] = append(e.forwards[at], m.Node.Address)
	}
}

// forwards brings the standing forwarders in line. One is put up only once no
// engine holds its address any more.
func (p *planner) forwards(e endpoints) {
	for _, at := range p.v.addresses() {
		to, wanted := e.forwards[at]
		have, stands := p.v.Forwards[at]
		switch {
		case stands && !wanted:
			p.do(Action{Kind: actUnforward, Target: p.v.key() + " " + hostPort(at), At: at})
		case wanted && !slices.Equal(have, to) && !p.held(at):
			a := p.forwardAt(at)
			a.To = to
			p.do(a)
		}
	}
}

func (p *planner) forwardAt(at cache.Address) Action {
	return Action{Kind: actForward, Target: p.v.key() + " " + hostPort(at), At: at}
}

// addresses are the endpoints that the unit owns.
func (v *View) addresses() []cache.Address {
	if v.Group == nil {
		return nil
	}
	return []cache.Address{v.Group.PrimaryEndpoint, v.Group.ReaderEndpoint}
}

func (p *planner) held(at cache.Address) bool {
	for i := range p.v.Members {
		n := &p.v.Members[i].Node
		if n.Process != nil && n.Address.Port == at.Port && holds(n, at.Host) {
			return true
		}
	}
	return false
}
