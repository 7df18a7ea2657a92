package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/source"
)

// follower follows one shard.
type follower struct {
	shard  Shard
	follow *source.Follow
	resume *source.FollowState
	began  time.Time
	stop   context.CancelFunc

	done chan struct{} // closed when it has ended, with what follows
	err  error
	// final: another follower of the shard would not get any further.
	final bool
}

func (f *Follows) newFollower(s Shard, resume *source.FollowState) *follower {
	return &follower{shard: s, follow: f.opt.Follow(s, resume), resume: resume, stop: func() {}, done: make(chan struct{})}
}

func (o *follower) hasEnded() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

func shardsOf(list []*follower) []Shard {
	out := make([]Shard, len(list))
	for i, one := range list {
		out[i] = one.shard
	}
	return out
}

// start begins to follow, until ctx ends or the follower is stopped.
func (f *Follows) start(ctx context.Context, one *follower) {
	own, stop := context.WithCancel(ctx)
	one.stop, one.began = stop, time.Now()
	f.wg.Go(func() {
		defer f.stir()
		defer close(one.done)
		defer stop()
		if f.watch == nil {
			one.err = f.carry(own, one)
		} else {
			one.err, one.final = f.carryShard(ctx, own, one)
		}
	})
}

// carry follows the only shard there is.
func (f *Follows) carry(ctx context.Context, one *follower) error {
	dst, err := f.opt.Open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(one.follow.Run(ctx, dst), dst.Close())
}

// carryShard follows one of several shards until own ends, and then waits until
// the target has carried out what was sent: others may write the same keys next. The
// end of all ends it at once.
func (f *Follows) carryShard(all, own context.Context, one *follower) (err error, final bool) {
	dst, err := f.opt.Open(own)
	if err != nil {
		return err, own.Err() == nil
	}
	last, cut := context.WithCancelCause(context.WithoutCancel(own))
	defer cut(nil)
	defer context.AfterFunc(all, func() { cut(context.Cause(all)) })()
	defer context.AfterFunc(own, func() { cutLater(last, cut) })()
	to := &lastingSink{Sink: dst, ctx: last}
	err = one.follow.Run(own, to)
	if to.failed == nil {
		if cerr := to.Commit(last); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}
	return errors.Join(err, dst.Close()), to.failed != nil || errors.Is(err, source.ErrSourceEmptied)
}

// settleTime is more than a sink waits for its server before it gives up.
const settleTime = 3 * time.Minute

// cutLater ends the waiting for a target that does not answer.
func cutLater(last context.Context, cut context.CancelCauseFunc) {
	t := time.NewTimer(settleTime)
	defer t.Stop()
	select {
	case <-t.C:
		cut(fmt.Errorf("the target did not answer for %s what was sent to it", settleTime))
	case <-last.Done():
	}
}

// lastingSink writes on when its follower is stopped, so that what was begun
// comes to an end: a sink that was broken off cannot tell what of it will be carried out.
type lastingSink struct {
	flow.Sink
	ctx    context.Context //nolint:containedctx // it is what the sink is for
	failed error
}

// Write does not end with the context of the Follow.
func (s *lastingSink) Write(_ context.Context, batch []flow.Entry) error {
	s.failed = errors.Join(s.failed, s.Sink.Write(s.ctx, batch))
	return s.failed
}

// Commit does not either.
func (s *lastingSink) Commit(context.Context) error {
	s.failed = errors.Join(s.failed, s.Sink.Commit(s.ctx))
	return s.failed
}
