package control

import (
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// LoadFactor is how many times the size of its file a data set may take in the
// memory of a node: files are compressed, and tables and allocators add their own.
const LoadFactor = 3

// maxNodesInRegion is ElastiCache's quota.
const maxNodesInRegion = 300

// checkData refuses data that cannot fit, with both figures. free is what the
// machine has left.
func checkData(seedBytes int64, nodes int, t cache.NodeType, usable, free int64) error {
	if seedBytes == 0 {
		return nil
	}
	if seedBytes > usable {
		return conflict("The data to restore has %s on disk and a node of type %s holds %s of data: choose a larger node type.",
			size(seedBytes), t.Name, size(usable))
	}
	if need := seedBytes * LoadFactor * int64(nodes); need > free {
		return cache.Faultf(codeInsufficientCapacity,
			"The data to restore may need %s of memory on %d nodes and this machine has %s free.", size(need), nodes, size(free))
	}
	return nil
}

// nominal counts the nodes of a region and adds up what the node types of all
// regions name. What is being deleted still counts until it is gone.
func nominal(tx *store.Tx, region string) (nodesInRegion int, bytes int64, err error) {
	clusters, err := records.Clusters.List(tx, "")
	if err != nil {
		return 0, 0, err
	}
	for i := range clusters {
		n := 1
		if m := clusters[i].Memcached; m != nil {
			n = len(m.Nodes)
			if m.Pending != nil {
				n += len(m.Pending.Add)
			}
		}
		if clusters[i].Region == region {
			nodesInRegion += n
		}
		t, _ := cache.FindNodeType(clusters[i].NodeType)
		bytes += t.MaxMemory * int64(n)
	}
	return nodesInRegion, bytes, nil
}

// reserve holds n more nodes of a type against the quota and, where memory is
// reserved, against the machine. The note is for people: what the types name
// exceeds what there is.
func (c *Control) reserve(tx *store.Tx, region string, n int, t cache.NodeType) (note string, err error) {
	nodes, sum, err := nominal(tx, region)
	if err != nil {
		return "", err
	}
	if nodes+n > maxNodesInRegion {
		return "", cache.Faultf(codeNodeQuota, "Customer node quota exceeded. You can have at most %d nodes in this region.", maxNodesInRegion)
	}
	sum += t.MaxMemory * int64(n)
	total := c.Memory.Total()
	if sum <= total {
		return "", nil
	}
	if c.StrictMemory {
		return "", cache.Faultf(codeInsufficientCapacity,
			"All caches together would reserve %s and this machine has %s of memory.", size(sum), size(total))
	}
	return fmt.Sprintf("The node types of all caches together name %s of memory and this machine has %s: "+
		"they cannot all be filled", size(sum), size(total)), nil
}

// size prints bytes for people.
func size(n int64) string {
	const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30
	switch {
	case n >= gib:
		return fmt.Sprintf("%.2f GiB", float64(n)/gib)
	case n >= mib:
		return fmt.Sprintf("%.1f MiB", float64(n)/mib)
	case n >= kib:
		return fmt.Sprintf("%.1f KiB", float64(n)/kib)
	}
	return fmt.Sprintf("%d bytes", n)
}
