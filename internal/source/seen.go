package source

import "hash/maphash"

// seen remembers which keys of a database were met, because SCAN may return a
// key twice while the server's table shrinks. It keeps eight bytes for each key
// in tables of fixed size: when one is full, another twice its size follows, so
// nothing is ever moved and memory never doubles for a moment.
//
// Two different keys are taken for one only when 64 bits of one hash are equal
// and another hash puts them side by side in the table: for a hundred million
// keys that is a chance below one in ten thousand million.
type seen struct {
	mark, place maphash.Seed
	tables      []seenTable
}

type seenTable struct {
	slots []uint64
	used  int
}

// newSeen makes room for about n keys.
func newSeen(n int64) *seen {
	size := 1024
	for int64(size)*3/4 < n {
		size *= 2
	}
	return &seen{
		mark: maphash.MakeSeed(), place: maphash.MakeSeed(),
		tables: []seenTable{{slots: make([]uint64, size)}},
	}
}

// add tells whether key is new.
func (s *seen) add(key []byte) bool {
	mark := maphash.Bytes(s.mark, key)
	if mark == 0 {
		mark = 1 // zero is an empty slot
	}
	place := maphash.Bytes(s.place, key)
	for i := range s.tables {
		t := &s.tables[i]
		mask := uint64(len(t.slots) - 1)
		at := place & mask
		for t.slots[at] != 0 {
			if t.slots[at] == mark {
				return false
			}
			at = (at + 1) & mask
		}
		if i < len(s.tables)-1 {
			continue
		}
		if t.used >= len(t.slots)/4*3 {
			s.tables = append(s.tables, seenTable{slots: make([]uint64, 2*len(t.slots))})
			t = &s.tables[i+1]
			at = place & uint64(len(t.slots)-1)
		}
		t.slots[at] = mark
		t.used++
		return true
	}
	return true
}
