package store

import "sync"

// maxCached bounds the decoded records that are kept. Beyond it all are dropped:
// they come back with the next reads.
const maxCached = 1 << 16

// cache keeps decoded records by table, key and revision. A revision never means
// two values, so an entry is right or of another revision, and needs no care.
type cache struct {
	mu      sync.RWMutex
	entries map[cacheKey]cacheEntry
}

type cacheKey struct{ table, key string }

type cacheEntry struct {
	rev   uint64
	value any // of Peek alone it is handed out, all others get copies
}

// cached returns the record if it is known at this revision as a T. It is shared.
func cached[T any](c *cache, table, key string, rev uint64) (*T, bool) {
	c.mu.RLock()
	e, ok := c.entries[cacheKey{table, key}]
	c.mu.RUnlock()
	if !ok || e.rev != rev {
		return nil, false
	}
	v, ok := e.value.(*T)
	return v, ok
}

// remember keeps the record, if its type can be copied. The caller does not change it
// any more.
func remember[T any](c *cache, table, key string, rev uint64, v *T) {
	if !copyable[T]() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= maxCached {
		c.entries = make(map[cacheKey]cacheEntry)
	}
	c.entries[cacheKey{table, key}] = cacheEntry{rev: rev, value: v}
}

// forget drops what has changed, so that deleted records do not stay.
func (c *cache) forget(changes []change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range changes {
		delete(c.entries, cacheKey{ch.table, ch.key})
	}
}
