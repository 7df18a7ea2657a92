package reconcile

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// transit is the mode that nodes are to have.
func (v *View) transit() cache.TransitMode {
	if v.Group == nil {
		return ""
	}
	return v.Group.Transit()
}

// nodeTransit says how a member is reached and what it is to become. Its certificate is
// for all addresses at which it may ever answer, that of its successor too.
func (v *View) nodeTransit(m *cache.CacheCluster) cache.NodeTransit {
	if v.Group == nil {
		return cache.NodeTransit{Told: m.Node.Transit, Hosts: []string{m.Node.Address.Host}}
	}
	t := v.Group.NodeTransit(&m.Node)
	if now := v.member(m.ID); now != nil {
		t.Hosts = append(t.Hosts, now.Node.Address.Host)
		if now.Node.Next != nil {
			t.Hosts = append(t.Hosts, now.Node.Next.Address.Host)
		}
	}
	slices.Sort(t.Hosts[1:])
	t.Hosts = append(t.Hosts[:1], slices.Compact(t.Hosts[1:])...)
	if same := slices.Index(t.Hosts[1:], t.Hosts[0]); same >= 0 {
		t.Hosts = slices.Delete(t.Hosts, same+1, same+2)
	}
	if lead := v.shardOf(m).Primary; lead != nil {
		t.PrimaryTold = lead.Node.Transit
	}
	return t
}

// mixed tells whether endpoints have to take both kinds of clients: then a forwarder stands
// there, which tells them apart. It does so until no node has two ports any more.
func (v *View) mixed() bool {
	return v.transit() == cache.TransitPreferred || slices.ContainsFunc(v.Members, func(m cache.CacheCluster) bool {
		return v.Group != nil && m.Node.Process != nil && m.Node.Transit == cache.TransitPreferred
	})
}

// bothPorts are the addresses of a node for a forwarder that tells clients apart: its own
// and that for TLS.
func bothPorts(n *cache.Node) []cache.Address {
	return []cache.Address{n.Address, n.Address.TLS()}
}

// replicasFirst tells whether a primary that is to take nothing but TLS waits for a
// replica that has not been told to come with it. It would be cut off and not get in
// again before it has, for so long that it may have to read everything anew.
func (v *View) replicasFirst(s shard, m *cache.CacheCluster) bool {
	if !s.leads(m) || m.Node.Role != cache.RolePrimary || v.unsure(m) ||
		v.transit() != cache.TransitRequired || m.Node.Transit != cache.TransitPreferred {
		return false
	}
	return slices.ContainsFunc(s.readyReplicas(), func(o *cache.CacheCluster) bool {
		return !o.Node.Silent && o.Node.Transit == cache.TransitPreferred
	})
}

// encrypt ends a change of the mode once every node has been told and every endpoint
// leads where it should.
func (p *planner) encrypt() {
	g := p.v.Group
	if g == nil || g.TransitChange == nil || !p.v.encrypted() || !p.inPlace() {
		return
	}
	p.do(Action{Kind: actEncrypt, Target: p.v.key()})
}

// encrypted tells whether every member serves with the mode that it is to have.
func (v *View) encrypted() bool {
	return !slices.ContainsFunc(v.Members, func(m cache.CacheCluster) bool {
		return !m.Departed && (!isReady(&m) || m.Node.Transit != v.transit() || v.unsure(&m))
	})
}
