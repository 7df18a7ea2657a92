package cache

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
	// MaxMemory in bytes that data may take; 0 means no limit.
	MaxMemory int64
	// Parameters by ElastiCache's names, the whole set of the parameter group.
	Parameters map[string]string
	// Secret is the password of Holdfast's own administrator.
	Secret string
	// Seeded says that the node starts from the file that its seed left in its
	// directory. Without it a node starts from nothing but what its own
	// persistence settings kept.
	Seeded bool
}

// Health is what a probe saw.
type Health struct {
	Role    Role
	Loading bool // the data is still being read from disk
	// LinkUp tells whether a replica is connected to its primary and has its data.
	LinkUp bool
	// Offset in the replication stream.
	Offset int64
	// ReplicaLag, for a primary, is bytes not yet acknowledged by each replica, by address.
	ReplicaLag map[string]int64
	UsedMemory int64
	Keys       int64
	Version    string
}
