package reconcile

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// want is what a member should have been told.
type want struct {
	Role    cache.Role
	Primary cache.Address
	Binds   []string
}

// wants says, by member id, what each should have been told, given which
// endpoints it is to hold.
func (v *View) wants(e endpoints) map[string]want {
	out := make(map[string]want, len(v.Members))
	for i := range v.Members {
		m := &v.Members[i]
		w := want{Role: cache.RolePrimary, Binds: e.binds[m.ID]}
		if p := v.primary(); !v.isPrimary(m) && p != nil {
			w.Role, w.Primary = cache.RoleReplica, p.Node.Address
		}
		out[m.ID] = w
	}
	return out
}

// told tells whether the node has been told exactly this.
func (w want) told(n *cache.Node) bool {
	return n.Role == w.Role && n.Primary == w.Primary && slices.Equal(n.Binds, w.Binds)
}

// spec is the full description of a member's node for the engine.
func (v *View) spec(m *cache.CacheCluster, w want) cache.NodeSpec {
	values := cache.EffectiveParameters(m.ParameterGroup, m.NodeType, m.EngineVersion)
	kind, _ := cache.FindNodeType(m.NodeType) // control lets no other in; its zero sets no limit
	return cache.NodeSpec{
		Key:        m.Key(),
		Build:      m.Node.Build,
		Address:    m.Node.Address,
		Binds:      w.Binds,
		Primary:    w.Primary,
		MaxMemory:  cache.DataMemory(kind, values),
		Parameters: values,
		Secret:     v.secret(),
		Seeded:     m.Node.Parked || v.isPrimary(m) && v.seeding(),
	}
}

// asTold is the spec of a node as it is at present, whatever it is to become.
func (v *View) asTold(m *cache.CacheCluster) cache.NodeSpec {
	return v.spec(m, want{Role: m.Node.Role, Primary: m.Node.Primary, Binds: m.Node.Binds})
}

// seeding tells whether the unit's seed is in place and not yet proved to be loaded.
func (v *View) seeding() bool {
	s := v.seed()
	return s != nil && s.Manifest != nil && !s.Verified
}
