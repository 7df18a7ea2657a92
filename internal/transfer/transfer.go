package transfer

import (
	"fmt"
	"path"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/seal"
)

// Build is what has to be known of an engine that is to load a file.
type Build struct {
	Engine, Version string
	// Reads tells whether it loads files of an RDB version; Valkey's own numbers begin at 80.
	Reads func(rdbVersion int) bool
}

// Config of a Mover; all fields but Spool are needed.
type Config struct {
	// Snapshots is the store that snapshots are kept in.
	Snapshots objects.Store
	// Incoming is the directory of what waits to be imported: <region>/<staged>/.
	Incoming string
	// Buckets finds the buckets that exports go to and seeds come from.
	Buckets objects.Buckets
	// Spool is a directory on a disk with room for the data of a node: what is read
	// without a fork waits there in a file without a name. "" is the system's
	// directory for temporary files.
	Spool string
	// Build describes an installed engine by the name that nodes carry.
	Build func(name string) (Build, error)
}

// Mover carries out transfers. It keeps nothing between them and may be used from many goroutines.
type Mover struct {
	Config
	// patience is chasePatience but in tests.
	patience func(scan time.Duration) time.Duration
}

// New makes a mover.
func New(c Config) *Mover { return &Mover{c, chasePatience} }

// SnapshotObject is the key of a shard's file in the snapshot store. It says so
// where the file is to be sealed.
func (m *Mover) SnapshotObject(s cache.Snapshot, nodeGroup string) string {
	object := path.Join(s.Region, s.Name, nodeGroup+".rdb")
	if key := s.SealKey(); key != "" {
		object = seal.Object(object, key)
	}
	return object
}

// exportKey is the name of a shard's file in a bucket, by ElastiCache's rule.
func exportKey(target string, shard int) string {
	return fmt.Sprintf("%s-%04d.rdb", target, shard+1)
}
