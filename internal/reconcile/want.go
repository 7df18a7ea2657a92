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
	// Transit is the same for all.
	Transit cache.TransitMode
}

// wants says, by member id, what each should have been told, given which
// endpoints it is to hold.
func (v *View) wants(e endpoints) map[string]want {
	out := make(map[string]want, len(v.Members))
	for _, s := range v.shards() {
		for _, m := range s.Members {
			w := want{Role: cache.RolePrimary, Binds: e.binds[m.ID], Transit: v.transit()}
			if !s.leads(m) && s.Primary != nil {
				w.Role, w.Primary = cache.RoleReplica, s.Primary.Node.Address
			}
			out[m.ID] = w
		}
	}
	return out
}

// told tells whether the node has been told exactly this.
func (w want) told(n *cache.Node) bool {
	return n.Role == w.Role && n.Primary == w.Primary && slices.Equal(n.Binds, w.Binds) && n.Transit == w.Transit
}

// spec is the full description of a member's node for the engine.
func (v *View) spec(m *cache.CacheCluster, w want) cache.NodeSpec {
	values, limit := limits(m)
	seeding := v.isPrimary(m) && v.seeding(v.shardOf(m))
	if seeding {
		limit = 0 // with one, keys would be evicted before it is seen that they do not fit
	}
	return cache.NodeSpec{
		Key:        m.NodeKey(),
		Build:      m.Node.Build,
		Address:    m.Node.Address,
		Binds:      w.Binds,
		Primary:    w.Primary,
		Cluster:    v.clusterOf(m),
		MaxMemory:  limit,
		Parameters: values,
		Secret:     v.secret(),
		Access:     m.Settings.Access,
		Transit:    v.nodeTransit(m),
		Seeded:     m.Node.Parked || seeding,
	}
}

// limits are the values of a member's parameter group, and how many bytes of data
// it may hold.
func limits(m *cache.CacheCluster) (values map[string]string, data int64) {
	values = m.RunningParameters()
	kind, _ := cache.FindNodeType(m.NodeType) // control lets no other in; its zero sets no limit
	return values, cache.DataMemory(kind, values)
}

// asTold is the spec of a node as it is at present, whatever it is to become.
func (v *View) asTold(m *cache.CacheCluster) cache.NodeSpec {
	return v.spec(m, want{Role: m.Node.Role, Primary: m.Node.Primary, Binds: m.Node.Binds})
}
