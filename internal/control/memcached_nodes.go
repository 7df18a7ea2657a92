package control

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// nodesPlan is what another number of nodes comes to.
type nodesPlan struct {
	// add is how many new ones are asked for besides those that are pending.
	add int
	// remove are nodes that are to go, drop those that are pending and not to come.
	remove, drop []string
}

// planNodes says what is to become of the nodes, and of those that are pending, when
// there are to be n. New ones come on top of those that are pending; whatever else was
// pending is replaced.
func planNodes(m *cache.MemcachedCluster, n int, remove []string) (nodesPlan, error) {
	var out nodesPlan
	active, pending := ids(m.Staying()), []string(nil)
	if m.Pending != nil {
		pending = ids(m.Pending.Add)
	}
	total := len(active) + len(pending)
	if n == len(active) || n >= total {
		if len(remove) > 0 {
			return out, conflict("CacheNodeIdsToRemove can only be used when NumCacheNodes is less than the number of cache nodes, which is %d.", total)
		}
		if n == len(active) {
			out.drop = pending
		} else {
			out.add = n - total
		}
		return out, nil
	}
	if len(remove) != total-n {
		return out, conflict("CacheNodeIdsToRemove must name as many cache nodes as are to be removed: %d, of the %d that there are or that are pending. Provided: %d",
			total-n, total, len(remove))
	}
	for i, id := range remove {
		switch {
		case slices.Contains(remove[:i], id):
			return out, invalid("The parameter CacheNodeIdsToRemove names the cache node %s more than once.", id)
		case slices.Contains(active, id):
			out.remove = append(out.remove, id)
		case slices.Contains(pending, id):
			out.drop = append(out.drop, id)
		default:
			return out, invalid("The parameter CacheNodeIdsToRemove names the cache node %s, which is not there.", id)
		}
	}
	if len(out.remove) != max(0, len(active)-n) {
		return out, conflict("CacheNodeIdsToRemove must name those that are pending before others: there are %d cache nodes, %d are pending, and there are to be %d.",
			len(active), len(pending), n)
	}
	return out, nil
}

func ids(nodes []cache.MemcachedNode) []string {
	var out []string
	for i := range nodes {
		out = append(out, nodes[i].ID)
	}
	return out
}

// freeIDs are the n lowest ids that no node has, be it pending.
func freeIDs(m *cache.MemcachedCluster, n int) []string {
	taken := ids(m.Nodes)
	if m.Pending != nil {
		taken = append(taken, ids(m.Pending.Add)...)
	}
	var out []string
	for i := 1; len(out) < n; i++ {
		if id := cache.MemcachedNodeID(i); !slices.Contains(taken, id) {
			out = append(out, id)
		}
	}
	return out
}

// newZones gives n further nodes of a cluster a zone each: those asked for, else that of
// the others, or, where nodes may be in several, those that have the fewest.
func newZones(k *cache.CacheCluster, n int, asked []string, subnets *cache.SubnetGroup) ([]string, error) {
	m := k.Memcached
	switch {
	case len(asked) > 0 && n == 0:
		return nil, conflict("NewAvailabilityZones can only be used when cache nodes are added.")
	case len(asked) > 0 && len(asked) != n:
		return nil, invalid("The number of NewAvailabilityZones must be the number of cache nodes that are added. Provided: %d zones for %d nodes", len(asked), n)
	case len(asked) > 0 && !m.CrossAZ && slices.ContainsFunc(asked, func(z string) bool { return z != m.Nodes[0].Zone }):
		return nil, conflict("NewAvailabilityZones names another zone than %s, which needs the AZMode %s.", m.Nodes[0].Zone, CrossAZ)
	case len(asked) > 0:
		return asked, nil
	case !m.CrossAZ:
		return place(k.Region, n, []string{m.Nodes[0].Zone}, nil), nil
	}
	var used []string
	for _, node := range m.Staying() {
		used = append(used, node.Zone)
	}
	if m.Pending != nil {
		for _, node := range m.Pending.Add {
			used = append(used, node.Zone)
		}
	}
	from := place(k.Region, len(Zones(k.Region)), nil, subnets)
	var out []string
	for range n {
		least := slices.MinFunc(from, func(a, b string) int { return occurrences(used, a) - occurrences(used, b) })
		used, out = append(used, least), append(out, least)
	}
	return out, nil
}

func occurrences(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}
