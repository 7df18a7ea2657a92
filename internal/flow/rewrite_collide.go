package flow

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
)

// CollisionError says that two keys of a source would become the same one.
type CollisionError struct {
	// From is the key that came second, To what both become.
	From, To Key
}

func (e *CollisionError) Error() string {
	if e.To.Name == "" && e.From.Name == "" {
		return fmt.Sprintf("database %d keeps its number, and another one is to get it: the two would be mixed; map database %d too, or leave it out",
			e.From.DB, e.From.DB)
	}
	return fmt.Sprintf("key %q of database %d would become %q of database %d, and so would another key: one of them would be lost; choose another prefix, or leave one of them out",
		e.From.Name, e.From.DB, e.To.Name, e.To.DB)
}

// Rewriter rewrites the entries of one reading of a source, and refuses those of
// which two would become one. To tell these it remembers, in about 16 bytes
// each, the names that more than one key could have become: none where prefixes
// are only added, those under the new and the old prefix where one is renamed.
//
// It is used by one goroutine.
type Rewriter struct {
	rw    *Rewrite
	buf   []byte
	taken names
}

// NewRewriter begins a reading.
func NewRewriter(rw *Rewrite) *Rewriter {
	return &Rewriter{rw: rw, taken: names{seed: maphash.MakeSeed()}}
}

// Apply gives an entry its database and name; the name's bytes are valid until
// the next call. The error is a *CollisionError. A key that is yielded again, by
// a source that follows a server, does not collide with itself; one that was
// deleted leaves its name to others. If another key has the name of one that is
// told of as deleted, the error is ErrOwned, and the entry is to be passed over.
func (w *Rewriter) Apply(e *Entry) error {
	if w.rw.Blocked(e.DB) {
		return &CollisionError{From: Key{DB: e.DB}}
	}
	db := w.rw.DB(e.DB)
	var origin int
	w.buf, origin = w.rw.AppendName(w.buf[:0], e.Key)
	if w.ambiguous(e.Key, origin) && !w.taken.claim(db, w.buf, origin, e.Deleted) {
		if e.Deleted {
			return ErrOwned
		}
		return &CollisionError{From: Key{DB: e.DB, Name: string(e.Key)}, To: Key{DB: db, Name: string(w.buf)}}
	}
	e.DB, e.Key = db, w.buf
	return nil
}

// ambiguous tells whether another key could become what is in buf. Names far from
// all new prefixes, which are most, are told without asking for their origins.
func (w *Rewriter) ambiguous(key []byte, origin int) bool {
	if len(w.rw.Prefixes) == 0 {
		return false
	}
	if origin == 0 {
		near := false
		for _, p := range w.rw.Prefixes {
			near = near || bytes.HasPrefix(key, p.New)
		}
		if !near {
			return false
		}
	}
	db := 0 // any that is mapped to itself would do; Origins looks at names alone here
	return len((&Rewrite{Prefixes: w.rw.Prefixes, Add: w.rw.Add}).Origins(db, w.buf)) > 1
}

// ErrOwned says that another key has the name of a deleted one.
var ErrOwned = errors.New("another key has the name of the deleted one")

// givenBack stands for the origin of a name that nobody has any more.
const givenBack = 0xff

// names remembers by 56 bits of hash which origin a name came from. A name that
// is taken for another by accident, one chance in ten thousand for a million
// names, is refused, never let through; another reading hashes otherwise.
type names struct {
	seed  maphash.Seed
	table []uint64 // 0 is free; the lowest byte is the origin and 1
	n     int
}

// claim takes a name for an origin, or gives it back; false if another one has it.
func (s *names) claim(db int, name []byte, origin int, giveBack bool) bool {
	if s.n*4 >= len(s.table)*3 {
		s.grow()
	}
	h := (maphash.Bytes(s.seed, name) ^ uint64(db)*0x9e3779b97f4a7c15) &^ 0xff
	at := s.find(h)
	owner := s.table[at] & 0xff
	switch {
	case owner != 0 && owner != givenBack && owner != uint64(origin+1):
		return false
	case giveBack && owner == 0:
		return true
	case s.table[at] == 0:
		s.n++
	}
	s.table[at] = h | uint64(origin+1)
	if giveBack {
		s.table[at] = h | givenBack
	}
	return true
}

// find is where a hash is, or would be.
func (s *names) find(h uint64) int {
	mask := len(s.table) - 1
	at := int(h>>8) & mask
	for s.table[at] != 0 && s.table[at]&^0xff != h {
		at = (at + 1) & mask
	}
	return at
}

func (s *names) grow() {
	old := s.table
	s.table = make([]uint64, max(2*len(old), 1024))
	for _, v := range old {
		if v != 0 {
			s.table[s.find(v&^0xff)] = v
		}
	}
}
