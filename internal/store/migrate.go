package store

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// migration leads a file from one format to the next. It runs in one transaction
// together with the new format number, so a kill leaves either the one or the other.
type migration func(*bolt.Tx) error

// migrations[i] leads to format i+1; a new file runs all of them. Never change or
// remove one that was released: add another.
var migrations = []migration{
	// 1: the buckets.
	func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketRecords)
		return err
	},
}

var (
	bucketMeta    = []byte("meta")
	bucketRecords = []byte("records")
	keyFormat     = []byte("format")
	keyRevision   = []byte("revision")
)

// migrate brings the file to the newest format that this release knows, one
// transaction per step.
func migrate(b *bolt.DB, path string, migrations []migration) error {
	for {
		done := false
		err := b.Update(func(tx *bolt.Tx) error {
			meta, err := tx.CreateBucketIfNotExists(bucketMeta)
			if err != nil {
				return err
			}
			have, known := readUint(meta, keyFormat), uint64(len(migrations))
			if have > known {
				return fmt.Errorf("cannot open %s: %w: the file has format %d, this release knows formats up to %d",
					path, ErrNewerFormat, have, known)
			}
			if have == known {
				done = true
				return nil
			}
			if err := migrations[have](tx); err != nil {
				return fmt.Errorf("cannot bring the store %s from format %d to %d: %w", path, have, have+1, err)
			}
			return writeUint(meta, keyFormat, have+1)
		})
		if err != nil || done {
			return err
		}
	}
}

// readUint reads a number of the meta bucket; one that is not there is 0.
func readUint(b *bolt.Bucket, key []byte) uint64 {
	v := b.Get(key)
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

func writeUint(b *bolt.Bucket, key []byte, n uint64) error {
	return b.Put(key, binary.BigEndian.AppendUint64(nil, n))
}
