package flow

import (
	"bytes"
	"io"
)

// Entry is one key of a keyspace.
type Entry struct {
	// DB is the number of the logical database.
	DB int
	// Key is the key's name, any bytes.
	Key []byte
	// Type is the RDB type byte of Value: what precedes the value in an RDB file and in DUMP's payload.
	Type byte
	// Value is the engine's own serialization of the value: the bytes that an
	// RDB file holds after the key, and that DUMP returns between its type byte
	// and its ten-byte footer.
	Value []byte
	// Body, if set, reads the value's bytes in place of Value, which is then nil: a
	// value too large to be held in memory. It can be read once, before the next
	// element is asked for.
	Body io.Reader
	// Deleted says that the key does not exist any more; only DB and Key are set then.
	// None but a source that goes on following a server, or that hands on what it reads
	// before the instant is fixed, yields such entries.
	Deleted bool
	// Version is the RDB version whose encodings Value uses: 1 to 12 for Redis
	// and for Valkey up to 8, 80 and above for Valkey 9 and later. It tells apart
	// type bytes that two dialects use differently.
	Version int
	// ExpireAt is the Unix time in milliseconds at which the key expires; 0 means never.
	ExpireAt int64
	// Idle is the LRU idle time in seconds and Freq the LFU counter; -1 where unknown.
	Idle int64
	Freq int
}

// HasExpiry tells whether the key is volatile.
func (e *Entry) HasExpiry() bool { return e.ExpireAt != 0 }

// Size is the number of bytes that the entry's key and value occupy.
func (e *Entry) Size() int { return len(e.Key) + len(e.Value) }

// Clone returns a copy that stays valid after its source moves on.
func (e *Entry) Clone() Entry {
	c := *e
	c.Key = bytes.Clone(e.Key)
	c.Value = bytes.Clone(e.Value)
	return c
}

// Key names a key of a keyspace.
type Key struct {
	DB   int
	Name string
}
