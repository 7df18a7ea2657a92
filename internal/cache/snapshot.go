package cache

import "time"

// Snapshot sources as DescribeSnapshots prints them.
const (
	SourceManual    = "manual"
	SourceAutomated = "automated"
)

// Snapshot is a backup: the settings of what it was taken from and one file per
// shard. Asked for: everything up to Deleting. Seen: the rest.
type Snapshot struct {
	Region, Name string
	Source       string // SourceManual or SourceAutomated
	// GroupID and ClusterID are what was asked to be backed up; one is set.
	// ClusterID is also set for a group to the member that was asked for by name.
	GroupID          string
	GroupDescription string
	ClusterID        string
	Settings
	AutomaticFailover bool
	Zone              string
	SourceCreatedAt   time.Time // when the group or cluster was created
	CreatedAt         time.Time
	// CopyOf is the snapshot that this one is a copy of.
	CopyOf   string
	KmsKeyID string
	// Exports asked for and not finished yet.
	Exports  []Export `json:",omitempty"`
	Deleting bool

	Status Status
	Reason string
	// Shards has one element per shard.
	Shards []ShardSnapshot
	// Restores are the keys of the groups and clusters that are being created from it.
	Restores []string `json:",omitempty"`
}

// Key is where the snapshot is stored.
func (s *Snapshot) Key() string { return Key(s.Region, s.Name) }

// ShardSnapshot is one file of a snapshot.
type ShardSnapshot struct {
	NodeGroupID string
	ClusterID   string // the node that it was taken from
	// Object is the file's key in the snapshot store of the region.
	Object   string
	TakenAt  time.Time
	Manifest *Manifest `json:",omitempty"`
}

// Export is one CopySnapshot into a bucket.
type Export struct {
	TargetName string // files become <TargetName>-0001.rdb …
	Bucket     string
	StartedAt  time.Time
}

// Manifest says what a file of entries holds and how that is known.
type Manifest struct {
	// Fingerprint is order-free and independent of encodings; two equal ones
	// mean the same keys, values and expiry times.
	Fingerprint string
	Keys        int64
	KeysByType  map[string]int64
	KeysByDB    map[int]int64
	Volatile    int64 // keys with an expiry time
	Bytes       int64 // size of the file
	SHA256      string
	RDBVersion  int
	Engine      string // engine and full version that wrote it
	Version     string
	// Method is how it was taken: "replica-stream", "bgsave", "copy".
	Method string
	// ReplicationID and Offset of the stream at the cut, where there was one.
	ReplicationID string `json:",omitempty"`
	Offset        int64  `json:",omitempty"`
	// Seconds it took.
	Seconds float64
}
