package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// Hold makes the source take no writes, and waits until the target has applied every
// write that the source has acknowledged. When it returns nil both hold the same, and
// go on doing so until Promote or Release. After an error the source takes writes again.
func (b *Bridge) Hold(ctx context.Context) error {
	if err := b.await(ctx, func(s *Status) bool { return s.Phase == PhaseFollow && s.SourceLink && s.TargetLink }); err != nil {
		return fmt.Errorf("cannot hold: %w", err)
	}
	streams, err := b.findStreams(ctx)
	if err != nil {
		return fmt.Errorf("cannot find the streams of %s: %w", b.opt.Source, err)
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	began := time.Now()
	h, err := source.HoldWrites(ctx, b.opt.Source, b.opt.Hold)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.hold, b.heldAt = h, began
	b.mu.Unlock()
	if err := b.drain(ctx, h, streams); err != nil {
		return errors.Join(fmt.Errorf("the target did not catch up; %s takes writes again: %w", b.opt.Source, err), b.Release(context.WithoutCancel(ctx)))
	}
	b.update(func(s *Status) { s.Phase = PhaseHeld })
	return nil
}

// Held is the source's hold, nil without one.
func (b *Bridge) Held() *source.Hold {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hold
}

// drain waits until the target has everything, the streams' groups included.
func (b *Bridge) drain(ctx context.Context, h *source.Hold, streams []keyID) error {
	off, err := b.sourceOffset(ctx)
	if err != nil {
		return err
	}
	resyncs := len(b.Status().Resyncs)
	same := func(s *Status) bool { return len(s.Resyncs) == resyncs }
	if err := b.await(ctx, func(s *Status) bool { return s.SourceOffset >= off && s.Dirty == 0 || !same(s) }); err != nil {
		return err
	}
	if err := b.do(ctx, h, func(f *following) { f.soilStreams(streams) }); err != nil {
		return err
	}
	if err := b.await(ctx, func(s *Status) bool { return s.Dirty == 0 || !same(s) }); err != nil {
		return err
	}
	end, err := b.askAck(ctx, h)
	if err != nil {
		return err
	}
	if err := b.await(ctx, func(s *Status) bool { return s.Acked >= end || !same(s) }); err != nil {
		return err
	}
	if st := b.Status(); !same(&st) {
		return errors.New("everything has to be copied again")
	}
	return b.targetErrors(ctx)
}

// A hold begins when the target answers within settled, for then there is little left to
// drain, or after settleFor.
const (
	settled   = 5 * time.Millisecond
	settleFor = 10 * time.Second
)

// settle waits until the target is close behind the source.
func (b *Bridge) settle(ctx context.Context) error {
	for end := time.Now().Add(settleFor); time.Now().Before(end); {
		began := time.Now()
		off, err := b.sourceOffset(ctx)
		if err != nil {
			return err
		}
		resyncs := len(b.Status().Resyncs)
		same := func(s *Status) bool { return len(s.Resyncs) == resyncs }
		if err := b.await(ctx, func(s *Status) bool { return s.SourceOffset >= off || !same(s) }); err != nil {
			return err
		}
		at, err := b.askAck(ctx, nil)
		if err != nil {
			return err
		}
		if err := b.await(ctx, func(s *Status) bool { return s.Acked >= at || !same(s) }); err != nil {
			return err
		}
		if time.Since(began) < settled {
			return nil
		}
	}
	return nil
}

// askAck asks the target for an acknowledgement, and returns the offset that it will
// have acknowledged when it has applied everything up to now.
func (b *Bridge) askAck(ctx context.Context, h *source.Hold) (end int64, err error) {
	err = b.do(ctx, h, func(f *following) {
		end = f.g.journal.end() + int64(len(f.w.out))
		f.w.out = resp.AppendCommand(f.w.out, "REPLCONF", "GETACK", "*")
	})
	return end, err
}

// do has a task done and its effect written down.
func (b *Bridge) do(ctx context.Context, h *source.Hold, task func(*following)) error {
	done := make(chan struct{})
	var lost <-chan struct{}
	if h != nil {
		lost = h.Lost()
	}
	b.mu.Lock()
	ended := b.ended
	b.mu.Unlock()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-lost:
		return h.Err()
	case <-ended:
		return errors.New("the bridge has ended")
	case b.tasks <- func(f *following) { task(f); f.report(); close(done) }:
		<-done
		return nil
	}
}

// sourceOffset is where the source's stream is now.
func (b *Bridge) sourceOffset(ctx context.Context) (off int64, err error) {
	conn, err := resp.Dial(ctx, b.opt.Source.WithDB(0))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	r, err := conn.Do(ctx, "INFO", "replication")
	if err != nil {
		return 0, err
	}
	off, _, err = place(r)
	return off, err
}

// targetErrors sees whether the target refused commands of its stream, which a replica
// tells its log and its statistics only (Redis 7 and Valkey do).
func (b *Bridge) targetErrors(ctx context.Context) error {
	b.target.Lock()
	defer b.target.Unlock()
	if b.follower == nil {
		return errors.New("the bridge has ended")
	}
	info, err := b.follower.Info(ctx, "stats")
	if err != nil {
		return err
	}
	if n := number(info["unexpected_error_replies"]) - b.errors; n > 0 {
		return fmt.Errorf("the target could not carry out %d commands; its log names them", n)
	}
	return nil
}

// Promote makes the target a primary of its own. It needs a Hold, which lasts until
// Release: the clients can be moved to the target meanwhile. Run ends.
func (b *Bridge) Promote(ctx context.Context) error {
	h := b.Held()
	if h == nil || b.Status().Phase != PhaseHeld {
		return errors.New("cannot promote: the source's writes are not held")
	}
	if err := h.Err(); err != nil {
		return fmt.Errorf("cannot promote: %w", err)
	}
	if err := b.letGo(ctx); err != nil {
		return err
	}
	b.update(func(s *Status) { s.Phase, s.HeldFor = PhaseDone, time.Since(b.heldAt) })
	return nil
}

// letGo makes the target a primary.
func (b *Bridge) letGo(ctx context.Context) error {
	b.target.Lock()
	defer b.target.Unlock()
	if b.follower == nil {
		return errors.New("the bridge has ended")
	}
	if err := b.follower.Release(ctx); err != nil {
		return err
	}
	close(b.promoted)
	return nil
}

// Release lets the source take writes again. Before Promote that undoes Hold: the
// target goes on following.
func (b *Bridge) Release(ctx context.Context) error {
	b.mu.Lock()
	h := b.hold
	b.hold = nil
	if b.st.Phase == PhaseHeld {
		b.st.Phase = PhaseFollow
	}
	b.mu.Unlock()
	if h == nil {
		return nil
	}
	return h.Release(ctx)
}

// Abandon makes a target that follows us, or followed an earlier bridge with the same
// Dir, a primary with whatever it holds, and forgets the journal. It is not for use while Run runs.
func (b *Bridge) Abandon(ctx context.Context) error {
	unlock, err := b.enterAgain()
	if err != nil {
		return err
	}
	defer unlock()
	conn, err := resp.Dial(ctx, b.opt.Target.WithDB(0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	r, err := conn.Do(ctx, "INFO", "replication")
	if err != nil {
		return err
	}
	if _, id, err := place(r); err != nil || id != b.state.ReplID {
		return errors.Join(err, b.state.remove()) // it follows somebody else, or nobody
	}
	if _, err := conn.Do(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
		return fmt.Errorf("%s still waits for us: %w", b.opt.Target, err)
	}
	for name, was := range b.state.Undo {
		if _, err := conn.Do(ctx, "CONFIG", "SET", name, was); err != nil {
			return fmt.Errorf("cannot put %s of %s back: %w", name, b.opt.Target, err)
		}
	}
	return b.state.remove()
}

func (b *Bridge) enterAgain() (unlock func(), err error) {
	if b.state, err = loadState(b.opt.Dir); err != nil {
		return nil, err
	}
	return lockDir(b.opt.Dir)
}
