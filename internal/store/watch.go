package store

import (
	"strings"
	"sync"
)

// Watcher tells that something has changed. It does not say what: it is read.
type Watcher struct {
	set      *watchers
	prefixes []string
	c        chan struct{}
}

// Watch tells of every commit from now on that touches a key with one of the
// prefixes, as [Table.Prefix] makes them; without prefixes, of every commit.
// Subscribe first, then read, then wait on C: so nothing is missed.
func (db *DB) Watch(prefixes ...string) *Watcher {
	w := &Watcher{set: &db.watchers, prefixes: prefixes, c: make(chan struct{}, 1)}
	db.watchers.add(w)
	return w
}

// C receives after commits that matter. Several commits between two receives are
// one; a slow receiver holds nobody up. C is never closed.
func (w *Watcher) C() <-chan struct{} { return w.c }

// Close ends the subscription.
func (w *Watcher) Close() { w.set.remove(w) }

func wanted(prefixes []string, name string) bool {
	if len(prefixes) == 0 {
		return true
	}
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

type watchers struct {
	mu  sync.Mutex
	all map[*Watcher]struct{}
}

func (s *watchers) add(w *Watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[*Watcher]struct{})
	}
	s.all[w] = struct{}{}
}

func (s *watchers) remove(w *Watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, w)
}

// notify wakes the watchers of what was changed, without ever waiting.
func (s *watchers) notify(changes []change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return
	}
	for _, c := range changes {
		name := c.table + "/" + c.key
		for w := range s.all {
			if !wanted(w.prefixes, name) {
				continue
			}
			select {
			case w.c <- struct{}{}:
			default: // it has not looked since the last time
			}
		}
	}
}
