package cache

import "time"

// NodeSpec is everything that an engine has to know to make one node be what it
// should be. It is computed from the records afresh each time, never stored.
type NodeSpec struct {
	// Key is the cache cluster's key, "us-east-1/orders-001"; the node's
	// directory and its identity in the process table follow from it.
	Key string
	// Build names the installed engine, as Node.Build does.
	Build string
	// Address is where the node itself answers.
	Address Address
	// Binds are further hosts that it answers on at the same port: the
	// endpoints that it holds at present.
	Binds []string
	// Primary is whom the node replicates; zero for a primary.
	Primary Address
	// Cluster is what a node in cluster mode knows of the others; nil without.
	Cluster *ClusterSpec
	// MaxMemory in bytes that data may take; 0 means no limit.
	MaxMemory int64
	// Parameters by ElastiCache's names, the whole set of the parameter group.
	Parameters map[string]string
	// Secret is the password of Holdfast's own administrator.
	Secret string
	// Access says who else may log in; nil for everybody.
	Access *Access
	// Transit says who has to encrypt.
	Transit NodeTransit
	// Seeded says that the node starts from the file that its seed left in its
	// directory. Without it a node starts from nothing but what its own
	// persistence settings kept.
	Seeded bool
}

// ClusterSpec is a cluster as each of its nodes should see it.
type ClusterSpec struct {
	// Self is the id of the node that is told.
	Self string
	// Nodes are all of them, Self too, in an order that stays the same.
	Nodes []ClusterNode
	// Moving are slots that are on the way from one shard to another: who has them at
	// this moment the nodes alone know, and what Nodes says of them is a guess.
	Moving Slots
}

// ClusterNode is one node of a cluster.
type ClusterNode struct {
	// ID by which the engines know each other: 40 hexadecimal digits, for life. Shard
	// is that of its shard, where the engine has such.
	ID, Shard string
	Address   Address
	// BusPort is where it hears the other nodes.
	BusPort int
	// Primary is the id of the node that it replicates; "" for a primary.
	Primary string
	// Slots of a primary.
	Slots Slots
}

// Find returns the node of that address.
func (c *ClusterSpec) Find(at Address) (ClusterNode, bool) {
	for _, n := range c.Nodes {
		if n.Address == at {
			return n, true
		}
	}
	return ClusterNode{}, false
}

// NeverLinked is for how long a replica's link is down that never was up.
const NeverLinked = 10 * 365 * 24 * time.Hour

// Health is what a probe saw.
type Health struct {
	Role    Role
	Loading bool // the data is still being read from disk
	// LinkUp tells whether a replica is connected to its primary and has its data.
	LinkUp bool
	// LinkDown is for how long a replica has been without its primary; 0 while the
	// link is up, and NeverLinked or more when it never was.
	LinkDown time.Duration
	// Offset in the replication stream.
	Offset int64
	// ReplicaLag, for a primary, is bytes not yet acknowledged by each replica, by address.
	ReplicaLag map[string]int64
	UsedMemory int64
	// MaxMemory is what the engine takes for the limit of its data; 0 for none.
	MaxMemory int64
	// Changes counts keys that were written to since the last save to disk, which
	// is only good for the difference between two looks.
	Changes int64
	// Saving tells that a child writes the data, to disk or to replicas. Copied is
	// how many bytes of memory were copied for it since it was forked; 0 where the
	// engine does not tell before the end (Redis 6.0).
	Saving  bool
	Copied  int64
	Keys    int64
	Version string
	// RunID is the engine's own name of its process, another one after each start.
	RunID string
}
