package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

// DefaultJournalLimit is how much of the target's stream is kept, in bytes.
const DefaultJournalLimit = 1 << 30

// Options of a Bridge.
type Options struct {
	Source, Target resp.Options
	// Dir holds the journal, and nothing else. The same one makes a bridge go on that
	// ended. It is made if need be.
	Dir string
	// ReplaceAll lets a target be used that holds something: all of it is deleted.
	// TakeReplicas lets one be used that has replicas.
	ReplaceAll, TakeReplicas bool
	// JournalLimit bounds the journal in bytes; 0 means DefaultJournalLimit.
	JournalLimit int64
	// Hold is how writes are held back at the source.
	Hold source.HoldOptions
	// Announce and Certificate are those of sink.FollowerOptions.
	Announce    func(addr string) string
	Certificate *tls.Certificate
	// Progress is called twice a second while Run runs.
	Progress func(Status)

	segmentSize int64
	idle        time.Duration
}

// Phase of a bridge.
type Phase string

// The phases.
const (
	PhaseConnect Phase = "connect" // nothing has been copied
	PhaseFull    Phase = "full"    // the snapshot is being copied
	PhaseFollow  Phase = "follow"  // the target follows the source
	PhaseHeld    Phase = "held"    // the source takes no writes, and the target has all of them
	PhaseDone    Phase = "done"    // the target is a primary
)

// Status is how far a bridge is.
type Status struct {
	Phase Phase
	// Keys of the snapshot that were sent, and how many of its values were re-encoded.
	Keys, Reencoded int64
	// SourceOffset is up to where the source's stream was taken in; JournalEnd and Acked, in
	// the target's offsets, up to where it was written down, and applied by the target.
	SourceOffset, JournalEnd, Acked int64
	// JournalBytes are those that the journal holds.
	JournalBytes int64
	// Dirty keys wait for a refresh; Refreshed counts those that got one.
	Dirty     int
	Refreshed int64
	// SourceLink and TargetLink are up.
	SourceLink, TargetLink bool
	// Resumed: the bridge went on from its journal. Resyncs says, for each time that
	// everything was copied again, why.
	Resumed bool
	Resyncs []string
	// HeldFor is how long the source has been taking no writes, or how long it was until
	// the target was a primary.
	HeldFor time.Duration
}

// Lag is how many bytes of its stream the target has not acknowledged.
func (s *Status) Lag() int64 { return max(s.JournalEnd-s.Acked, 0) }

// Bridge joins a source and a target: see the package's documentation.
type Bridge struct {
	opt Options

	mu      sync.Mutex
	st      Status
	changed chan struct{}
	heldAt  time.Time
	hold    *source.Hold
	running bool
	over    error // why Run ended; nil while it runs
	ended   chan struct{}

	// target guards follower, whose connection serves one at a time.
	target   sync.Mutex
	follower *sink.Follower
	errors   int64 // that the target had when it began to follow

	marks    marks
	from, to resp.Server
	words    *vocabulary
	state    *state
	// tasks are done by whoever rewrites the stream, between two transactions.
	tasks chan func(*following)
	// promoted is closed when the target is a primary for good.
	promoted chan struct{}
	// waiting is a call of the target that has got no answer.
	waiting *sink.Link
	// reached: the target has called before.
	reached bool
}

// New returns a bridge; nothing happens before Run.
func New(opt Options) *Bridge {
	if opt.JournalLimit <= 0 {
		opt.JournalLimit = DefaultJournalLimit
	}
	if opt.segmentSize <= 0 {
		opt.segmentSize = 64 << 20
	}
	if opt.idle <= 0 {
		opt.idle = idlePeriod
	}
	return &Bridge{
		opt: opt, st: Status{Phase: PhaseConnect}, changed: make(chan struct{}), ended: make(chan struct{}),
		tasks: make(chan func(*following)), promoted: make(chan struct{}),
	}
}

// Status is how far it is.
func (b *Bridge) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := b.st
	st.Resyncs = slices.Clone(st.Resyncs)
	if b.hold != nil && st.Phase != PhaseDone {
		st.HeldFor = time.Since(b.heldAt)
	}
	return st
}

// update changes the status, and wakes those who wait for it.
func (b *Bridge) update(f func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.st)
	close(b.changed)
	b.changed = make(chan struct{})
}

// await waits until the status is as wanted.
func (b *Bridge) await(ctx context.Context, good func(*Status) bool) error {
	for {
		b.mu.Lock()
		ok, over, changed := good(&b.st), b.over, b.changed
		b.mu.Unlock()
		switch {
		case ok:
			return nil
		case over != nil:
			return over
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

var errPromoted = errors.New("the target is a primary of its own")

// maxFailures is how many times in a row a copy may fail before it is given up.
const maxFailures = 5

// Run copies everything and goes on following until the context ends, an error that
// cannot be mended, or Promote, after which it returns nil. Unless the target was
// promoted it remains our replica: a new Bridge with the same Dir goes on, and
// Abandon, or REPLICAOF NO ONE, lets it go.
func (b *Bridge) Run(ctx context.Context) (err error) {
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.over = err
		if err == nil {
			b.over = errPromoted
		}
		close(b.ended)
		close(b.changed)
		b.changed = make(chan struct{})
	}()
	unlock, err := b.enter()
	if err != nil {
		return err
	}
	defer unlock()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.leave()) }()
	stop := b.report()
	defer stop()
	g := b.resume()
	for failures := 0; ; {
		err := b.round(ctx, g, &failures)
		g = nil
		var anew *beginAnew
		switch {
		case errors.Is(err, errPromoted):
			return b.state.remove()
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.As(err, &anew):
			return err
		case failures >= maxFailures:
			return fmt.Errorf("cannot copy %s to %s; it failed %d times: %w", b.opt.Source, b.opt.Target, failures, err)
		}
		b.update(func(s *Status) { s.Phase, s.Resyncs = PhaseConnect, append(s.Resyncs, anew.why) })
		if err := wait(ctx, time.Duration(failures)*retryAfter); err != nil {
			return err
		}
	}
}

// round copies everything, unless g goes on from something, and follows.
func (b *Bridge) round(ctx context.Context, g *generation, failures *int) (err error) {
	*failures++
	if g == nil {
		if g, err = b.copyAll(ctx); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, g.close()) }()
	return b.follow(ctx, g, func() { *failures = 0 })
}

// report calls Progress until it is stopped.
func (b *Bridge) report() (stop func()) {
	if b.opt.Progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for wait(ctx, time.Second/2) == nil {
			b.opt.Progress(b.Status())
		}
	})
	return func() { cancel(); wg.Wait() }
}
