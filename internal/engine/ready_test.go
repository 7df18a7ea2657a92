package engine

import (
	"context"
	"errors"
	"testing"
)

// TestTheEndOfTheWaitingIsNoReason: what was seen before it is what is told.
func TestTheEndOfTheWaitingIsNoReason(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var w waiting
	seen := errors.New("it does not have its primary's data yet")
	w.because(ctx, seen)
	cancel()
	w.because(ctx, ctx.Err())
	if !errors.Is(w.last, seen) {
		t.Errorf("the reason is %v", w.last)
	}
}
