package control

import (
	"context"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// NodeTypeChanges are the node types that a cache can be given, by name.
type NodeTypeChanges struct{ Up, Down []string }

// ListAllowedNodeTypeModifications returns the node types that a cluster or a replication
// group can be given. Whether its data fit is seen when one is asked for.
func (c *Control) ListAllowedNodeTypeModifications(ctx context.Context, region, clusterID, groupID string) (out NodeTypeChanges, err error) {
	if (clusterID == "") == (groupID == "") {
		return out, conflict("Exactly one of the parameters CacheClusterId and ReplicationGroupId must be provided.")
	}
	err = c.DB.View(ctx, func(tx *store.Tx) error {
		if groupID != "" {
			g, err := getGroup(tx, region, groupID)
			out = allowedChanges(g.Kind(""))
			return err
		}
		k, err := getCluster(tx, region, clusterID)
		out = allowedChanges(k.Kind(""))
		return err
	})
	return out, err
}

// previous are the classes that ElastiCache makes no new nodes of.
var previous = []string{"t1", "t2", "m1", "m2", "m3", "m4", "c1", "r3", "r4"}

// allowedChanges are the node types that serve the same engine, of those that are still
// made; one whose data may spill to a disk goes with such alone. One of the same size
// counts as larger: nothing has to be given up for it.
func allowedChanges(now cache.Kind) (out NodeTypeChanges) {
	from, ok := cache.FindNodeType(now.NodeType)
	if !ok {
		return out
	}
	for _, t := range cache.NodeTypes() {
		if t.Name == from.Name || t.DataTiering != from.DataTiering || slices.Contains(previous, nodeClass(t.Name)) || !serves(t, now) {
			continue
		}
		if capacity(t, now) >= capacity(from, now) {
			out.Up = append(out.Up, t.Name)
		} else {
			out.Down = append(out.Down, t.Name)
		}
	}
	return out
}

// capacity orders node types for an engine.
func capacity(t cache.NodeType, of cache.Kind) int64 {
	if of.Engine == cache.Memcached {
		return int64(t.MemcachedMB)
	}
	return t.MaxMemory
}

func serves(t cache.NodeType, k cache.Kind) bool {
	if k.Engine == cache.Memcached {
		return checkMemcachedNodeType(t, k.EngineVersion) == nil
	}
	return k.Engine == cache.Valkey || !t.ValkeyOnly && cache.CompareVersions(k.EngineVersion, t.MinRedis) >= 0
}

// checkAllowed refuses a node type that is not among those that the cache can be given
// with the engine that it is to have.
func checkAllowed(now, to cache.Kind) error {
	of := to
	of.NodeType = now.NodeType
	allowed := allowedChanges(of)
	if slices.Contains(allowed.Up, to.NodeType) || slices.Contains(allowed.Down, to.NodeType) {
		return nil
	}
	hint := "ListAllowedNodeTypeModifications names those that are."
	if slices.Contains(previous, nodeClass(to.NodeType)) {
		hint = "It is of a previous generation. " + hint
	}
	return conflict("The node type cannot be modified from %s to %s: it is not among the allowed modifications. %s", now.NodeType, to.NodeType, hint)
}
