package controltest

import (
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// memcached makes a Memcached cluster be what it is to be.
func (w *World) memcached(tx *store.Tx, k *cache.CacheCluster) (stays bool, err error) {
	m := k.Memcached
	for _, n := range m.Nodes {
		if k.Deletion == nil && !n.Leaving {
			continue
		}
		if err := records.ReleaseAddresses(tx, records.MemcachedOwner(k.Key(), n.ID)); err != nil {
			return false, err
		}
	}
	if k.Deletion != nil {
		return false, records.ReleaseAddresses(tx, records.ClusterOwner(k.Key()))
	}
	m.Nodes = slices.DeleteFunc(m.Nodes, func(n cache.MemcachedNode) bool { return n.Leaving })
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if n.Reboot || k.Outdated(n) || n.Build == "" {
			n.Build, n.NodeType, n.Told = k.Node.Build, k.NodeType, k.ParametersMark()
		}
		n.Process, n.Ready, n.Listed, n.Reboot = &cache.Process{PID: 1}, true, true, false
	}
	m.Discovery++
	m.Change, m.Scale, k.Status = nil, nil, cache.StatusAvailable
	return true, nil
}
