package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"holdfast.dev/internal/cache"
)

// shard is one part of a unit's data and the nodes that hold it: a node group of a
// group in cluster mode; without cluster mode, and for a cluster that stands alone,
// all there is.
type shard struct {
	ID    string // "0001"
	Slots cache.Slots
	// Primary is the member that leads; nil only in broken records.
	Primary *cache.CacheCluster
	// Members are all of them in the order of their numbers, the primary too.
	Members []*cache.CacheCluster
}

// shards are those of the unit in the order of their ids; one at least.
func (v *View) shards() []shard {
	if v.Group == nil {
		m := &v.Members[0]
		return []shard{{ID: cache.NodeGroupID, Slots: cache.AllSlots(), Primary: m, Members: []*cache.CacheCluster{m}}}
	}
	groups := v.Group.Shards()
	out := make([]shard, len(groups))
	for i, n := range groups {
		out[i] = shard{ID: n.ID, Slots: n.Slots, Primary: v.member(n.Primary)}
		for j := range v.Members {
			if m := &v.Members[j]; m.ShardID() == n.ID && !m.Departed {
				out[i].Members = append(out[i].Members, m)
			}
		}
	}
	return out
}

// shardOf is the shard of a member; the zero shard only in broken records.
func (v *View) shardOf(m *cache.CacheCluster) shard {
	for _, s := range v.shards() {
		if s.has(m) {
			return s
		}
	}
	return shard{}
}

func (s shard) has(m *cache.CacheCluster) bool {
	return slices.ContainsFunc(s.Members, func(o *cache.CacheCluster) bool { return o.ID == m.ID })
}

func (s shard) leads(m *cache.CacheCluster) bool { return s.Primary != nil && s.Primary.ID == m.ID }

// replicas are the members that do not lead.
func (s shard) replicas() []*cache.CacheCluster {
	var out []*cache.CacheCluster
	for _, m := range s.Members {
		if !s.leads(m) {
			out = append(out, m)
		}
	}
	return out
}

// readyReplicas are the replicas that run and have had their data; those that are to
// go only where there is no other.
func (s shard) readyReplicas() []*cache.CacheCluster {
	ready := slices.DeleteFunc(s.replicas(), func(m *cache.CacheCluster) bool {
		return m.Node.Process == nil || !m.Node.Ready
	})
	going := func(m *cache.CacheCluster) bool { return m.Deletion != nil }
	if slices.ContainsFunc(ready, func(m *cache.CacheCluster) bool { return !going(m) }) {
		ready = slices.DeleteFunc(ready, going)
	}
	return ready
}

// heirs are the replicas that may have what a dead primary had: those that are ready,
// and while none is those that run, for a replica has its data a moment before that is
// written down. Once they have been asked and have nothing there are none.
func (s shard) heirs() []*cache.CacheCluster {
	ready := s.readyReplicas()
	if len(ready) > 0 || s.Primary != nil && s.Primary.Node.Heirless {
		return ready
	}
	return slices.DeleteFunc(s.replicas(), func(m *cache.CacheCluster) bool { return m.Node.Process == nil })
}

// clusterOf is the cluster as a member should see it; nil without cluster mode. It
// is what is wanted: a member that has not been told yet that it leads is a primary here.
func (v *View) clusterOf(m *cache.CacheCluster) *cache.ClusterSpec {
	if !v.clustered() {
		return nil
	}
	c := &cache.ClusterSpec{Self: v.busID(m.ID), Moving: v.Group.MovingSlots()}
	for _, s := range v.shards() {
		for _, o := range s.Members {
			n := cache.ClusterNode{ID: v.busID(o.ID), Shard: v.busID(s.ID), Address: o.Node.Address, BusPort: o.Node.BusPort}
			if s.leads(o) {
				n.Slots = s.Slots
			} else if s.Primary != nil {
				n.Primary = v.busID(s.Primary.ID)
			}
			c.Nodes = append(c.Nodes, n)
		}
	}
	return c
}

// busID is the id by which the engines know a node or a shard: the same for life,
// and another one for a group, or a node, that comes later under the same name.
func (v *View) busID(name string) string {
	created := v.Group.CreatedAt
	if m := v.member(name); m != nil {
		created = m.CreatedAt
	}
	sum := sha256.Sum256([]byte(v.key() + " " + created.UTC().Format(time.RFC3339Nano) + " " + name))
	return hex.EncodeToString(sum[:20])
}

// clustered tells whether the unit's keys are spread over shards by their slots.
func (v *View) clustered() bool { return v.Group != nil && v.Group.ClusterEnabled }

// shardTarget is how an action names a shard: without cluster mode by the group's
// key, else by that and the node group's id.
func (v *View) shardTarget(s shard) string {
	if v.clustered() {
		return v.key() + " " + s.ID
	}
	return v.key()
}

func (v *View) shardByTarget(target string) (shard, bool) {
	for _, s := range v.shards() {
		if v.shardTarget(s) == target {
			return s, true
		}
	}
	return shard{}, false
}

// seedTarget is what a seed is put into: one node, or in cluster mode the whole
// group, whose files are written in one reading of the data.
func (v *View) seedTarget() string {
	if m := v.shards()[0].Primary; !v.clustered() && m != nil {
		return m.Key()
	}
	return v.key()
}

// unseeded tells whether the data that a shard is to start with are not in place yet.
func (v *View) unseeded(s shard) bool {
	seed := v.seed()
	if seed == nil || !v.clustered() {
		return seed != nil && seed.Manifest == nil
	}
	_, placed := seed.Shards[s.ID]
	return !placed
}

// seeding tells whether a shard's seed is in place and not yet proved to be loaded.
func (v *View) seeding(s shard) bool {
	seed := v.seed()
	if seed == nil || !v.clustered() {
		return seed != nil && seed.Manifest != nil && !seed.Verified
	}
	part, placed := seed.Shards[s.ID]
	return placed && !part.Verified
}

// primary and readyReplicas are those of the first shard, for units that have one.
func (v *View) primary() *cache.CacheCluster { return v.shards()[0].Primary }

func (v *View) readyReplicas() []*cache.CacheCluster { return v.shards()[0].readyReplicas() }
