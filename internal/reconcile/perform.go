package reconcile

import (
	"context"
	"errors"
	"math/bits"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// outcome writes down what an action came to, in the transaction that ends its step.
type outcome func(tx *store.Tx) error

// storeRest is how long an action stays in flight whose step could not be
// written down: it would be due again that very moment.
const storeRest = time.Second

// perform is the crash rule: write the step down, act, write down what came of it.
func (r *Runner) perform(ctx context.Context, unit string, a Action) {
	release, err := r.slot(ctx, a.Kind)
	if err != nil {
		return // ended before it began
	}
	defer release()
	step, err := r.begin(ctx, unit, a)
	if err != nil {
		r.Log.Error("cannot write a step down", "step", a.ID(), "error", err)
		r.rest(ctx, storeRest)
		return
	}
	failpoint("begun", a.Kind)
	out, err := r.act(ctx, unit, a)
	failpoint("acted", a.Kind)
	if ctx.Err() != nil || errors.Is(err, errNotYet) {
		// Broken off, or the service is going down, or planned too early: a step that
		// still makes sense is planned again and finds out what of it has happened.
		return
	}
	if err == nil {
		err = r.end(ctx, step, out)
		failpoint("ended", a.Kind)
	}
	if err != nil {
		r.complain(ctx, step, err)
		r.fail(ctx, step, err)
	}
}

func (r *Runner) slot(ctx context.Context, k Kind) (func(), error) {
	slots := r.nodeSlots
	switch k {
	case actSeed, actVerify, actCompare, actSnapshot, actCopy, actExport, actImport:
		slots = r.moveSlots
	case actScrub: // there is one at a time, and it does not stand in anybody's way
		return func() {}, ctx.Err()
	case actStart, actLaunch:
		slots = r.startSlots
	case actReady, actParameters, actMove, actAccess, actCatchUp: // those that wait, one that is limited by planning, one that is urgent
		return func() {}, ctx.Err()
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *Runner) begin(ctx context.Context, unit string, a Action) (cache.Step, error) {
	if a.Kind == actPromote {
		return r.beginAtOnce(ctx, unit, a)
	}
	var step cache.Step
	err := r.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if step, err = r.stepOf(tx, unit, a); err != nil {
			return err
		}
		return records.Steps.Put(tx, step.ID, step)
	})
	return step, err
}

// beginAtOnce writes nothing down. Nobody can write to a shard while it is without a
// primary, and a busy disk takes as long for a transaction as all the rest takes. That
// a promotion was cut short tells nothing either that the records do not: before the choice is
// written down nothing has happened but that a dead primary was made sure to be dead.
func (r *Runner) beginAtOnce(ctx context.Context, unit string, a Action) (step cache.Step, err error) {
	err = r.DB.View(ctx, func(tx *store.Tx) (err error) {
		step, err = r.stepOf(tx, unit, a)
		return err
	})
	return step, err
}

// stepOf is the step of an action that begins now.
func (r *Runner) stepOf(tx *store.Tx, unit string, a Action) (cache.Step, error) {
	step := cache.Step{
		ID: a.ID(), Kind: string(a.Kind), Unit: unit, Target: a.Target,
		State: cache.StepRunning, Attempts: 1, StartedAt: r.Now(),
	}
	old, ok, err := records.Steps.Get(tx, a.ID())
	if ok {
		step.Attempts = old.Attempts
		if old.State == cache.StepFailed {
			step.Attempts++ // one that was cut short is the same attempt
		}
	}
	return step, err
}

func (r *Runner) end(ctx context.Context, step cache.Step, out outcome) error {
	return r.DB.Update(ctx, func(tx *store.Tx) error {
		if out != nil {
			if err := out(tx); err != nil {
				return err
			}
		}
		return records.Steps.Delete(tx, step.ID)
	})
}

func (r *Runner) fail(ctx context.Context, step cache.Step, cause error) {
	step.State = cache.StepFailed
	step.Error = plainly(cause)
	step.Permanent = errors.Is(cause, cache.ErrPermanent) || errors.Is(cause, cache.ErrAmbiguous)
	step.EndedAt = r.Now()
	step.NotBefore = step.EndedAt.Add(restAfter(&step))
	err := r.DB.Update(ctx, func(tx *store.Tx) error {
		return records.Steps.Put(tx, step.ID, step)
	})
	if err != nil && ctx.Err() == nil {
		r.Log.Error("cannot write a step's failure down", "step", step.ID, "error", err)
		r.rest(ctx, storeRest)
	}
}

// restAfter is how long a step that has failed rests. What was revoked is not to be
// valid for half a minute at a node that was only away.
func restAfter(step *cache.Step) time.Duration {
	const urgent = time.Second
	d := retryDelay(step.Attempts)
	if Kind(step.Kind) == actAccess && !step.Permanent {
		return min(d, urgent)
	}
	return d
}

// plainly is an error for people: without the marks that are meant for us.
func plainly(err error) string {
	text := err.Error()
	for _, mark := range []error{cache.ErrPermanent, cache.ErrAmbiguous} {
		text = strings.ReplaceAll(text, mark.Error()+": ", "")
		text = strings.ReplaceAll(text, ": "+mark.Error(), "")
	}
	return text
}

// complain logs a failure; one that goes on and on is told ever more rarely.
func (r *Runner) complain(ctx context.Context, step cache.Step, err error) {
	const rarely = 128 // about an hour of the longest retryDelay
	told := bits.OnesCount(uint(step.Attempts)) == 1 || step.Attempts%rarely == 0
	if told && ctx.Err() == nil {
		r.Log.Warn("a step failed", "step", step.ID, "attempts", step.Attempts, "error", err)
	}
}
