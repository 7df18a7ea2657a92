package source

import (
	"hash/maphash"
	"math/bits"
)

// seen remembers which keys of a database were met, because SCAN may return a
// key twice while the server's table shrinks. It keeps eight bytes for each key
// in tables of fixed size: when one is full, another twice its size follows, so
// nothing is ever moved and memory never doubles for a moment.
//
// Two different keys are taken for one only when 64 bits of one hash are equal
// and another hash puts them side by side in the table: for a hundred million
// keys that is a chance below one in ten thousand million.
type seen struct {
	sign, place maphash.Seed
	tables      []seenTable
	// looked keeps the compiler from leaving out what has no other effect.
	looked uint64
}

type seenTable struct {
	slots []uint64
	used  int
}

// newSeen makes room for n keys and some that come meanwhile.
func newSeen(n int64) *seen {
	size := max(1024, (n+n/16)/3*4)
	return &seen{
		sign: maphash.MakeSeed(), place: maphash.MakeSeed(),
		tables: []seenTable{{slots: make([]uint64, size)}},
	}
}

// place is where a key is looked for first: its hash scaled to the table's length.
func (t *seenTable) place(m mark) int {
	at, _ := bits.Mul64(m.place, uint64(len(t.slots)))
	return int(at)
}

// mark is how a key is remembered: what stands in a slot, and where it is looked for.
type mark struct{ sign, place uint64 }

func (s *seen) mark(key []byte) mark {
	m := mark{maphash.Bytes(s.sign, key), maphash.Bytes(s.place, key)}
	if m.sign == 0 {
		m.sign = 1 // zero is an empty slot
	}
	return m
}

// fetch looks at the slots of keys that are going to be added. Each is in another
// place of a large memory, and while they are only looked at the processor waits for
// many of them at once.
func (s *seen) fetch(marks []mark) {
	sum := uint64(0)
	for i := range s.tables {
		t := &s.tables[i]
		for j := range marks {
			sum += t.slots[t.place(marks[j])]
		}
	}
	s.looked = sum
}

// add tells whether a key is new.
func (s *seen) add(m mark) bool {
	for i := range s.tables {
		t := &s.tables[i]
		at := t.place(m)
		for t.slots[at] != 0 {
			if t.slots[at] == m.sign {
				return false
			}
			if at++; at == len(t.slots) {
				at = 0
			}
		}
		if i < len(s.tables)-1 {
			continue
		}
		if t.used >= len(t.slots)/4*3 {
			s.tables = append(s.tables, seenTable{slots: make([]uint64, 2*len(t.slots))})
			t = &s.tables[i+1]
			at = t.place(m)
		}
		t.slots[at] = m.sign
		t.used++
		return true
	}
	return true
}
