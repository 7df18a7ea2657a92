package controltest

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// begins tells what a cache becomes by what is pending, if that is not to wait.
func (w *World) begins(tx *store.Tx, region string, s *cache.Settings, build string) (to cache.Kind, yes bool, err error) {
	p := s.Pending
	if p.Empty() {
		return to, false, nil
	}
	window, _ := cache.ParseWeeklyWindow(s.MaintenanceWindow)
	if inside, _ := window.At(w.Now()); !inside && !p.Now {
		return to, false, nil
	}
	to, err = records.Successor(tx, region, s.Kind(build), p)
	return to, err == nil, err
}

// upgradeGroup makes a group be what was pending of it.
func (w *World) upgradeGroup(tx *store.Tx, g *cache.ReplicationGroup) error {
	members := make([]cache.CacheCluster, 0, len(g.Members))
	for _, id := range g.Members {
		k, _, err := records.Clusters.Get(tx, cache.Key(g.Region, id))
		if err != nil {
			return err
		}
		members = append(members, k)
	}
	if len(members) == 0 {
		return nil
	}
	to, yes, err := w.begins(tx, g.Region, &g.Settings, members[0].Node.Build)
	if err != nil || !yes {
		return err
	}
	g.Become(to)
	g.Pending = nil
	for i := range members {
		k := &members[i]
		k.Become(to)
		k.Node.Build = to.Build
		if err := records.Clusters.Put(tx, k.Key(), *k); err != nil {
			return err
		}
	}
	return nil
}

// upgradeCluster does so for a cluster that stands alone.
func (w *World) upgradeCluster(tx *store.Tx, k *cache.CacheCluster) error {
	if k.GroupID != "" {
		return nil
	}
	to, yes, err := w.begins(tx, k.Region, &k.Settings, k.Node.Build)
	if err != nil || !yes {
		return err
	}
	k.Become(to)
	k.Pending, k.Node.Build = nil, to.Build
	return nil
}
