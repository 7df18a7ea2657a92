package gateway

import (
	"context"
	"fmt"
	"sync"
)

// told counts the lists of keys that a process was sent, and those that it has said to
// have taken.
type told struct {
	mu          sync.Mutex
	sent, taken int
	changed     chan struct{} // closed and replaced when taken grows
}

func newTold() *told { return &told{changed: make(chan struct{})} }

// send counts one more and returns its number.
func (t *told) send() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent++
	return t.sent
}

// take notes that the process has said so.
func (t *told) take() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken++
	close(t.changed)
	t.changed = make(chan struct{})
}

// await returns once the list of that number was taken, or the process is gone: the next
// one begins with the keys as they are then.
func (t *told) await(ctx context.Context, number int, gone <-chan struct{}) error {
	for {
		t.mu.Lock()
		taken, changed := t.taken, t.changed
		t.mu.Unlock()
		if taken >= number {
			return nil
		}
		select {
		case <-changed:
		case <-gone:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("it does not take them: %w", ctx.Err())
		}
	}
}
