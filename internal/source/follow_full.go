package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// work does what the feed asks for besides reading single keys again.
func (f *Follow) work(ctx context.Context, a *liveAttempt) error {
	w := f.changes.takeWork()
	if w.empty() {
		return nil
	}
	if w.full != nil {
		if err := f.full(ctx, a, w.full); err != nil {
			w.full = nil
			f.changes.giveWork(w)
			return err
		}
		w.full = nil
	}
	if f.feed != nil && !f.synced { // another snapshot is to come
		f.changes.giveWork(w)
		return nil
	}
	err := f.rest(ctx, a, &w)
	if err != nil {
		f.changes.giveWork(w)
	}
	return err
}

// rest does everything but a snapshot.
func (f *Follow) rest(ctx context.Context, a *liveAttempt, w *feedWork) error {
	if err := f.askKeys(ctx, a, w); err != nil {
		return err
	}
	if !w.rescan.empty() {
		if w.rescan.all {
			f.phase(a, PhaseFull)
		}
		dbs, err := a.keyspaces(ctx)
		if err != nil {
			return err
		}
		f.begun = true
		if err := a.scanOf(ctx, dbsOf(w.rescan, dbs)); err != nil {
			return err
		}
		if err := a.out.settle(); err != nil { // else a session that breaks below would lose what waits to be written
			return err
		}
		w.rescan = dbSet{}
	}
	if w.streams {
		if err := f.findStreams(ctx, a); err != nil {
			return err
		}
		w.streams = false
	}
	if !w.sweep.empty() {
		if err := f.sweep(ctx, a, w.sweep); err != nil {
			return err
		}
		w.sweep = dbSet{}
	}
	if err := a.out.settle(); err != nil {
		return err
	}
	if f.feed == nil {
		f.synced = true
	}
	f.phase(a, PhaseCatchUp)
	return nil
}

// phase enters a phase.
func (f *Follow) phase(a *liveAttempt, phase string) {
	a.out.told(a)
	a.out.refreshing = phase != PhaseFull
	f.mu.Lock()
	defer f.mu.Unlock()
	if phase == PhaseFull && f.status.Phase != PhaseFull {
		f.status.Keys = 0
	}
	if f.status.Phase != PhaseHeld || phase == PhaseFull {
		f.status.Phase = phase
	}
}

// full applies a snapshot. If it broke off on its way another one follows.
func (f *Follow) full(ctx context.Context, a *liveAttempt, s *fullSync) error {
	again := f.begun
	if f.synced {
		f.resynced("the source did not go on from where the link was lost, and sent a new snapshot")
	}
	f.synced, f.begun = false, true
	f.phase(a, PhaseFull)
	if again && f.fo.TargetKeys == nil {
		return fmt.Errorf("the source sent another snapshot: %w", errNoTargetKeys)
	}
	err := f.apply(ctx, a, s)
	f.changes.applied(s)
	err = errors.Join(err, s.Close())
	var broken *brokenFull
	if errors.As(err, &broken) {
		return nil
	}
	if err != nil {
		return err
	}
	f.synced = true
	if f.fo.TargetKeys != nil {
		f.changes.giveWork(feedWork{sweep: dbSet{all: true}})
	}
	f.phase(a, PhaseCatchUp)
	return nil
}

// brokenFull says that a snapshot did not come to its end.
type brokenFull struct{ err error }

func (b *brokenFull) Error() string { return b.err.Error() }
func (b *brokenFull) Unwrap() error { return b.err }

// snapshotError is an error of a snapshot that came whole: another one would not
// be better, and this one is gone.
type snapshotError struct{ err error }

func (e *snapshotError) Error() string { return e.err.Error() }
func (e *snapshotError) Unwrap() error { return e.err }

// apply writes the keys of a snapshot.
func (f *Follow) apply(ctx context.Context, a *liveAttempt, s *fullSync) error {
	var stopped error
	err := readSnapshot(s, func(e *flow.Entry) bool {
		a.limit.Read(e.Size())
		stopped = errors.Join(a.limit.Wait(ctx, 1), context.Cause(ctx))
		if stopped == nil {
			stopped = a.keep(e)
		}
		if stopped == nil {
			stopped = a.tick()
		}
		return stopped == nil
	})
	switch whole, _ := s.whole(); {
	case stopped != nil:
		return stopped
	case err != nil && !whole && f.feedFailed() == nil && context.Cause(ctx) == nil:
		return &brokenFull{err}
	case err != nil:
		return &snapshotError{errors.Join(f.feedFailed(), fmt.Errorf("cannot read the source's snapshot: %w", err))}
	}
	return a.out.settle()
}

// askKeys asks the server which keys commands have that the table does not know.
func (f *Follow) askKeys(ctx context.Context, a *liveAttempt, w *feedWork) error {
	for _, c := range w.unknown {
		r, err := a.call(ctx, append([]string{"COMMAND", "GETKEYS"}, c.args...)...)
		switch {
		case err == nil && len(r.Elems) > 0:
			for i := range r.Elems {
				f.changes.again(c.db, r.Elems[i].Bytes)
			}
		case err == nil || resp.IsServerError(err):
			a.noteOnce("the command " + strconv.Quote(c.args[0]) + " is not known, and the source does not tell its keys: everything was read again")
			w.rescan.all = true
			w.sweep.all = f.fo.TargetKeys != nil
		default:
			return err
		}
	}
	w.unknown = nil
	return nil
}

// sweep deletes what the target has and the source has not.
func (f *Follow) sweep(ctx context.Context, a *liveAttempt, set dbSet) error {
	if f.fo.TargetKeys == nil {
		return fmt.Errorf("databases of the source were emptied or swapped: %w", errNoTargetKeys)
	}
	if err := a.out.settle(); err != nil {
		return err
	}
	s := &sweeper{a: a, keys: &liveKeys{}}
	var failed error
	err := f.fo.TargetKeys(ctx, func(db int, key []byte) bool {
		if set.has(db) {
			failed = s.add(ctx, db, key)
		}
		return failed == nil
	})
	if err == nil && failed == nil {
		failed = s.flush(ctx)
	}
	if failed != nil {
		return failed
	}
	if err != nil {
		return &sinkError{fmt.Errorf("cannot list the keys of the target: %w", err)}
	}
	return a.out.settle()
}

// sweeper asks for many keys at once whether the source has them.
type sweeper struct {
	a    *liveAttempt
	keys *liveKeys // of one database
}

// sweepBatch keys are asked about at once.
const sweepBatch = 500

func (s *sweeper) add(ctx context.Context, db int, key []byte) error {
	if s.keys.len() > 0 && s.keys.db != db || s.keys.len() >= sweepBatch {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.keys.db = db
	s.keys.add(key)
	return nil
}

func (s *sweeper) flush(ctx context.Context) error {
	keys, a := s.keys, s.a
	s.keys = &liveKeys{}
	if keys.len() == 0 {
		return nil
	}
	if err := a.selectDB(ctx, keys.db); err != nil {
		if !resp.IsServerError(err, "ERR") {
			return err
		}
		return s.none(keys) // the source has no such database
	}
	cmds := a.pipe.Begin()
	for i := range keys.len() {
		cmds = append(cmds, "*2\r\n$6\r\nEXISTS\r\n"...)
		cmds = resp.AppendBulk(cmds, keys.key(i))
	}
	a.pipe.EndMany(cmds, keys.len())
	var refused error
	for i := range keys.len() {
		r, err := a.next()
		if err != nil {
			return err
		}
		switch err := r.Err(); {
		case resp.IsServerError(err, "NOPERM"):
			a.cap.again(keys.db, keys.key(i)) // reading it tells too
		case err != nil:
			refused = err
		case r.Int == 0:
			if err := a.gone(keys.db, keys.key(i)); err != nil {
				return err
			}
		}
	}
	if refused != nil {
		return fmt.Errorf("cannot ask whether keys exist: %w", refused)
	}
	return a.tick()
}

func (s *sweeper) none(keys *liveKeys) error {
	for i := range keys.len() {
		if err := s.a.gone(keys.db, keys.key(i)); err != nil {
			return err
		}
	}
	return nil
}

// foundStream notes a stream with about its size.
func (f *Follow) foundStream(ctx context.Context, a *liveAttempt, id touched) error {
	if _, known := a.streams[id]; known {
		return nil
	}
	a.streams[id] = 0
	if !a.guard {
		return nil
	}
	r, err := a.call(ctx, "MEMORY", "USAGE", id.key)
	if err == nil {
		a.streams[id] = r.Int // 0 for one that is gone
	}
	return err
}

// findStreams finds out which keys are streams, for they change in ways of which
// nobody is told.
func (f *Follow) findStreams(ctx context.Context, a *liveAttempt) error {
	dbs, err := a.keyspaces(ctx)
	if err != nil {
		return err
	}
	for _, db := range dbs {
		if err := a.selectDB(ctx, db.DB); err != nil {
			return err
		}
		for cursor := ""; cursor != "0"; {
			r, err := a.call(ctx, "SCAN", max(cursor, "0"), "COUNT", "500", "TYPE", "stream")
			if err != nil {
				if resp.IsServerError(err) { // before 6.0 it cannot be asked so
					a.noteOnce("which keys are streams could not be asked: " + err.Error())
					f.changes.giveWork(feedWork{rescan: dbSet{all: true}})
					return nil
				}
				return err
			}
			if len(r.Elems) != 2 {
				return fmt.Errorf("the reply of SCAN is %s", r.Kind)
			}
			cursor = string(r.Elems[0].Bytes)
			var found []string
			for i := range r.Elems[1].Elems {
				found = append(found, string(r.Elems[1].Elems[i].Bytes))
			}
			for _, key := range found {
				if err := f.foundStream(ctx, a, touched{db.DB, key}); err != nil {
					return err
				}
			}
			if err := a.tick(); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteOnce puts a note into the report, unless it is there.
func (a *liveAttempt) noteOnce(note string) {
	for _, n := range a.rep.Notes {
		if n == note {
			return
		}
	}
	a.rep.Notes = append(a.rep.Notes, note)
}
