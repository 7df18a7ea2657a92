package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
)

// forkLook is how often the memory is looked at while a fork lives, and forkProbe
// how long a node may take to answer then.
const (
	forkLook  = 100 * time.Millisecond
	forkProbe = time.Second
)

// endSavePatience bounds how long a child is waited for whose save was stopped.
const endSavePatience = 30 * time.Second

// stopError says why a forked save was stopped or could not be begun. What it was
// to save can be had without a fork.
type stopError struct{ why string }

func (e *stopError) Error() string { return e.why }

// forked takes a forked save, and stops it before it takes memory that is not there.
func (r *Runner) forked(ctx context.Context, spec cache.NodeSpec, c choice, job cache.SnapshotJob) (cache.Manifest, error) {
	limited, stop := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watchFork(limited, spec, c, stop)
	}()
	man, err := r.Transfers.Snapshot(limited, job)
	stop(nil) // the first cause is kept
	<-watched
	if err == nil {
		return man, nil
	}
	why := (*stopError)(nil)
	if errors.As(context.Cause(limited), &why) {
		return man, r.stopped(ctx, spec, why)
	}
	if noFork(err) {
		return man, &stopError{fmt.Sprintf("the engine could not fork: %v", err)}
	}
	return man, err
}

// noFork tells that the engine itself got no memory, or no process, for a child.
func noFork(err error) bool {
	text := err.Error()
	return strings.Contains(text, "BGSAVE failed") || strings.Contains(text, "Can't save in background")
}

// stopped makes sure that the child of a stopped save is gone: closing the link to
// its reader ends it, as a rule.
func (r *Runner) stopped(ctx context.Context, spec cache.NodeSpec, why *stopError) error {
	limited, cancel := context.WithTimeout(ctx, endSavePatience)
	defer cancel()
	if err := r.Engines.EndSave(limited, spec); err != nil {
		r.Log.Warn("the child of a save that was stopped may be there still", "node", spec.Key, "error", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return why
}

// lookAt is a probe that does not wait for a node that is busy: meanwhile nobody
// would look at the machine.
func (r *Runner) lookAt(ctx context.Context, spec cache.NodeSpec) (cache.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, forkProbe)
	defer cancel()
	return r.Engines.Probe(ctx, spec)
}

// watchFork looks at the memory until the context ends, and stops the save when
// too little is left.
func (r *Runner) watchFork(ctx context.Context, spec cache.NodeSpec, c choice, stop context.CancelCauseFunc) {
	tick := time.NewTicker(forkLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if free := r.Memory.Available(); free < c.Keep {
			stop(&stopError{fmt.Sprintf("the forked save was stopped when the machine had %s of memory free, %s of which are kept", size(free), size(c.Keep))})
			return
		}
		// A node that does not answer now is asked again: the machine's memory was seen.
		h, err := r.lookAt(ctx, spec)
		if room := c.roomNow(&h); err == nil && h.Copied > room {
			stop(&stopError{fmt.Sprintf("the forked save was stopped when it had copied %s and the node had %s left", size(h.Copied), size(room))})
			return
		}
	}
}
