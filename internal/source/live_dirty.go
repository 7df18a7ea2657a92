package source

import (
	"sync"
	"time"
)

// dirtySet holds the keys that were written to and wait to be read again. Its mu
// guards the fields of what embeds it too.
type dirtySet struct {
	mu    sync.Mutex
	dirty map[touched]struct{}
	bytes int // of the keys in dirty
	win   *window
	// since is when the oldest key came that waits; zero if none does.
	since time.Time
	// wake gets a token when there is something to do; nil where nobody waits.
	wake chan struct{}
	// spill, where there is one, takes keys when there are too many for memory.
	spill *keySpill
	// most keys are kept in memory, where there is a spill. For tests, every lose-th
	// key is lost.
	most, lose, seen int
	// broken is why keys could not be kept.
	broken error
	// marked remembers keys since mark was called; nil when it was not.
	marked    map[touched]struct{}
	markedAll bool
	// deaf: not every change can be known of, so that whatever is asked of marked, all may have.
	deaf bool
	// pos and work belong to a feed that tells more than keys.
	pos  streamPos
	work feedWork
}

const (
	// dirtyBytes of keys in memory are too many.
	dirtyBytes = 32 << 20
	// maxMarked keys are remembered before it is said that all may have changed.
	maxMarked = 200_000
)

func newDirtySet() *dirtySet { return &dirtySet{dirty: map[touched]struct{}{}, most: maxDirty} }

// note wants d.mu held.
func (d *dirtySet) note(db int, key []byte) { d.noteString(db, string(key)) }

func (d *dirtySet) noteString(db int, key string) {
	t := touched{db, key}
	if d.seen++; d.lose > 0 && d.seen%d.lose == 0 {
		return
	}
	if _, had := d.dirty[t]; !had {
		d.dirty[t] = struct{}{}
		d.bytes += len(key)
		d.full()
	}
	if w := d.win; w != nil && w.open {
		w.touched = append(w.touched, t)
	}
	if d.marked != nil && !d.markedAll {
		if d.marked[t] = struct{}{}; len(d.marked) >= maxMarked {
			d.markAll()
		}
	}
	d.stir()
}

// markAll says that any key may have changed.
func (d *dirtySet) markAll() {
	if d.marked != nil {
		d.marked, d.markedAll = map[touched]struct{}{}, true
	}
}

// stir wakes who waits for something to do.
func (d *dirtySet) stir() {
	if d.since.IsZero() {
		d.since = time.Now()
	}
	if d.wake == nil {
		return
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// spillTo makes it bounded: keys beyond what memory is to hold go to a file.
func (d *dirtySet) spillTo(s *keySpill, most, lose int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spill, d.lose = s, lose
	if most > 0 {
		d.most = most
	}
}

// full moves the keys out of memory when they are too many.
func (d *dirtySet) full() {
	if d.spill == nil || len(d.dirty) < d.most && d.bytes < dirtyBytes {
		return
	}
	if err := d.spill.put(d.dirty); err != nil {
		d.broken = err
		return
	}
	d.dirty, d.bytes = map[touched]struct{}{}, 0
}

// again has a key read again.
func (d *dirtySet) again(db int, key []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := touched{db, string(key)}
	if _, had := d.dirty[t]; !had {
		d.dirty[t] = struct{}{}
		d.bytes += len(key)
	}
	d.stir()
}

// size is how many keys wait to be read again.
func (d *dirtySet) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.dirty)
	if d.spill != nil {
		n += d.spill.keys
	}
	return n
}

// isDirty tells of each of the keys whether it waits to be read again, as far as is known.
func (d *dirtySet) isDirty(db int, keys *liveKeys, is []bool) []bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	is = is[:0]
	for i := range keys.len() {
		k := keys.key(i)
		_, here := d.dirty[touched{db, string(k)}]
		_, any := d.dirty[touched{anyDB, string(k)}]
		is = append(is, here || any)
	}
	return is
}

// take hands over the keys that wait; from now on they count as read. With w
// not nil, w opens in the same instant.
func (d *dirtySet) take(w *window) map[touched]struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.dirty
	d.dirty, d.bytes, d.since = map[touched]struct{}{}, 0, time.Time{}
	if d.win = w; w != nil {
		w.open = true
	}
	return taken
}

// putBack undoes take.
func (d *dirtySet) putBack(taken map[touched]struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for t := range taken {
		d.noteBack(t)
	}
}

// noteBack wants d.mu held.
func (d *dirtySet) noteBack(t touched) {
	if _, had := d.dirty[t]; !had {
		d.dirty[t] = struct{}{}
		d.bytes += len(t.key)
		d.full()
	}
	d.stir()
}

// takenKeys are keys that were taken, with the place in the server's history up to
// which they are all that changed.
type takenKeys struct {
	keys map[touched]struct{}
	pos  streamPos
	// last: none waited besides, and nothing else was to be done.
	last bool
	// since is when the oldest of them came.
	since time.Time
}

// takeSome is take for sets that spill: it hands over as many as memory holds, and
// none while a snapshot waits to be applied, whose values are older than theirs would be.
func (d *dirtySet) takeSome() (takenKeys, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := takenKeys{pos: d.pos, since: d.since}
	switch {
	case d.work.full != nil:
		return t, nil
	case d.spill != nil && d.spill.keys > 0:
		var err error
		t.keys, err = d.spill.take(d.most, dirtyBytes)
		return t, err
	}
	t.last = d.work.empty()
	t.keys = d.dirty
	d.dirty, d.bytes, d.since = map[touched]struct{}{}, 0, time.Time{}
	return t, nil
}

// mark begins to remember which keys change.
func (d *dirtySet) mark() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.marked, d.markedAll = map[touched]struct{}{}, false
}
