package store

import "sync"

// maxTracked bounds what a Tracker keeps for a reader that does not come.
const maxTracked = 1 << 16

// Ref names a record.
type Ref struct{ Table, Key string }

// Tracker knows which records have changed since its reader last asked, so that what
// was read once need not be read again. Unlike a [Watcher] it wakes nobody.
type Tracker struct {
	set      *trackers
	prefixes []string
	seen     []sighting // under set.mu
	lost     bool       // under set.mu: not all changes up to the revision last were kept
	last     uint64     // under set.mu
}

// sighting is a change that is in the state of a revision and all later ones.
type sighting struct {
	ref Ref
	rev uint64
}

// Track makes a Tracker of the keys with one of the prefixes, as [Table.Prefix] makes
// them; without prefixes, of all.
func (db *DB) Track(prefixes ...string) *Tracker {
	t := &Tracker{set: &db.trackers, prefixes: prefixes, lost: true}
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	t.last = t.set.last // it may be on its way to the disk
	if t.set.all == nil {
		t.set.all = make(map[*Tracker]struct{})
	}
	t.set.all[t] = struct{}{}
	return t
}

// Close ends the tracking.
func (t *Tracker) Close() {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	delete(t.set.all, t)
}

// Changed returns the records that may differ, or be gone, in the state that tx sees
// from the state of the call before; of each one once, in no order. Nothing that tx sees
// is left out, and what it does not see yet comes with a later call. It returns false
// when everything has to be read: the first time, and when too much has changed since.
func (t *Tracker) Changed(tx *Tx) ([]Ref, bool) {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	refs, later := []Ref(nil), t.seen[:0]
	known := make(map[Ref]bool)
	for _, s := range t.seen {
		switch {
		case s.rev > tx.base:
			later = append(later, s)
		case !known[s.ref]:
			known[s.ref] = true
			refs = append(refs, s.ref)
		}
	}
	clear(t.seen[len(later):])
	t.seen = later
	if !t.lost {
		return refs, true
	}
	t.lost = t.last > tx.base
	return nil, false
}

type trackers struct {
	mu   sync.Mutex
	all  map[*Tracker]struct{}
	last uint64 // the last revision that was noted
}

// expect notes what is about to be committed as a revision. This comes before the
// commit: whoever sees the revision finds its changes noted. If it fails they were
// noted in vain, which costs a reading.
func (s *trackers) expect(changes []change, rev uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = rev
	for t := range s.all {
		for _, c := range changes {
			if wanted(t.prefixes, c.table+"/"+c.key) {
				t.note(sighting{Ref{c.table, c.key}, rev})
			}
		}
	}
}

func (t *Tracker) note(s sighting) {
	if len(t.seen) >= maxTracked {
		t.seen, t.lost = nil, true
	}
	t.last = max(t.last, s.rev)
	t.seen = append(t.seen, s)
}
