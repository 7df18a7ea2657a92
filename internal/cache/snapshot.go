package cache

import "time"

// Snapshot sources as DescribeSnapshots prints them.
const (
	SourceManual    = "manual"
	SourceAutomated = "automated"
)

// Methods of taking a snapshot, and what the entries of one have in common.
const (
	// MethodForked: the node forks and streams its own file to us as to a replica.
	MethodForked = "replica-stream"
	// MethodForkless: the node is read with the commands of a client while it is written to.
	MethodForkless = "forkless"
	// MethodFile: a file that somebody else has written was imported.
	MethodFile = "file"
	// ConsistencyPoint: all entries are those of one instant.
	ConsistencyPoint = "point-in-time"
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
	// NodeGroups are those that the group had, when it was in cluster mode.
	NodeGroups      []NodeGroup `json:",omitempty"`
	Zone            string
	VpcID           string    `json:",omitempty"` // of the subnet group
	SourceCreatedAt time.Time // when the group or cluster was created
	CreatedAt       time.Time
	// CopyOf is the snapshot that this one is a copy of.
	CopyOf string
	// Import is set until what was taken elsewhere is in the snapshot store.
	Import *Import `json:",omitempty"`
	// Exports asked for and not finished yet.
	Exports  []Export `json:",omitempty"`
	Deleting bool

	Status Status
	Reason string
	// Stopped tells, by node group, why a forked save had to be stopped. What is
	// named here is read forkless from then on.
	Stopped map[string]string `json:",omitempty"`
	// Shards has one element per shard.
	Shards []ShardSnapshot
	// ProvedAt is when its files were last read again and found to be what was stored,
	// or not: then Rotten says what is wrong, and the status is failed.
	ProvedAt time.Time `json:",omitzero"`
	Rotten   string    `json:",omitempty"`
	// Unread says why its files could not be read when that was last tried, at UnreadAt:
	// they may be as good as ever, so that the status stays what it is.
	Unread   string    `json:",omitempty"`
	UnreadAt time.Time `json:",omitzero"`
	// Imported is the name of the directory that it was imported from. It outlasts Import,
	// so that whoever asks for the same import again is told that it is there.
	Imported string `json:",omitempty"`
	// Restores are the keys of the groups and clusters that are being created from it.
	Restores []string `json:",omitempty"`
}

// ClusterEnabled tells whether it is of a group in cluster mode.
func (s *Snapshot) ClusterEnabled() bool { return len(s.NodeGroups) > 0 }

// Key is where the snapshot is stored.
func (s *Snapshot) Key() string { return Key(s.Region, s.Name) }

// ShardSnapshot is one file of a snapshot.
type ShardSnapshot struct {
	NodeGroupID string
	ClusterID   string // the node that it was taken from
	// Slots are those of the node group, in cluster mode.
	Slots Slots `json:",omitempty"`
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
	// Method is how it was taken: MethodForked, MethodForkless, or "copy".
	Method string
	// MethodReason is why it was taken so, in words.
	MethodReason string `json:",omitempty"`
	// Consistency is what the entries have in common: ConsistencyPoint.
	Consistency string `json:",omitempty"`
	// Sealed names the key that the file is encrypted with where it is stored; Bytes
	// and SHA256 are those of its content.
	Sealed string `json:",omitempty"`
	// Lacks names what a file of the engine's own would hold besides.
	Lacks []string `json:",omitempty"`
	// Memory is how many bytes the data took in the node that they were read from.
	Memory int64 `json:",omitempty"`
	// HeldSeconds is for how long writes were held back.
	HeldSeconds float64 `json:",omitempty"`
	// ReplicationID and Offset of the stream at the cut, where there was one.
	ReplicationID string `json:",omitempty"`
	Offset        int64  `json:",omitempty"`
	// Seconds it took.
	Seconds float64
}
