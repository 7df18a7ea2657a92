package source

import (
	"fmt"

	"holdfast.dev/internal/flow"
)

// followOut collects what was read into batches for the sink. Their bytes are
// copied into one arena, for what a source hands out is valid for a moment.
type followOut struct {
	f       *Follow
	changes *dirtySet
	write   func([]flow.Entry) error
	commit  func() error
	batch   []flow.Entry
	arena   []byte
	// refreshing: what comes was read before.
	refreshing bool
	// written is what came since it was last told.
	keys, refreshed, deleted, skipped int64
}

// Limits of a batch.
const (
	outEntries = 512
	outBytes   = 1 << 20
)

// sinkError is an error of the target, which no new connection to the source cures.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }
func (e *sinkError) Unwrap() error { return e.err }

// keep takes a key with its value.
func (o *followOut) keep(e *flow.Entry) error {
	if keep := o.f.fo.Keep; keep != nil && !keep(e) {
		o.skipped++
		if o.refreshing { // it may have been in scope before
			return o.gone(e.DB, e.Key)
		}
		return nil
	}
	if o.refreshing {
		o.refreshed++
	} else {
		o.keys++
	}
	return o.add(e)
}

// gone takes a key that does not exist.
func (o *followOut) gone(db int, key []byte) error {
	e := flow.Entry{DB: db, Key: key, Deleted: true, Idle: -1, Freq: -1}
	if keep := o.f.fo.Keep; keep != nil && !keep(&e) {
		return nil
	}
	o.deleted++
	return o.add(&e)
}

func (o *followOut) add(e *flow.Entry) error {
	if len(o.batch) == outEntries || len(o.batch) > 0 && len(o.arena)+e.Size() > cap(o.arena) {
		if err := o.flush(); err != nil {
			return err
		}
	}
	if o.arena == nil {
		o.arena = make([]byte, 0, outBytes)
	}
	if e.Body != nil { // what came before it must be gone: its source waits
		if err := o.flush(); err != nil {
			return err
		}
	}
	if e.Size() > cap(o.arena) || e.Body != nil {
		// Larger than a batch, or a stream: it travels alone, without a copy.
		o.batch = append(o.batch, *e)
		return o.flush()
	}
	c := *e
	c.Key, c.Value = o.copy(e.Key), o.copy(e.Value)
	o.batch = append(o.batch, c)
	return nil
}

func (o *followOut) copy(b []byte) []byte {
	at := len(o.arena)
	o.arena = append(o.arena, b...)
	return o.arena[at:len(o.arena):len(o.arena)]
}

// flush hands the batch to the sink.
func (o *followOut) flush() error {
	if len(o.batch) == 0 {
		return nil
	}
	err := o.write(o.batch)
	o.batch, o.arena = o.batch[:0], o.arena[:0]
	if err != nil {
		return &sinkError{fmt.Errorf("cannot write to the target: %w", err)}
	}
	return nil
}

// settle waits until the target has confirmed everything.
func (o *followOut) settle() error {
	if err := o.flush(); err != nil {
		return err
	}
	if err := o.commit(); err != nil {
		return &sinkError{fmt.Errorf("cannot commit the target: %w", err)}
	}
	return nil
}

// told brings the status up to date.
func (o *followOut) told(a *liveAttempt) {
	f := o.f
	f.mu.Lock()
	s := &f.status
	s.Keys += o.keys
	s.Refreshed += o.refreshed
	s.Deleted += o.deleted
	s.Skipped += o.skipped
	s.Total, s.Server, s.Notes = max(a.total, s.Keys), a.r.srv, a.rep.Notes
	s.Capture = a.cap.kind
	if f.refusal != "" {
		s.Notes = append([]string{f.refusal}, s.Notes...)
	}
	s.Up = true // of RoadCommands; that of the other is the feed's to tell
	o.keys, o.refreshed, o.deleted, o.skipped = 0, 0, 0, 0
	f.mu.Unlock()
	if f.fo.Progress != nil {
		f.fo.Progress(f.Status())
	}
}
