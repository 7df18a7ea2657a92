package memcache

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"time"
)

// Sums are what some items come to: 24 bytes for each, by which they are known again. Those of one
// process compare with each other, not with those of another one.
type Sums struct {
	rows   []row
	sorted bool
	// Bytes of keys and values.
	Bytes int64
}

type row struct {
	key, value uint64
	expiry     int64 // seconds since 1970, 0 for none; with seenBit once it was met
}

// seed is one for the process: whoever chooses the keys of a cache cannot choose them such that they are alike here.
var seed = maphash.MakeSeed()

// seenBit is above any time that is written down in seconds.
const seenBit = 1 << 62

func rowOf(i *Item) row {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.Write(binary.BigEndian.AppendUint32(nil, i.Flags)) // a hash takes everything
	_, _ = h.Write(i.Value)
	r := row{key: maphash.Bytes(seed, i.Key), value: h.Sum64()}
	if !i.ExpireAt.IsZero() {
		r.expiry = max(i.ExpireAt.Unix(), 1)
	}
	return r
}

// Add takes an item in.
func (s *Sums) Add(i *Item) {
	s.rows = append(s.rows, rowOf(i))
	s.Bytes += int64(len(i.Key) + len(i.Value))
	s.sorted = false
}

// Len is how many items there are.
func (s *Sums) Len() int64 { return int64(len(s.rows)) }

// find returns the rows of a key: more than one where several servers have it.
func (s *Sums) find(key uint64) []row {
	if !s.sorted {
		slices.SortFunc(s.rows, func(a, b row) int { return cmp.Compare(a.key, b.key) })
		s.sorted = true
	}
	at, _ := slices.BinarySearchFunc(s.rows, key, func(r row, key uint64) int { return cmp.Compare(r.key, key) })
	end := at
	for end < len(s.rows) && s.rows[end].key == key {
		end++
	}
	return s.rows[at:end]
}

// Twice is how many items have the key of another one.
func (s *Sums) Twice() int64 {
	s.find(0)
	n := int64(0)
	for i := 1; i < len(s.rows); i++ {
		if s.rows[i].key == s.rows[i-1].key {
			n++
		}
	}
	return n
}

// What differs between two items of one key.
const (
	valueDiffers  = "value or flags differ"
	expiryDiffers = "expires at another time"
	onlyInA       = "only in A"
	onlyInB       = "only in B"
)

// differs tells what differs, "" if nothing does.
func (r row) differs(o row, tolerance time.Duration) string {
	a, b := r.expiry&^seenBit, o.expiry&^seenBit
	apart := time.Duration(max(a-b, b-a)) * time.Second
	switch {
	case r.value != o.value:
		return valueDiffers
	case (a == 0) != (b == 0), apart > tolerance:
		return expiryDiffers
	}
	return ""
}
