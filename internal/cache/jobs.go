package cache

// Login is how Holdfast's own administrator reaches a node.
type Login struct {
	Address  Address
	User     string
	Password string
}

// VerifyJob asks for a live node to be compared with the file that it was seeded from.
type VerifyJob struct {
	Path string
	Node Login
}

// SnapshotJob asks for the data of a node to be written to an object of the
// region's snapshot store.
type SnapshotJob struct {
	Region string
	Object string
	Node   Login
	Build  string
	// MinOffset in the replication stream that the data must have reached: what
	// had been acknowledged by then is in the snapshot.
	MinOffset int64
	// RunID is the engine's process that has the data; "" if any will do. One that was
	// started anew at the same address may have none.
	RunID string
	// Forkless has the node read as a client reads it, where the memory for a
	// fork is not there.
	Forkless bool
	// Reason is why the method was chosen, and Memory what the data take in the
	// node, in bytes. Both go into the manifest.
	Reason string
	Memory int64
}
