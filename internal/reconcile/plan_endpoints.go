package reconcile

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// endpoints says who answers at the group's addresses.
type endpoints struct {
	// binds: the engine itself, by member id.
	binds map[string][]string
	// forwards: a forwarder in front of these nodes; see bothPorts.
	forwards map[cache.Address][]cache.Address
	mixed    bool
	// logins: the forwarders look at who logs in; see loginsMark.
	logins bool
}

// endpoints decides who stands at the primary and the reader endpoint. An
// engine that can change its addresses holds an endpoint itself: that costs
// nothing and only one process can. A forwarder stands where it cannot, where
// several replicas share the reader endpoint, and where all nodes share one host.
func (v *View) endpoints() endpoints {
	e := endpoints{binds: map[string][]string{}, forwards: map[cache.Address][]cache.Address{}, mixed: v.mixed(), logins: v.hasLogins()}
	if v.Group == nil {
		return e
	}
	if v.clustered() {
		to, awaited := v.guides()
		if awaited {
			e.forward(v.Group.ConfigurationEndpoint, to)
		} else {
			e.give(v, v.Group.ConfigurationEndpoint, to)
		}
		return e
	}
	s := v.shards()[0]
	if s.Primary == nil {
		return e
	}
	e.give(v, v.Group.PrimaryEndpoint, []*cache.CacheCluster{s.Primary})
	at, to := v.Group.ReaderEndpoint, v.readers(s)
	if v.standsIn(s, to) {
		e.forward(at, to)
	} else {
		e.give(v, at, to)
	}
	return e
}

// standsIn tells whether the primary is behind the reader endpoint for as long as a
// replica is away, and so through a forwarder. An engine that takes an address up, or lets
// go of one, closes all its listeners for a moment and with them cuts off whoever is
// about to come in: that is not to happen to a primary that has just taken over, nor to one
// whose replica has died. A primary that has the endpoint, as one that has stood alone, keeps it.
func (v *View) standsIn(s shard, readers []*cache.CacheCluster) bool {
	if len(readers) != 1 || !s.leads(readers[0]) {
		return false
	}
	n := &s.Primary.Node
	if n.Role == cache.RolePrimary && holds(n, v.Group.ReaderEndpoint.Host) {
		return false
	}
	return slices.ContainsFunc(s.replicas(), func(m *cache.CacheCluster) bool { return !v.leaving(m) })
}

// readers are the members behind the reader endpoint: the replicas, or the
// primary while there is none. During creation a replica that is still on its
// way counts, so that the address does not change hands before anyone uses it.
func (v *View) readers(s shard) []*cache.CacheCluster {
	replicas := s.readyReplicas()
	if v.status() == cache.StatusCreating {
		replicas = s.replicas()
	}
	replicas = slices.DeleteFunc(replicas, func(m *cache.CacheCluster) bool { return v.leaving(m) || m.Node.Silent })
	if len(replicas) == 0 {
		return []*cache.CacheCluster{s.Primary}
	}
	return replicas
}

// guides are the members behind the configuration endpoint, where every node of a
// cluster is as good as any other: one that serves, where the engine can hold the
// address, all that do, where a forwarder stands. Whoever holds it keeps it. Else a
// replica takes it up: see standsIn for what that does to those who connect to a
// primary. If those that there are have yet to come, a forwarder stands until then.
//
// The stand-in of an upgrade is one where nobody else serves.
//
// No node is started with it: the address at which a node hears the others would
// go with it and never come free again.
func (v *View) guides() (to []*cache.CacheCluster, awaited bool) {
	var serving []*cache.CacheCluster
	for i := range v.Members {
		if m := &v.Members[i]; m.Node.Process != nil && m.Node.Ready && !v.leaving(m) {
			serving = append(serving, m)
		}
	}
	if stay := slices.DeleteFunc(slices.Clone(serving), func(m *cache.CacheCluster) bool { return m.StandIn }); len(stay) > 0 {
		serving = stay
	}
	if v.status() == cache.StatusCreating {
		first := v.shards()[0]
		return slices.DeleteFunc(serving, func(m *cache.CacheCluster) bool { return !first.leads(m) }), false
	}
	at := v.Group.ConfigurationEndpoint
	var best *cache.CacheCluster
	for _, m := range serving {
		switch {
		case !v.canHold(m, at):
		case holds(&m.Node, at.Host):
			return []*cache.CacheCluster{m}, false
		case best == nil, v.isPrimary(best) && !v.isPrimary(m):
			best = m
		}
	}
	if best == nil {
		return serving, false
	}
	if v.isPrimary(best) && v.hasReplicas() {
		return serving, true
	}
	return []*cache.CacheCluster{best}, false
}

// hasReplicas tells whether any member follows another one, once it runs.
func (v *View) hasReplicas() bool {
	return slices.ContainsFunc(v.Members, func(m cache.CacheCluster) bool {
		return !m.Departed && !v.leaving(&m) && !v.isPrimary(&m)
	})
}

// canHold tells whether a member's engine can answer at an address itself.
func (v *View) canHold(m *cache.CacheCluster, at cache.Address) bool {
	own := m.Node.Address
	return v.CanRebind[m.Node.Build] && own.Port == at.Port && own.Host != at.Host && !v.mixed() && !v.hasLogins()
}

func (e *endpoints) give(v *View, at cache.Address, to []*cache.CacheCluster) {
	if at.IsZero() || len(to) == 0 {
		return
	}
	if len(to) == 1 {
		if m := to[0]; v.canHold(m, at) {
			e.binds[m.ID] = append(e.binds[m.ID], at.Host)
			return
		}
	}
	e.forward(at, to)
}

func (e *endpoints) forward(at cache.Address, to []*cache.CacheCluster) {
	if at.IsZero() {
		return
	}
	if e.logins && len(to) > 0 {
		e.forwards[at] = append(e.forwards[at], loginsMark)
	}
	for _, m := range to {
		if e.mixed {
			e.forwards[at] = append(e.forwards[at], bothPorts(&m.Node)...)
			continue
		}
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
	if v.clustered() {
		return []cache.Address{v.Group.ConfigurationEndpoint}
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
