package reconcile

import (
	"errors"
	"slices"

	"holdfast.dev/internal/cache"
)

// errNotYet: an action was planned before something that it has to come after. Its
// step stays as it is, and is planned again.
var errNotYet = errors.New("it is not its turn yet")

// unsure tells whether an attempt to tell the node something was cut short or
// failed: then it may know anything, whatever it was told before.
func (v *View) unsure(m *cache.CacheCluster) bool {
	_, open := v.Steps[Action{Kind: actConfigure, Target: m.Key()}.ID()]
	return open
}

// led tells whether a shard's primary runs and has been told, for sure, that it leads.
func (v *View) led(s shard) bool {
	if s.Primary == nil {
		return false
	}
	n := &s.Primary.Node
	return n.Process != nil && n.Role == cache.RolePrimary && !v.unsure(s.Primary)
}

// turn tells whether a member may be told what it is to be: nobody follows a node
// that does not lead yet. In cluster mode one that is still a replica, and hears from
// a node that follows it, takes itself for a primary and for a replica at once, and no
// command turns it round. Without cluster mode the fence comes before the promotion: a
// former primary that lives goes first, as does whoever stands where the primary is to stand.
func (v *View) turn(s shard, m *cache.CacheCluster, wants map[string]want) bool {
	if v.replicasFirst(s, m) {
		return false
	}
	if s.leads(m) {
		return v.clustered() || m.Node.Role == cache.RolePrimary || !s.rivals(m)
	}
	if v.led(s) {
		return true
	}
	if v.clustered() || s.Primary == nil {
		return false
	}
	return m.Node.Role == cache.RolePrimary ||
		slices.ContainsFunc(wants[s.Primary.ID].Binds, func(host string) bool { return holds(&m.Node, host) })
}

// rivals tells whether another member lives that has been told that it leads.
func (s shard) rivals(m *cache.CacheCluster) bool {
	return slices.ContainsFunc(s.Members, func(o *cache.CacheCluster) bool {
		return o.ID != m.ID && o.Node.Process != nil && o.Node.Role == cache.RolePrimary
	})
}

// attainable is what a member is to be as far as it can be at present: without the
// addresses that others hold still. Those let go first, which ends with another look.
func (v *View) attainable(m *cache.CacheCluster, w want) want {
	w.Binds = slices.DeleteFunc(slices.Clone(w.Binds), func(host string) bool { return !v.free(m, host) })
	return w
}

// free tells whether nobody but the member itself holds an address.
func (v *View) free(m *cache.CacheCluster, host string) bool {
	if _, taken := v.Forwards[cache.Address{Host: host, Port: m.Node.Address.Port}]; taken {
		return false
	}
	return !slices.ContainsFunc(v.Members, func(o cache.CacheCluster) bool {
		return o.ID != m.ID && o.Node.Process != nil && holds(&o.Node, host)
	})
}
