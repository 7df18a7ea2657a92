package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

// DefaultHoldPause is for how long a server is told, each time, to take no writes.
const DefaultHoldPause = 15 * time.Second

// HoldMeans is how a server is made to take no writes.
type HoldMeans string

// The means.
const (
	// HoldPause delays writes (CLIENT PAUSE WRITE): clients wait, and get their
	// answer after the release. Nothing is expired nor evicted meanwhile either.
	HoldPause HoldMeans = "pause"
	// HoldRefuse has writes refused with NOREPLICAS, by asking for more replicas
	// than there can be. Keys go on expiring. Before Redis 7.0 scripts, and
	// transactions that were queued before, still write: Check tells.
	HoldRefuse HoldMeans = "refuse"
)

// HoldOptions shape HoldWrites. The zero value is good.
type HoldOptions struct {
	// MaxPause bounds for how long a server that we no longer reach, or a server whose
	// holder died, goes on holding writes back; 0 means DefaultHoldPause. The hold
	// itself lasts until Release, for it is renewed.
	MaxPause time.Duration
	// Save is called with what has to be put back, before it is changed. It is
	// called for HoldRefuse alone: a pause ends by itself. If it returns an error
	// nothing is changed. What it stored is for UndoHold, after a crash.
	Save func(HoldUndo) error
}

// Hold is a server that takes no writes until Release.
type Hold struct {
	opt   resp.Options
	span  time.Duration
	means HoldMeans
	undo  HoldUndo
	was   heldServer
	// begun: the server has been told, or may have been.
	begun bool

	conn *resp.Conn // of the renewing goroutine
	stop context.CancelFunc
	wg   sync.WaitGroup
	lost chan struct{}

	mu       sync.Mutex
	err      error
	released bool
}

// HoldWrites makes the server at opt take no writes: by CLIENT PAUSE WRITE where
// it has that and lets us, else by refusing them. Every write that the server has
// acknowledged was carried out before HoldWrites returns. Where neither can be had
// the error says what is missing; then the writers have to be stopped by hand.
//
// On a replica, a pause holds what comes from its primary. In cluster mode each
// primary is to be held by itself.
func HoldWrites(ctx context.Context, opt resp.Options, ho HoldOptions) (*Hold, error) {
	if ho.MaxPause <= 0 {
		ho.MaxPause = DefaultHoldPause
	}
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return nil, err
	}
	h := &Hold{opt: opt, span: ho.MaxPause, conn: conn, lost: make(chan struct{})}
	if err := h.begin(ctx, ho.Save); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot hold back the writes of %s: %w", opt, err), h.takeBack(ctx), h.conn.Close())
	}
	// The renewing outlives ctx: whoever made the hold has to release it.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	h.wg.Go(func() { h.renew(run) })
	return h, nil
}

// takeBack ends a hold that may have begun: the command was sent, and what became of
// it is not known. That ctx has ended is no reason to leave writers waiting.
func (h *Hold) takeBack(ctx context.Context) error {
	if !h.begun {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resp.DefaultDialTimeout)
	defer cancel()
	return h.letGo(ctx)
}

// begin tries one means after the other.
func (h *Hold) begin(ctx context.Context, save func(HoldUndo) error) error {
	perr := h.pause(ctx)
	if perr == nil {
		return h.identify(ctx)
	}
	if !resp.IsServerError(perr) {
		return perr
	}
	rerr := h.refuse(ctx, save)
	if rerr == nil {
		return h.identify(ctx)
	}
	if !resp.IsServerError(rerr) {
		return rerr
	}
	return fmt.Errorf("CLIENT PAUSE WRITE: %w; CONFIG SET %s: %w; grant one of them (+client|pause +client|unpause, or +config|get +config|set), or stop the writers yourself",
		perr, replicasSetting, rerr)
}

// pause has writes delayed. That they can be let go is made certain before.
func (h *Hold) pause(ctx context.Context) error {
	if _, err := h.conn.Do(ctx, "CLIENT", "UNPAUSE"); err != nil {
		return err
	}
	h.means, h.begun = HoldPause, true
	err := h.pauseAgain(ctx)
	h.begun = !resp.IsServerError(err)
	return err
}

func (h *Hold) pauseAgain(ctx context.Context) error {
	_, err := h.conn.Do(ctx, "CLIENT", "PAUSE", strconv.FormatInt(h.span.Milliseconds(), 10), "WRITE")
	return err
}

// identify notes which server is held, and how much was written to it.
func (h *Hold) identify(ctx context.Context) (err error) {
	h.was, err = heldNow(ctx, h.conn)
	return err
}

// Means tells how writes are held.
func (h *Hold) Means() HoldMeans { return h.means }

// Lost is closed when the hold could not be kept up, or did not hold; Err says why.
func (h *Hold) Lost() <-chan struct{} { return h.lost }

// Err is why the hold was lost; nil while it holds.
func (h *Hold) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *Hold) lose(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = fmt.Errorf("%s: %w: %w", h.opt, ErrHoldLost, err)
		close(h.lost)
	}
	return h.err
}

// renew keeps the hold up: every third of its span.
func (h *Hold) renew(ctx context.Context) {
	t := time.NewTicker(h.span / 3)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		begun := time.Now()
		err := h.renewOnce(ctx, last)
		var broken *brokenHold
		switch {
		case err == nil:
			last = begun
		case ctx.Err() != nil:
			return
		case errors.As(err, &broken):
			_ = h.lose(err) // it is kept for Err
			return
		case time.Since(last) >= h.span:
			_ = h.lose(fmt.Errorf("it could not be renewed for %s: %w", h.span, err))
			return
		}
	}
}

// brokenHold is an error that means that writes went on.
type brokenHold struct{ text string }

func (b *brokenHold) Error() string { return b.text }

// renewOnce looks whether the hold holds and makes it last longer, over a new
// connection where the old one is dead.
func (h *Hold) renewOnce(ctx context.Context, last time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, max(h.span/3, time.Second))
	defer cancel()
	if h.conn == nil {
		conn, err := resp.Dial(ctx, h.opt.WithDB(0))
		if err != nil {
			return err
		}
		h.conn = conn
	}
	err := h.look(ctx, h.conn)
	if err == nil && h.means == HoldPause {
		if err = h.pauseAgain(ctx); err == nil && time.Since(last) >= h.span {
			err = &brokenHold{fmt.Sprintf("it took longer than %s to renew the pause", h.span)}
		}
	}
	if err != nil && !resp.IsServerError(err) {
		_ = h.conn.Close() // it is dead, or will be
		h.conn = nil
	}
	return err
}

// look compares the server with what it was when the hold began.
func (h *Hold) look(ctx context.Context, conn *resp.Conn) error {
	now, err := heldNow(ctx, conn)
	if err != nil {
		return err
	}
	return h.was.check(now, h.means)
}

// Check tells whether no write got through so far, as far as the server's
// counters show: it is to be called when everything was read, before that is relied on.
func (h *Hold) Check(ctx context.Context) error {
	if err := h.Err(); err != nil {
		return err
	}
	conn, err := resp.Dial(ctx, h.opt.WithDB(0))
	if err != nil {
		return fmt.Errorf("cannot tell whether the writes of %s are still held back: %w", h.opt, err)
	}
	defer func() { _ = conn.Close() }() // only questions went over it
	if err := h.look(ctx, conn); err != nil {
		var broken *brokenHold
		if errors.As(err, &broken) {
			return h.lose(err)
		}
		return fmt.Errorf("cannot tell whether the writes of %s are still held back: %w", h.opt, err)
	}
	return h.Err()
}

// Release lets writes go on. It may be called twice. Where it fails for
// HoldPause, writes go on by themselves within MaxPause; for HoldRefuse the
// error says what has to be put back by hand.
func (h *Hold) Release(ctx context.Context) error {
	h.mu.Lock()
	done := h.released
	h.released = true
	h.mu.Unlock()
	if done {
		return nil
	}
	h.stop()
	h.wg.Wait()
	var err error
	if h.conn != nil {
		err = h.conn.Close()
	}
	return errors.Join(h.letGo(ctx), err)
}

// letGo ends the hold over a connection of its own, for the other may be dead.
func (h *Hold) letGo(ctx context.Context) error {
	if h.means == HoldRefuse {
		return UndoHold(ctx, h.opt, h.undo)
	}
	conn, err := resp.Dial(ctx, h.opt.WithDB(0))
	if err == nil {
		_, err = conn.Do(ctx, "CLIENT", "UNPAUSE")
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		return &stillHeld{fmt.Errorf("cannot let the writes of %s go on, they do by themselves within %s: %w", h.opt, h.span, err)}
	}
	return nil
}

// ErrHoldLost is in the errors of a hold that did not hold: writes may have got through.
var ErrHoldLost = errors.New("the writes are no longer held back")

// ErrStillHeld is in the errors of a hold that could not be ended: the server may
// go on holding writes back, for how long the error says.
var ErrStillHeld = errors.New("writes are still held back")

// stillHeld is an ErrStillHeld with words of its own.
type stillHeld struct{ err error }

func (s *stillHeld) Error() string        { return s.err.Error() }
func (s *stillHeld) Unwrap() error        { return s.err }
func (s *stillHeld) Is(target error) bool { return target == ErrStillHeld }
