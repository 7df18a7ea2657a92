package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"holdfast.dev/internal/resp"
)

// execCut reads the remainder in one transaction, and looks whether anything else
// was written to between the moment when the remainder was taken and the
// transaction. If so it tries again with that. Nobody is held back.
//
// With notifications, a message published in the transaction stands between what
// came before it and what came after. With tracking, the transaction is sent over
// the connection that gets the invalidations: its reply stands between them, but
// for the invalidations of the same turn of the server's event loop, which are
// sent at the end of the turn, all in one push. So the first push after the reply
// may be of before, and counts so.
func (a *liveAttempt) execCut(ctx context.Context) (bool, error) {
	cut := CutExec
	if a.cap.kind == CaptureNotifications {
		cut = CutMarker
	}
	begun := time.Now()
	now, err := a.stats(ctx)
	if err != nil {
		return false, err
	}
	streams := now.groups != a.begin.groups || a.s.hooks.noSkip
	for try := 1; ; try++ {
		if _, err := a.keyspaces(ctx); err != nil {
			return false, err
		}
		a.rep.CutTries++
		t := &execTry{a: a, marker: strconv.Itoa(try), streams: streams}
		if err := t.run(ctx, cut); err != nil {
			if resp.IsServerError(err, "NOPERM", "EXECABORT") {
				return false, a.refusedCut("MULTI with "+string(cut), "multi, +exec, +info, +publish", err)
			}
			return false, err
		}
		for _, id := range t.cut.moved {
			a.cap.again(id.db, []byte(id.key))
			delete(a.marks, id) // from now on it is read each time
			t.exact = false
		}
		if t.exact && t.stats.groups != now.groups && !streams {
			streams, t.exact = true, false // a stream may have changed silently
		}
		last := try == execTries || time.Since(begun) > execTime
		if t.exact && (a.unsure == 0 || try > clockTries*8 || last) {
			if err := a.settled(ctx, t.stats); err != nil {
				return false, err
			}
			a.fixed(cut, t.cut)
			return true, nil
		}
		if last {
			a.note("in %d tries there was no moment without a write between taking what had changed and reading it", try)
			return false, nil
		}
		if err := errors.Join(a.relieve(), a.tick()); err != nil {
			return false, err
		}
		// What came while it was tried is dirty already. Too much of it means that
		// this was too slow; then a round is due.
		if a.cap.size() > cutRemainder {
			if err := a.rounds(ctx); err != nil {
				return false, err
			}
		}
	}
}

// execTry is one try.
type execTry struct {
	a       *liveAttempt
	marker  string
	streams bool
	win     *window
	cut     *liveCut
	queued  int
	seen    int
	err     error
	dbs     []resp.Keyspace
	stats   liveStats
	exact   bool
}

func (t *execTry) run(ctx context.Context, cut Cut) error {
	a := t.a
	a.unsure = 0
	t.win = &window{marker: t.marker}
	t.cut = a.newCut(a.cap.take(t.win), t.streams, a.cap.kind == CaptureTracking)
	cmds := resp.AppendCommand(nil, "MULTI")
	cmds = resp.AppendCommand(cmds, "INFO", "keyspace")
	cmds = resp.AppendCommand(cmds, "INFO", "commandstats")
	cmds, n := a.appendCut(cmds, t.cut)
	if cut == CutMarker {
		cmds = resp.AppendCommand(cmds, "PUBLISH", a.cap.marker, t.marker)
		n++
	}
	cmds = resp.AppendCommand(cmds, "EXEC")
	t.queued = n + 3 // MULTI and both INFOs
	var err error
	if cut == CutMarker {
		err = t.overData(cmds)
	} else {
		err = a.cap.ask(cmds, t.queued+1, t.take)
	}
	if err = errors.Join(err, t.err); err != nil {
		a.cap.putBack(t.cut.taken)
		return err
	}
	if err := a.cap.sync(); err != nil {
		return err
	}
	t.judge()
	clear(a.hot) // all read as of now; what changes again is told
	return ctx.Err()
}

// overData sends the transaction over the connection for data.
func (t *execTry) overData(cmds []byte) error {
	a := t.a
	a.pipe.EndMany(append(a.pipe.Begin(), cmds...), t.queued+1)
	a.pipe.Flush()
	a.db = -1
	a.conn.SpillAbove(spillAbove, a.s.lo.Dir)
	defer a.conn.SpillAbove(0, "")
	for range t.queued + 1 {
		r, err := a.next()
		if err != nil {
			return err
		}
		t.take(r)
	}
	return nil
}

// take takes the replies: one for each command, and then all answers.
func (t *execTry) take(r *resp.Reply) {
	t.seen++
	if err := r.Err(); err != nil && t.err == nil {
		t.err = err
	}
	if t.seen <= t.queued || t.err != nil {
		return
	}
	if t.a.cap.kind == CaptureTracking {
		t.a.cap.answered(t.win)
	}
	t.err = t.open(r)
}

// answered lets one more push into the window.
func (c *capture) answered(w *window) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.grace = 1
}

// open stores the answers of the transaction.
func (t *execTry) open(exec *resp.Reply) error {
	i := 0
	next := func() (*resp.Reply, error) {
		if i >= len(exec.Elems) {
			return nil, fmt.Errorf("cannot read the reply of EXEC: %d elements are too few", len(exec.Elems))
		}
		i++
		return &exec.Elems[i-1], nil
	}
	r, err := good(next)
	if err != nil {
		return err
	}
	if t.dbs, err = resp.ParseKeyspaces(r.Bytes); err != nil {
		return err
	}
	if r, err = good(next); err != nil {
		return err
	}
	if t.stats, err = t.a.parseStats(r.Bytes); err != nil {
		return err
	}
	return t.a.takeCut(t.cut, next)
}

// judge decides whether the transaction is the instant: nothing was written to
// before it but what it read, and no database was born of which it did not know.
func (t *execTry) judge() {
	c := t.a.cap
	t.exact = true
	for _, db := range t.dbs {
		if _, known := t.a.dbs[db.DB]; !known || db.Expires > 0 && !t.a.dbs[db.DB] {
			t.exact = false
		}
	}
	t.a.count = 0
	for _, db := range t.dbs {
		t.a.count += db.Keys
	}
	if !t.exact {
		// What was taken was not read in that database, or without its expiry.
		c.putBack(t.cut.taken)
		c.putBack(t.cut.extra)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kind == CaptureNotifications && t.win.open {
		t.exact = false // the marker did not come
	}
	t.win.open = false
	for _, id := range t.win.touched {
		if !t.cut.covers(id) {
			t.exact = false
		}
	}
	// If it was not: only what was written to in the window must be read again, and
	// all of that is dirty already.
}
