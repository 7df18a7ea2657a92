package transfer

import (
	"fmt"
	"path"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
)

// Build is what has to be known of an engine that is to load a file.
type Build struct {
	Engine, Version string
	// Reads tells whether it loads files of an RDB version; Valkey's own numbers begin at 80.
	Reads func(rdbVersion int) bool
}

// Config of a Mover; all fields are needed.
type Config struct {
	// Snapshots is the store that snapshots are kept in.
	Snapshots objects.Store
	// Buckets finds the buckets that exports go to and seeds come from.
	Buckets objects.Buckets
	// Build describes an installed engine by the name that nodes carry.
	Build func(name string) (Build, error)
}

// Mover carries out transfers. It keeps nothing between them and may be used from many goroutines.
type Mover struct{ Config }

// New makes a mover.
func New(c Config) *Mover { return &Mover{c} }

// SnapshotObject is the key of a shard's file in the snapshot store.
func (m *Mover) SnapshotObject(s cache.Snapshot, nodeGroup string) string {
	return path.Join(s.Region, s.Name, nodeGroup+".rdb")
}

// exportKey is the name of a shard's file in a bucket, by ElastiCache's rule.
func exportKey(target string, shard int) string {
	return fmt.Sprintf("%s-%04d.rdb", target, shard+1)
}
