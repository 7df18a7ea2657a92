package cache

// SeedJob asks for the first data of nodes to be put where their engines will load it.
type SeedJob struct {
	Region string
	// From is the snapshot to restore; nil when ObjectARNs are set.
	From *Snapshot
	// ObjectARNs are "arn:aws:s3:::bucket/key.rdb".
	ObjectARNs []string
	// Build names the engine that is to load what is written.
	Build string
	// Clustered: the data goes to node groups by its slots. Without it there is one part,
	// which gets everything.
	Clustered bool
	// Databases is how many a cluster has; all else is refused. 0 is for one.
	Databases int
	// Parts are the files to write, each complete or not at all. In cluster mode
	// they may be fewer than there are node groups: those that are missing.
	Parts []SeedPart
	// Progress, if set, is told how many of all bytes have been read. It is called
	// from one goroutine at a time.
	Progress func(read, total int64)
}

// SeedPart is one file that a seed is to write.
type SeedPart struct {
	NodeGroupID string
	Slots       Slots
	Path        string
}

// Seeded is what a seed came to.
type Seeded struct {
	// Whole is what was read, all files together.
	Whole Manifest
	// Parts are what the files hold that were written, by node group.
	Parts map[string]Manifest
}
