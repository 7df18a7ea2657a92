package records

import (
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// MemcachedOwner names who holds the address of one node of a Memcached cluster; that of
// its configuration endpoint is held by ClusterOwner.
func MemcachedOwner(key, node string) string {
	return ClusterOwner(cache.MemcachedNodeKey(key, node))
}

// ApplyMemcachedPending makes what waits for the maintenance window of a Memcached cluster
// what is asked of it now. The record is left to be put, and the notes to be told.
func ApplyMemcachedPending(tx *store.Tx, c *cache.CacheCluster, now time.Time) (notes []string, err error) {
	m := c.Memcached
	p := m.Pending
	m.Pending = nil
	if p.Empty() {
		return nil, nil
	}
	if m.Change == nil {
		m.Change = &cache.MemcachedChange{}
	}
	c.Status = cache.StatusModifying
	if len(p.Add)+len(p.Remove) > 0 {
		m.Change.From = len(m.Staying())
	}
	if len(p.Add) > 0 {
		notes = append(notes, "Increasing number of requested nodes")
		for i := range p.Add {
			p.Add[i].CreatedAt = now
			m.Change.New = append(m.Change.New, p.Add[i].ID)
		}
		m.Nodes = append(slices.Clone(m.Nodes), p.Add...)
		slices.SortFunc(m.Nodes, func(a, b cache.MemcachedNode) int { return strings.Compare(a.ID, b.ID) })
	}
	for _, id := range p.Remove {
		if n := m.Find(id); n != nil {
			n.Leaving = true
		}
	}
	if p.EngineVersion != "" {
		m.Change.EngineVersion = p.EngineVersion
		c.EngineVersion, c.Node.Build = p.EngineVersion, p.Build
	}
	if p.ParameterGroup != "" && p.ParameterGroup != c.ParameterGroup {
		g, err := memcachedGroup(tx, c, p.ParameterGroup)
		if err != nil {
			return nil, err
		}
		c.ParameterGroup, c.Parameters = g.Name, maps.Clone(g.Values)
		notes = append(notes, "Updated to use a CacheParameterGroup "+g.Name)
	}
	if p.NodeType != "" {
		m.Change.NodeType = p.NodeType
		c.NodeType, m.Scale, m.RolledAt = p.NodeType, p.Scale, time.Time{}
	}
	return notes, nil
}

// memcachedGroup is a parameter group, or its family's default one if it is gone.
func memcachedGroup(tx *store.Tx, c *cache.CacheCluster, name string) (cache.ParameterGroup, error) {
	g, ok, err := FindParameterGroup(tx, c.Region, name)
	if err != nil || ok {
		return g, err
	}
	family, _ := cache.FamilyOf(c.Engine, c.EngineVersion)
	g, _ = cache.FindParameterGroup(cache.DefaultParameterGroup(family))
	return g, nil
}
