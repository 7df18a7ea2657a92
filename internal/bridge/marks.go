package bridge

import (
	"sync"

	"holdfast.dev/internal/command"
	"holdfast.dev/internal/flow"
)

// maxMarks keys are remembered before it is said that all may have changed.
const maxMarks = 200_000

// marks remembers which keys the stream changed.
type marks struct {
	mu   sync.Mutex
	keys map[keyID]struct{} // nil until somebody wants to know
	all  bool
}

// Remark begins to remember anew which keys change, and returns those that changed
// since it was called before. all means that any key may have: before the first call,
// when they were too many, and after FLUSHDB, SWAPDB and a new full synchronization.
func (b *Bridge) Remark() (keys []flow.Key, all bool) {
	m := &b.marks
	m.mu.Lock()
	defer m.mu.Unlock()
	all = m.keys == nil || m.all
	for k := range m.keys {
		keys = append(keys, flow.Key{DB: k.DB, Name: k.Key})
	}
	m.keys, m.all = map[keyID]struct{}{}, false
	return keys, all
}

// command notes what a command of the stream changes.
func (m *marks) command(w *rewriter, e *command.Effect, args [][]byte) {
	switch e.Kind {
	case command.Write:
		if e.Undeclared {
			m.everything()
			return
		}
		w.written(e, args, m.key)
	case command.Flush, command.FlushSlot, command.SwapDB, command.Unknown:
		m.everything()
	}
}

// key notes one key.
func (m *marks) key(k keyID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil || m.all {
		return
	}
	if m.keys[k] = struct{}{}; len(m.keys) >= maxMarks {
		m.keys, m.all = map[keyID]struct{}{}, true
	}
}

// everything notes that any key may have changed.
func (m *marks) everything() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys != nil {
		m.keys, m.all = map[keyID]struct{}{}, true
	}
}
