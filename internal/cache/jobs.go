package cache

// Login is how Holdfast's own administrator reaches a node.
type Login struct {
	Address  Address
	User     string
	Password string
}

// SeedJob asks for the first data of a node to be put where its engine will load it.
type SeedJob struct {
	Region string
	// From is the snapshot to restore; nil when ObjectARN is set.
	From *Snapshot
	// ObjectARN is "arn:aws:s3:::bucket/key.rdb".
	ObjectARN string
	// Path is the file to write, complete or not at all.
	Path string
	// Build names the engine that is to load it.
	Build string
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
}
