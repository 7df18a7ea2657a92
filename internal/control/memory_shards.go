package control

import "holdfast.dev/internal/cache"

// checkShards refuses data that cannot fit node by node: each node group gets the
// part of the data that its share of the slots makes likely.
func checkShards(d *decided, from *cache.Snapshot, shards []layout, usable, free int64) error {
	nodes := 0
	for i := range shards {
		nodes += shards[i].nodes
	}
	if len(shards) == 1 {
		return checkData(d.seed.Bytes, nodes, d.node, usable, free)
	}
	var need int64
	for i := range shards {
		part := expected(d.seed.Bytes, from, shards[i].slots)
		if part > usable {
			return conflict("Of the data to restore about %s on disk belong to node group %s, and a node of type %s holds %s of data: choose a larger node type or more node groups.",
				size(part), shards[i].id, d.node.Name, size(usable))
		}
		need += part * LoadFactor * int64(shards[i].nodes)
	}
	if need > free {
		return cache.Faultf(codeInsufficientCapacity,
			"The data to restore may need %s of memory on %d nodes and this machine has %s free.", size(need), nodes, size(free))
	}
	return nil
}

// expected is how many bytes of files belong to some slots, if keys are spread
// evenly within each file.
func expected(total int64, from *cache.Snapshot, slots cache.Slots) int64 {
	if from == nil || !from.ClusterEnabled() {
		return total * int64(slots.Count()) / cache.SlotCount
	}
	var sum int64
	for _, s := range from.Shards {
		if n := s.Slots.Count(); n > 0 && s.Manifest != nil {
			sum += s.Manifest.Bytes * int64(s.Slots.Common(slots)) / int64(n)
		}
	}
	return sum
}
