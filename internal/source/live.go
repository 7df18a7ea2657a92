package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// LiveOptions shape a Live. The zero value is good.
type LiveOptions struct {
	// Dir is where the spool is kept until the end, as large as the data and what
	// changed meanwhile; "" is the directory for temporary files.
	Dir string
	// MaxPause bounds how long writes may be held back for the cut; 0 means
	// DefaultMaxPause. It is a bound: what is needed is about a millisecond.
	MaxPause time.Duration
	// MaxRestarts is how often reading begins anew when the keyspace was emptied
	// or swapped, or a connection was lost; 0 means DefaultMaxRestarts, less than 0 never.
	MaxRestarts int
	// Latency is by how much other clients' slow requests may become slower; 0
	// means DefaultLatency.
	Latency time.Duration
	// Rate limits the reading to so many keys per second, BytesRate to so many
	// bytes of keys and values; 0 does not.
	Rate      int
	BytesRate int64
	// PointInTime refuses anything less: where no cut can be had, Entries ends
	// with an error that says why, before the first entry.
	PointInTime bool
	// SetNotifications allows to change notify-keyspace-events by CONFIG SET while
	// reading, and back afterwards, where changes cannot be seen otherwise.
	SetNotifications bool
	// Through hands on what is read at once, with no spool: a key may come again, with a later
	// value, or as deleted, and what came last of it counts once Entries has ended without an
	// error. It is for targets that hold nothing else: a key that was there before
	// could be replaced and then deleted. With PointInTime it is done only where writes can be held back
	// for the cut, so that nothing is yielded where in the end there may be no instant.
	Through bool
	// Progress, if set, is called now and then from the goroutine of Entries.
	Progress func(LiveProgress)
}

// Defaults of LiveOptions.
const (
	DefaultMaxPause    = 3 * time.Second
	DefaultMaxRestarts = 5
	DefaultLatency     = 2 * time.Millisecond
)

// Consistency is what the entries of a Live have in common.
type Consistency string

// The consistencies.
const (
	// PointInTime: all entries are those of one instant.
	PointInTime Consistency = "point-in-time"
	// PerKey: each entry is right for some instant while the server was read.
	PerKey Consistency = "per-key"
)

// Capture is how changes were seen.
type Capture string

// The captures.
const (
	CaptureTracking      Capture = "tracking"      // CLIENT TRACKING in broadcast mode
	CaptureNotifications Capture = "notifications" // keyspace notifications
	// CaptureReplica is the stream that replicas get; a Follow uses it, a Live does not.
	CaptureReplica Capture = "replica"
	CaptureNone    Capture = "none"
)

// Cut is how the instant was fixed.
type Cut string

// The cuts.
const (
	CutPause  Cut = "pause"  // CLIENT PAUSE WRITE
	CutExec   Cut = "exec"   // the last changes read in one transaction on the connection that sees them
	CutMarker Cut = "marker" // the same, with a message among the notifications
	CutNone   Cut = "none"
)

// LiveReport tells how a Live went.
type LiveReport struct {
	Server      resp.Server
	Consistency Consistency
	Capture     Capture
	Cut         Cut
	// Notes say in words what could not be had and what is missing for it.
	Notes []string
	// At is the instant, by the server's clock; zero for PerKey.
	At time.Time
	// Pause is how long writes were held back in all, in Pauses attempts. CutTries
	// counts the transactions of the other cuts.
	Pause            time.Duration
	Pauses, CutTries int
	// Rounds of reading changed keys again, before the cut.
	Rounds int
	// Restarts with their reasons.
	Restarts []string
	// Through: entries were handed on as they were read.
	Through bool
	// Keys yielded, or, with Through, those that the server counted at the instant; Reread counts values read more than once; Streams those read in the cut.
	Keys, Reread, Streams int64
	// Pieces counts large values read piece by piece, Large those read at once in
	// the cut because they would not stand still; LargeBytes is the largest of these.
	Pieces, Large, LargeBytes int64
	// Inexact counts expiries that may be a millisecond off (before Redis 7.0).
	Inexact int64
	// IndexBytes of memory and SpoolBytes of disk were used.
	IndexBytes, SpoolBytes int64
	// Scan, Drain and Cutting are how long the phases took.
	Scan, Drain, Cutting time.Duration
	// BatchMin and BatchMax are the fewest and the most keys asked for at once.
	BatchMin, BatchMax int
	// Functions are the libraries of functions as of the instant.
	Functions []rdb.FunctionLibrary
}

// LiveProgress is how far a Live has come.
type LiveProgress struct {
	// Phase is "scan", "drain", "cut" or "yield".
	Phase string
	// Keys read of about Total; Dirty ones wait to be read again.
	Keys, Total, Dirty int64
	Batch              int
	// Through: keys are handed on as they are read.
	Through bool
}

// Live reads a server that others write to, and yields every key as it was at
// one instant. It needs nothing but commands of ordinary clients: no replication,
// no fork. The rules that make it exact are in live_doc.go.
type Live struct {
	opt resp.Options
	lo  LiveOptions
	// hooks are for tests.
	hooks liveHooks

	mu     sync.Mutex
	closed bool
	stop   context.CancelCauseFunc
	report LiveReport
}

// liveHooks break rules on purpose, to show that the tests see it.
type liveHooks struct {
	noPause, noStreams, noSkip bool
	capture                    Capture
	cut                        Cut
	phase                      func(string)
	big                        int64
}

// NewLive returns a source that reads the server at opt; opt.DB does not matter.
func NewLive(opt resp.Options, lo LiveOptions) *Live {
	if lo.MaxPause <= 0 {
		lo.MaxPause = DefaultMaxPause
	}
	if lo.MaxRestarts == 0 {
		lo.MaxRestarts = DefaultMaxRestarts
	}
	if lo.Latency <= 0 {
		lo.Latency = DefaultLatency
	}
	return &Live{opt: opt, lo: lo}
}

// Report tells how it went; it is complete when Entries has ended.
func (s *Live) Report() LiveReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

func (s *Live) setReport(r *LiveReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = *r
}

// Len is the number of keys in all databases as the server counts them.
func (s *Live) Len(ctx context.Context) (int64, error) {
	return NewScan(s.opt, ScanOptions{}).Len(ctx)
}

// Close makes a reading that is under way end with an error.
func (s *Live) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.stop != nil {
		s.stop(errClosed)
	}
	return nil
}

// begin makes the context that Close ends.
func (s *Live) begin(ctx context.Context) (context.Context, error) {
	ctx, stop := context.WithCancelCause(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		stop(errClosed)
		return nil, errClosed
	}
	s.stop = stop
	return ctx, nil
}

// restartError is what makes reading begin anew.
type restartError struct{ err error }

func (e *restartError) Error() string { return e.err.Error() }
func (e *restartError) Unwrap() error { return e.err }

func restart(format string, args ...any) error {
	return &restartError{fmt.Errorf(format, args...)}
}

// Entries reads everything, and then yields every key once.
func (s *Live) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return oneError(func(yield func(*flow.Entry) bool) error {
		ctx, err := s.begin(ctx)
		if err != nil {
			return err
		}
		defer s.stop(nil)
		direct := s.lo.Through
		if direct && s.lo.PointInTime {
			if direct, err = s.mayPause(ctx); err != nil {
				return err
			}
		}
		if direct {
			t, err := newThrough(s.lo.Dir, yield)
			if err != nil {
				return err
			}
			return errors.Join(s.read(ctx, nil, t, yield), t.Close())
		}
		sp, err := newSpool(s.lo.Dir)
		if err != nil {
			return err
		}
		return errors.Join(s.read(ctx, sp, nil, yield), sp.Close())
	})
}

// read makes attempts until one succeeds: by way of sp, or through t.
func (s *Live) read(ctx context.Context, sp *spool, t *through, yield func(*flow.Entry) bool) error {
	var reasons []string
	var had liveSeen
	for {
		a := newAttempt(s, sp)
		a.through, a.rep.Through = t, t != nil
		a.rep.Restarts, a.had = reasons, had
		err := a.run(ctx)
		had.learn(a)
		s.setReport(&a.rep)
		if err == nil && t == nil {
			return a.yield(ctx, yield)
		}
		if err == nil || errors.Is(err, errStop) {
			return err
		}
		var again *restartError
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if errors.Is(err, errNoCapture) && (t == nil || t.names.size() == 0) {
			if s.lo.PointInTime {
				return fmt.Errorf("cannot read %s at one instant: %w", s.opt, notesError(a.rep.Notes))
			}
			return s.weak(ctx, a, yield)
		}
		if !errors.As(err, &again) {
			return err
		}
		if reasons = append(reasons, err.Error()); len(reasons) > s.lo.MaxRestarts {
			return fmt.Errorf("cannot read %s at one instant, it was begun %d times: %w", s.opt, len(reasons), err)
		}
		if err := a.forget(); err != nil {
			return err
		}
		if err := s.rest(ctx, len(reasons)); err != nil {
			return err
		}
	}
}

// rest waits a little before the next attempt: longer each time.
func (s *Live) rest(ctx context.Context, tries int) error {
	t := time.NewTimer(time.Duration(tries) * 100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// weak reads key by key where nothing tells what changes. Nothing was yielded before.
func (s *Live) weak(ctx context.Context, a *liveAttempt, yield func(*flow.Entry) bool) error {
	rep := a.rep
	rep.Consistency, rep.Capture, rep.Cut = PerKey, CaptureNone, CutNone
	scan := NewScan(s.opt, ScanOptions{Rate: s.lo.Rate, BytesRate: s.lo.BytesRate})
	defer func() {
		rep.Inexact = scan.Inexact()
		s.setReport(&rep)
	}()
	for e, err := range scan.Entries(ctx) {
		if err != nil {
			return errors.Join(err, scan.Close())
		}
		rep.Keys++
		if !yield(e) {
			return errors.Join(errStop, scan.Close())
		}
	}
	return scan.Close()
}
