package memcache

import "time"

// Item is one entry of a cache.
type Item struct {
	// Key of at most 250 bytes, whatever they are.
	Key   []byte
	Value []byte
	// Flags are the client's own.
	Flags uint32
	// ExpireAt is when the item goes, to the second; zero for never.
	ExpireAt time.Time
	// CAS is the server's number of this version of the item.
	CAS uint64
}

// Expired tells whether an item has gone.
func (i *Item) Expired(now time.Time) bool { return !i.ExpireAt.IsZero() && !now.Before(i.ExpireAt) }
