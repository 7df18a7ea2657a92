package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

const (
	// roundGap is the least time between the beginnings of two rounds: a key that
	// changes all the time is read once in each.
	roundGap = 20 * time.Millisecond
	// quietEvery so often things are looked after when nothing changes.
	quietEvery = 200 * time.Millisecond
	// roundsAtOnce are made where more changed keys wait than memory holds.
	roundsAtOnce = 20
	// verifyEvery, hotEvery and markEvery so often the server's counters are looked
	// at, large values that would not stand still are tried again, and large streams looked at.
	verifyEvery = time.Second
	hotEvery    = 5 * time.Second
	markEvery   = 5 * time.Second
)

// errNoTargetKeys: the target cannot be made right.
var errNoTargetKeys = errors.New("the target may hold keys that the source has not any more, and nothing lists them (TargetKeys)")

// Run copies everything to dst and then what changes, until ctx ends, which is
// its error then, or something goes wrong that does not pass. dst is written to
// and committed from the goroutine that calls Run, which may be done once.
func (f *Follow) Run(ctx context.Context, dst flow.Sink) (err error) {
	f.mu.Lock()
	was := f.running
	f.running = true
	f.mu.Unlock()
	if was {
		return errors.New("a Follow runs once")
	}
	defer close(f.ended)
	spill, err := newKeySpill(f.fo.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spill.Close()) }()
	f.changes.spillTo(spill, f.memory, f.forget)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := f.connect(ctx); err != nil {
		return err
	}
	if f.feed != nil {
		defer f.feed.Close()
	}
	out := &followOut{
		f: f, changes: f.changes,
		write:  func(batch []flow.Entry) error { return dst.Write(ctx, batch) },
		commit: func() error { return dst.Commit(ctx) },
	}
	return f.sessions(ctx, out)
}

// connect takes the road and says what has to be done first.
func (f *Follow) connect(ctx context.Context) error {
	state := FollowState{Road: RoadCommands, Source: f.opt.String()}
	if f.fo.Resume != nil {
		f.server, f.begun = f.fo.Resume.Server, true
		state.Server = f.server
	}
	if f.fo.Road != RoadCommands {
		err := f.join(ctx, state)
		if err == nil || f.fo.Road == RoadReplica || !errors.Is(err, ErrNoReplica) {
			return err
		}
		f.refusal = err.Error()
	}
	f.taken(state, PhaseFull)
	if f.begun && f.fo.TargetKeys == nil {
		return fmt.Errorf("cannot go on where an earlier run ended: %w", errNoTargetKeys)
	}
	f.anew()
	return nil
}

// taken notes the road that was taken.
func (f *Follow) taken(state FollowState, phase string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.status.Road, f.status.Phase = state, state.Road, phase
}

// anew asks for everything to be read.
func (f *Follow) anew() {
	f.begin, f.synced = nil, false
	w := feedWork{rescan: dbSet{all: true}}
	w.sweep.all = f.fo.TargetKeys != nil
	f.changes.giveWork(w)
}

// join takes the road of a replica.
func (f *Follow) join(ctx context.Context, state FollowState) error {
	pos, err := f.resume()
	if err != nil {
		return err
	}
	// Before the snapshot, so that nothing lies between.
	begin, err := f.counters(ctx)
	if err != nil {
		return err
	}
	feed, continued, err := startReplica(ctx, f.opt, f.changes, pos, f.fo.Dir, f.fo.GiveUp)
	if err != nil {
		return err
	}
	if !continued && pos.ID != "" {
		err = f.refused()
	}
	if !continued && f.begun && f.fo.TargetKeys == nil {
		err = errors.Join(err, fmt.Errorf("the source does not go on from where an earlier run ended: %w", errNoTargetKeys))
	}
	if err != nil {
		feed.Close()
		return err
	}
	f.changes.mu.Lock()
	f.feed = feed // Status looks at it
	f.changes.mu.Unlock()
	f.synced, f.begin = continued, begin
	state.Road = RoadReplica
	phase := PhaseFull
	if continued {
		state, phase = *f.fo.Resume, PhaseCatchUp
		for _, k := range state.Pending {
			f.changes.again(k.DB, k.Key)
		}
		f.begin = nil // what was called in between is not known
		f.changes.giveWork(feedWork{streams: true})
	}
	f.taken(state, phase)
	return nil
}

// counters asks the server before anything is read; nil where it does not tell.
func (f *Follow) counters(ctx context.Context) (*liveStats, error) {
	conn, err := resp.Dial(ctx, f.opt.WithDB(0))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // only a question went over it
	r, err := conn.Do(ctx, "INFO", "commandstats")
	if resp.IsServerError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := new(liveAttempt).parseStats(r.Bytes)
	return &s, err
}

// sessions makes one session after the other, as connections to the source break.
func (f *Follow) sessions(ctx context.Context, out *followOut) error {
	wait, since, first := rejoinFirst, time.Now(), true
	for {
		opened, err := f.session(ctx, out)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if first && !opened || !passes(err) {
			return err
		}
		if first = false; opened {
			wait, since = rejoinFirst, time.Now()
		}
		if time.Since(since) > f.fo.GiveUp {
			return fmt.Errorf("the source could not be read for %s: %w", f.fo.GiveUp, err)
		}
		if f.feed == nil {
			if f.begun && f.fo.TargetKeys == nil {
				return fmt.Errorf("%w: %w", errNoTargetKeys, err)
			}
			if opened {
				f.resynced(err.Error())
			}
			f.anew()
		} else if failed := f.feedFailed(); failed != nil {
			return failed
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
		wait = min(2*wait, rejoinMost)
	}
}

// passes tells whether an error of a session may be gone in another one.
func passes(err error) bool {
	var sink *sinkError
	var again *restartError
	var snapshot *snapshotError
	switch {
	case errors.As(err, &sink), errors.As(err, &snapshot), errors.Is(err, errNoCapture), errors.Is(err, ErrSourceEmptied), errors.Is(err, errNoTargetKeys), errors.As(err, new(*resp.SpillError)):
		return false
	case errors.As(err, &again):
		return true
	case resp.IsServerError(err):
		return resp.IsServerError(err, "LOADING", "MASTERDOWN", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "UNBLOCKED")
	}
	return isNetwork(err)
}

func (f *Follow) feedFailed() error {
	f.changes.mu.Lock()
	defer f.changes.mu.Unlock()
	return f.feed.failed
}

// resynced counts that everything has to be read again.
func (f *Follow) resynced(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Resyncs++
	if s := &f.status; len(s.Reasons) < 20 {
		s.Reasons = append(s.Reasons, reason)
	}
}

func (f *Follow) enter(phase string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Phase = phase
}

// session reads over one connection until it breaks; opened tells whether it
// ever stood.
func (f *Follow) session(ctx context.Context, out *followOut) (opened bool, err error) {
	f.live.hooks = f.hooks
	a := newAttempt(f.live, nil)
	a.out, a.streams, a.marks = out, f.streams, f.marks
	if f.feed != nil {
		a.cap = &capture{kind: CaptureReplica, dirtySet: f.changes, stream: f.feed}
	}
	defer func() {
		f.restore(a)
		out.batch, out.arena = out.batch[:0], out.arena[:0]
		err = errors.Join(err, a.close())
	}()
	if err := a.open(ctx); err != nil {
		return false, err
	}
	if err := f.compare(ctx, a); err != nil {
		return true, err
	}
	return true, f.loop(ctx, a)
}

// restore has read again what a session did not come to write.
func (f *Follow) restore(a *liveAttempt) {
	f.changes.putBack(a.taken.keys)
	for id := range a.hot {
		f.changes.again(id.db, []byte(id.key))
	}
}

// compare sees whether the server is the one of before.
func (f *Follow) compare(ctx context.Context, a *liveAttempt) error {
	switch {
	case f.begin != nil:
		a.begin = *f.begin
	case f.feed != nil: // nobody knows what was called since the last key was read
		a.begin.groups = -1
	default:
		begin := a.begin
		f.begin = &begin
	}
	if a.blind {
		if f.feed == nil {
			f.deafen()
		}
		return nil
	}
	id, err := f.runID(ctx, a)
	if err != nil {
		return err
	}
	if f.server != "" && f.server != id {
		// Its counters began anew.
		if f.feed != nil {
			f.begin, a.begin.groups = nil, -1
		}
		if f.begun && a.total == 0 {
			return fmt.Errorf("%w: the target is left as it is. If that was meant, begin again without the state of this run", ErrSourceEmptied)
		}
	}
	f.mu.Lock()
	f.server, f.state.Server = id, id
	f.mu.Unlock()
	return nil
}

// deafen notes that nobody tells of SWAPDB: by commands its count alone does.
func (f *Follow) deafen() {
	f.changes.mu.Lock()
	defer f.changes.mu.Unlock()
	f.changes.deaf = true
}

func (f *Follow) runID(ctx context.Context, a *liveAttempt) (string, error) {
	r, err := a.call(ctx, "INFO", "server")
	if err != nil {
		return "", err
	}
	for name, value := range resp.InfoFields(r.Bytes) {
		if name == "run_id" {
			return value, nil
		}
	}
	return "", nil
}

// loop does what there is to do until the session breaks.
func (f *Follow) loop(ctx context.Context, a *liveAttempt) error {
	quiet := time.NewTicker(quietEvery)
	defer quiet.Stop()
	for {
		if err := errors.Join(a.cap.lost(), context.Cause(ctx)); err != nil {
			return err
		}
		begun := time.Now()
		var err error
		if f.request != nil {
			err = f.answer(ctx, a)
		} else {
			err = f.pass(ctx, a)
		}
		if err != nil {
			return err
		}
		f.idle(ctx, begun, quiet)
		if err := a.tick(); err != nil {
			return err
		}
	}
}

// idle waits until something is to be done, and not before the next round is due.
func (f *Follow) idle(ctx context.Context, begun time.Time, quiet *time.Ticker) {
	took := time.Since(begun)
	next := time.NewTimer(max(roundGap, min(2*took, time.Second)) - took)
	defer next.Stop()
	select {
	case f.request = <-f.requests:
		return
	case <-ctx.Done():
		return
	case <-next.C:
	}
	select {
	case <-f.changes.wake:
	case f.request = <-f.requests:
	case <-ctx.Done():
	case <-quiet.C:
	}
}

// answer drains for who waits. A request outlives a session that breaks.
func (f *Follow) answer(ctx context.Context, a *liveAttempt) error {
	r := f.request
	err := f.drain(ctx, r.ctx, a)
	gone := r.ctx.Err() != nil
	if err != nil && !gone && passes(err) {
		return err
	}
	f.request = nil
	r.done <- err
	if gone || errors.Is(err, errUnsteady) {
		return nil
	}
	return err
}

// pass does the work that waits, reads once what changed, and looks after the rest.
func (f *Follow) pass(ctx context.Context, a *liveAttempt) error {
	if err := f.work(ctx, a); err != nil {
		return err
	}
	if !f.synced {
		return nil // the snapshot is not there yet
	}
	for range roundsAtOnce {
		if _, err := f.round(ctx, a); err != nil {
			return err
		}
		if !a.taken.since.IsZero() {
			f.enter(PhaseCatchUp) // something changed since the last Drain
		}
		if a.taken.last {
			break
		}
	}
	return f.lookAfter(ctx, a)
}

// round reads what changed and notes how far the target is. It tells whether that
// was all.
func (f *Follow) round(ctx context.Context, a *liveAttempt) (all bool, err error) {
	a.moved = 0
	if err := a.round(ctx); err != nil {
		return false, err
	}
	if err := a.out.settle(); err != nil {
		return false, err
	}
	all = a.taken.last && a.moved == 0
	if all {
		f.confirm(a.taken.pos, a.hot)
	}
	f.reading(time.Time{})
	return all, nil
}

// lookAfter does what is due now and then.
func (f *Follow) lookAfter(ctx context.Context, a *liveAttempt) error {
	now := time.Now()
	if f.feed == nil && now.Sub(f.verified) > verifyEvery {
		f.verified = now
		if err := a.verify(ctx); err != nil {
			return err
		}
	}
	if now.Sub(f.markTry) > markEvery && !a.blind {
		f.markTry = now
		if err := errors.Join(a.mark(ctx), a.out.settle()); err != nil {
			return err
		}
	}
	if len(a.hot) > 0 && now.Sub(f.hotTry) > hotEvery {
		f.hotTry = now
		f.cool(a)
	}
	return nil
}

// cool has large values that would not stand still read again.
func (f *Follow) cool(a *liveAttempt) {
	for id := range a.hot {
		f.changes.again(id.db, []byte(id.key))
	}
	clear(a.hot)
	clear(a.tries)
}

// dbsOf are the databases of a set that hold keys.
func dbsOf(set dbSet, all []resp.Keyspace) []resp.Keyspace {
	return slices.DeleteFunc(slices.Clone(all), func(k resp.Keyspace) bool { return !set.has(k.DB) })
}

// isNetwork tells whether an error is of a connection.
func isNetwork(err error) bool {
	var op net.Error
	return errors.As(err, &op) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}
