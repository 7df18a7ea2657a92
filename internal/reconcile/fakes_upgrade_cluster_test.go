package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast.dev/internal/cache"
)

// HandOver swaps the roles of two nodes that run. The service may be killed between
// that and its knowing it, and before it.
func (f *fakeMachine) HandOver(ctx context.Context, from, to cache.NodeSpec) (time.Duration, error) {
	if err := f.enter(ctx, "hand over"); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", cache.ErrAmbiguous, err)
		}
		return 5 * time.Second, err // for which it was tried
	}
	if err := f.swap(from, to); err != nil {
		return 0, err
	}
	if err := f.enter(ctx, "handed over"); err != nil {
		return 0, fmt.Errorf("%w: %w", cache.ErrAmbiguous, err)
	}
	return 5 * time.Millisecond, nil
}

func (f *fakeMachine) swap(from, to cache.NodeSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, next := f.processes[from.Key], f.processes[to.Key]
	switch {
	case next == nil:
		return fmt.Errorf("%w: nobody answers", cache.ErrAmbiguous)
	case next.spec.Primary.IsZero() && old != nil && old.spec.Primary == to.Address:
		return nil
	case old == nil:
		return errors.New("nobody answers")
	case next.spec.Primary != from.Address:
		return errors.New("it does not follow it at present")
	}
	next.spec.Primary, old.spec.Primary = cache.Address{}, to.Address
	return nil
}
