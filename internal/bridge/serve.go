package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/sink"
)

// serve gives the target its stream, over as many links as it takes.
func (f *following) serve(ctx context.Context, good func()) error {
	link := f.g.link
	f.g.link = nil
	at, err := int64(-1), error(nil)
	if link == nil {
		link, at, err = f.next(ctx, nil)
	}
	for err == nil {
		f.b.update(func(s *Status) { s.TargetLink = true })
		var called *sink.Link
		called, err = f.serveOne(ctx, link, at, good)
		_ = link.Close() // it is over, however it ended
		f.b.update(func(s *Status) { s.TargetLink = false })
		if err == nil {
			link, at, err = f.next(ctx, called)
		}
	}
	return err
}

// next waits for the target to call, and answers that its stream goes on. at is
// the offset of what it has.
func (f *following) next(ctx context.Context, called *sink.Link) (*sink.Link, int64, error) {
	if called == nil {
		var err error
		if called, err = f.b.accept(ctx); err != nil {
			return nil, 0, err
		}
	}
	at, j := called.Offset-1, f.g.journal
	if called.ReplID != f.g.replID || at < j.base() || at > j.end() {
		f.b.waiting = called
		why := fmt.Sprintf("the target has %s up to %d, and the journal holds %s from %d to %d", called.ReplID, at, f.g.replID, j.base(), j.end())
		if called.ReplID == "?" {
			why = "the target has nothing any more"
		}
		return nil, 0, &beginAnew{why}
	}
	if _, err := io.WriteString(called, "+CONTINUE\r\n"); err != nil {
		_ = called.Close()
		return f.next(ctx, nil)
	}
	return called, at, nil
}

var errLink = errors.New("the target's link is over")

// serveOne serves over one link, until it breaks or the target calls anew. A
// target that loads (at is -1) is sent nothing before it says that it is done.
func (f *following) serveOne(ctx context.Context, link *sink.Link, at int64, good func()) (called *sink.Link, err error) {
	group, gone := errgroup.WithContext(ctx)
	loaded := make(chan int64, 1)
	if at >= 0 {
		loaded <- at
	}
	group.Go(func() error { return f.acks(link, loaded, good) })
	group.Go(func() error { return f.feed(gone, link, loaded) })
	group.Go(func() error {
		defer func() { _ = link.Close() }() // ends the others
		select {
		case <-gone.Done():
		case called = <-f.b.follower.Called():
		}
		return errLink
	})
	err = group.Wait()
	if ctx.Err() != nil {
		if called != nil {
			_ = called.Close()
		}
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, errLink) {
		return called, nil
	}
	return nil, err
}

// acks takes in how far the target is. The first one says that it has loaded.
func (f *following) acks(link *sink.Link, loaded chan<- int64, good func()) error {
	for first := true; ; {
		off, err := link.Ack()
		if err != nil {
			return errLink
		}
		if first {
			// The rest can only be decided now: what it loaded has the offset that it was given.
			select {
			case loaded <- off:
				f.b.update(func(s *Status) {
					if s.Phase != PhaseHeld {
						s.Phase = PhaseFollow
					}
				})
			default:
			}
			first = false
			good()
		}
		f.b.update(func(s *Status) { s.Acked = max(s.Acked, off) })
		if err := f.g.journal.trim(off); err != nil {
			return err
		}
	}
}

const feedBuffer = 256 << 10

// feed sends the journal from where the target is.
func (f *following) feed(ctx context.Context, link *sink.Link, loaded <-chan int64) error {
	var at int64
	select {
	case <-ctx.Done():
		return errLink
	case at = <-loaded:
	}
	buf := make([]byte, feedBuffer)
	for {
		n, more, err := f.g.journal.read(buf, at)
		switch {
		case err != nil:
			return err
		case n == 0:
			select {
			case <-ctx.Done():
				return errLink
			case <-more:
			}
		default:
			if _, err := link.Write(buf[:n]); err != nil {
				return errLink
			}
			at += int64(n)
		}
	}
}
