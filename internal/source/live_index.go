package source

import (
	"hash/maphash"
	"math/bits"
)

// The index knows where in the spool the latest version of each key is. It keeps
// sixteen bytes for a slot and fills four fifths of the slots: 20 bytes for each
// key when it was made for the right number of keys, up to 30 after it grew.
// Keys whose hashes are equal are told apart by the key in the spool.
//
// It is split into parts that grow by themselves, so that growing never needs
// much more memory than there was.
type liveIndex struct {
	seed  maphash.Seed
	spool *spool
	parts [indexParts]indexPart
	// keys that have a latest version.
	keys int64
	// step is what the hashes of a key differ by from database to database; odd.
	step uint64
	// looked keeps the compiler from leaving out what has no other effect.
	looked uint64
}

const (
	indexParts = 64
	slotBytes  = 16
	slotGone   = -1 // there was a key once
)

type indexPart struct {
	slots []indexSlot
	used  int // those gone included
}

// indexSlot is empty when at is 0.
type indexSlot struct {
	hash uint64
	at   int64
}

// newIndex makes room for about so many keys.
func newIndex(s *spool, keys int64) *liveIndex {
	x := &liveIndex{seed: maphash.MakeSeed(), spool: s}
	x.step = maphash.Bytes(x.seed, nil) | 1
	// Parts are filled unevenly, the more so the smaller they are.
	per := keys/indexParts*21/16 + 64
	for i := range x.parts {
		x.parts[i].slots = make([]indexSlot, per)
	}
	return x
}

// bytes is the memory that the index takes.
func (x *liveIndex) bytes() int64 {
	var n int64
	for i := range x.parts {
		n += int64(len(x.parts[i].slots)) * slotBytes
	}
	return n
}

// sum is a hash of a key of a database: the databases take different, odd steps
// away from that of the key alone.
func (x *liveIndex) sum(db int, key []byte) uint64 {
	return maphash.Bytes(x.seed, key) + uint64(db)*x.step
}

// fetch looks at the slots of keys that are going to be looked for. Each is in another
// place of a large memory, and while they are only looked at the processor waits for
// many of them at once.
func (x *liveIndex) fetch(db int, keys *liveKeys) {
	sum := uint64(0)
	for i := range keys.len() {
		h := x.sum(db, keys.key(i))
		p := &x.parts[h%indexParts]
		sum += p.slots[p.first(h)].hash
	}
	x.looked = sum
}

func (p *indexPart) first(h uint64) int {
	hi, _ := bits.Mul64(h, uint64(len(p.slots)))
	return int(hi)
}

func (p *indexPart) next(i int) int {
	if i++; i == len(p.slots) {
		return 0
	}
	return i
}

// find returns the slot of a key, nil if there is none, and a slot that it may take.
func (x *liveIndex) find(p *indexPart, h uint64, db int, key []byte) (slot, free *indexSlot, err error) {
	for i := p.first(h); ; i = p.next(i) {
		s := &p.slots[i]
		switch {
		case s.at == 0:
			if free == nil {
				free = s
			}
			return nil, free, nil
		case s.at == slotGone:
			if free == nil {
				free = s
			}
		case s.hash == h:
			same, err := x.spool.holds(s.at, db, key)
			if err != nil {
				return nil, nil, err
			}
			if same {
				return s, nil, nil
			}
		}
	}
}

// has tells whether a key is there.
func (x *liveIndex) has(db int, key []byte) (bool, error) {
	h := x.sum(db, key)
	slot, _, err := x.find(&x.parts[h%indexParts], h, db, key)
	return slot != nil, err
}

// put notes where the latest version of a key is, and tells whether there was one before.
func (x *liveIndex) put(db int, key []byte, at int64) (replaced bool, err error) {
	h := x.sum(db, key)
	p := &x.parts[h%indexParts]
	slot, free, err := x.find(p, h, db, key)
	if err != nil {
		return false, err
	}
	if slot != nil {
		slot.at = at
		return true, nil
	}
	if free.at == 0 {
		p.used++
	}
	*free = indexSlot{h, at}
	x.keys++
	if p.used > len(p.slots)/8*7 {
		p.grow()
	}
	return false, nil
}

// remove forgets a key and tells whether it was there.
func (x *liveIndex) remove(db int, key []byte) (bool, error) {
	h := x.sum(db, key)
	slot, _, err := x.find(&x.parts[h%indexParts], h, db, key)
	if slot == nil || err != nil {
		return false, err
	}
	slot.at = slotGone
	x.keys--
	return true, nil
}

// latest tells whether the record at an offset is the latest of its key.
func (x *liveIndex) latest(db int, key []byte, at int64) bool {
	h := x.sum(db, key)
	p := &x.parts[h%indexParts]
	for i := p.first(h); p.slots[i].at != 0; i = p.next(i) {
		if p.slots[i].at == at {
			return true
		}
	}
	return false
}

// grow makes the part half as large again, without the slots of keys that are gone.
func (p *indexPart) grow() {
	old := p.slots
	p.slots, p.used = make([]indexSlot, len(old)+len(old)/2), 0
	for _, s := range old {
		if s.at == 0 || s.at == slotGone {
			continue
		}
		i := p.first(s.hash)
		for p.slots[i].at != 0 {
			i = p.next(i)
		}
		p.slots[i] = s
		p.used++
	}
}
