package migrate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast.dev/internal/verify"
)

// Defaults of Options.
const (
	DefaultMaxLag   = time.Second
	DefaultMaxPause = 10 * time.Second
	DefaultTries    = 3
)

// Scope is what is compared while writes are held.
type Scope string

// The scopes.
const (
	ScopeChanged Scope = "changed" // keys that were not seen to agree in the rehearsal, or changed since
	ScopeAll     Scope = "all"     // every key, whatever the rehearsal saw
	ScopeNone    Scope = "none"    // nothing, neither before nor then
)

// Options of a Migration. Carrier, Holder, Operator and Ends are needed.
type Options struct {
	Carrier  Carrier
	Holder   Holder
	Operator Operator
	Ends     Ends
	// Checkpoint is where to go on from after a kill; nil keeps nothing.
	Checkpoint *Checkpoint
	// Functions makes the target's functions those of the source and returns how
	// many libraries there are; nil leaves them alone.
	Functions func(ctx context.Context) (int, error)
	// Target tells apart a target that is the same all along and one that was
	// started anew, with who knows which data. Empty where it cannot be told.
	Target func(ctx context.Context) (string, error)
	// Written tells how much was written to the target, so that it is seen whether
	// more was; empty where it cannot be told.
	Written func(ctx context.Context) (string, error)
	// Evicted counts the keys that the target deleted by itself for want of memory; 0
	// where it cannot be told. Nil does not ask.
	Evicted func(ctx context.Context) (int64, error)
	// Scope is what is compared while writes are held; "" means ScopeChanged.
	Scope Scope
	// MaxLag is how far the target may be behind for the cut-over to begin; 0 means DefaultMaxLag.
	MaxLag time.Duration
	// MaxPause bounds holding, draining and comparing together; 0 means DefaultMaxPause.
	MaxPause time.Duration
	// Tries is how many cut-overs are begun before a failed one is final; 0 means DefaultTries.
	Tries int
	// NoFence lets the source take writes again after the cut-over.
	NoFence bool
	// Tolerance is by how much expiries may differ; see verify.CompareOptions.
	Tolerance time.Duration
}

// Ends are the two sides as a comparison reads them.
type Ends interface {
	// All reads everything.
	All() (a, b verify.End, done func() error)
	// Some reads the given keys of the source, and what they are at the target.
	Some(keys []Key) (a, b verify.End, done func() error)
	// Origin is what a key that a comparison of the two named is at the source.
	Origin(k Key) []Key
}

// Operator is who decides, a person or a rule.
type Operator interface {
	// Ready returns when the cut-over is wanted. It is called when the target is in step.
	Ready(ctx context.Context, status func() Status) error
	// Tell is told what goes on.
	Tell(what string, args ...any)
	// Switch is called when both ends agree and writes are held. It returns nil when
	// clients write to the target, and an error to let them stay where they are.
	Switch(ctx context.Context, r *Report) error
}

// Migration brings a source to a target and cuts over.
type Migration struct {
	opt Options
	rep Report
	// carried is closed when the carrier has ended, with carryErr.
	carried  chan struct{}
	carryErr error
	// open are keys not seen to agree yet; openAll: any may be.
	open    map[Key]struct{}
	openAll bool
	// target is what Options.Target said in the beginning.
	target string
	keeper keeper
	// evicted is what Options.Evicted said when the last rehearsal began.
	evicted int64
	// parted: the carrier has done its work.
	parted bool
	// unreleased: the source may go on holding writes back, against our will.
	unreleased bool
}

// New makes a migration. It is run once.
func New(opt Options) *Migration {
	if opt.MaxLag <= 0 {
		opt.MaxLag = DefaultMaxLag
	}
	if opt.MaxPause <= 0 {
		opt.MaxPause = DefaultMaxPause
	}
	if opt.Tries <= 0 {
		opt.Tries = DefaultTries
	}
	if opt.Scope == "" {
		opt.Scope = ScopeChanged
	}
	return &Migration{
		opt: opt, carried: make(chan struct{}), open: map[Key]struct{}{},
		keeper: keeper{to: opt.Checkpoint, carrier: opt.Carrier},
	}
}

// ErrStopped says that the migration was ended before the cut-over, by ctx. The
// checkpoint lets it go on.
var ErrStopped = errors.New("stopped before the cut-over")

// Run brings everything over, follows, and cuts over when the operator wants it.
// The report is of use with an error too.
func (m *Migration) Run(ctx context.Context) (*Report, error) {
	m.rep.Began = time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := m.begin(ctx)
	if err == nil {
		end := m.background(ctx, cancel)
		err = m.run(ctx)
		m.note()
		end()
		err = errors.Join(m.byStop(ctx, err), m.end())
	}
	m.rep.Seconds = time.Since(m.rep.Began).Seconds()
	return &m.rep, err
}

// byStop makes an error that came of the end of ctx an ErrStopped.
func (m *Migration) byStop(ctx context.Context, err error) error {
	if err == nil || m.rep.Switched || errors.Is(err, ErrStopped) || ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)) || errors.Is(err, errNoCheckpoint) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStopped, err)
}

// end writes down how it ended.
func (m *Migration) end() error {
	switch {
	case m.rep.Switched:
		return m.keeper.enter(StateSwitched, nil)
	case m.unreleased:
		return m.keeper.save()
	}
	return m.keeper.enter(StateRunning, nil)
}

// note notes where the carrier is, before it is stopped.
func (m *Migration) note() {
	if !m.parted {
		m.rep.Status = m.opt.Carrier.Status()
	}
}

// begin writes down that the migration runs, before it does.
func (m *Migration) begin(ctx context.Context) (err error) {
	if m.target, err = m.identity(ctx); err != nil {
		return err
	}
	if c := m.opt.Checkpoint; c != nil {
		c.Record.TargetID = m.target
	}
	return m.keeper.enter(StateRunning, nil)
}

// background starts the carrier and the keeper; end stops them and waits. The
// carrier is not stopped by ctx: what it has begun with writes held it ends.
func (m *Migration) background(ctx context.Context, cancel context.CancelCauseFunc) (end func()) {
	carry, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(m.carried)
		m.carryErr = m.opt.Carrier.Run(carry)
	})
	wg.Go(func() {
		m.keeper.keep(carry, func(err error) { cancel(fmt.Errorf("%w: %w", errNoCheckpoint, err)) })
	})
	return func() {
		stop()
		wg.Wait()
	}
}

func (m *Migration) run(ctx context.Context) error {
	if err := m.inStep(ctx); err != nil {
		return err
	}
	m.rep.FullSeconds = time.Since(m.rep.Began).Seconds()
	if err := m.functions(ctx); err != nil {
		return err
	}
	for try := 1; ; try++ {
		if err := m.prepare(ctx); err != nil {
			return err
		}
		err := m.cutOver(ctx)
		var again *retry
		if m.unreleased || !errors.As(err, &again) {
			return err
		}
		m.rep.Failed = append(m.rep.Failed, again.Error())
		m.opt.Operator.Tell("the cut-over was taken back, writes go on at the source", "because", again.Error())
		if try == m.opt.Tries {
			return fmt.Errorf("gave up after %d cut-overs, each taken back; the source is as it was: %w", try, again.error)
		}
	}
}

// retry is why a cut-over was taken back that may be tried again.
type retry struct{ error }

func (r *retry) Unwrap() error { return r.error }

// prepare rehearses and waits for the word.
func (m *Migration) prepare(ctx context.Context) error {
	if err := m.rehearse(ctx); err != nil {
		return err
	}
	if err := m.opt.Operator.Ready(ctx, m.opt.Carrier.Status); err != nil {
		return m.stopped(ctx, err)
	}
	// It may have taken days: what changed meanwhile is compared before the pause, not in it.
	if err := m.narrow(ctx); err != nil {
		return err
	}
	if m.openAll {
		if err := m.rehearse(ctx); err != nil {
			return err
		}
	}
	return m.inStep(ctx)
}

// tick is how often a state that nobody tells of is looked at.
const tick = 20 * time.Millisecond

// inStep returns when the target is behind by less than MaxLag.
func (m *Migration) inStep(ctx context.Context) error {
	for !m.opt.Carrier.Status().InStep(m.opt.MaxLag) {
		if err := m.wait(ctx, tick); err != nil {
			return err
		}
	}
	return nil
}

// wait returns after d, or when nothing goes on any more.
func (m *Migration) wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return m.stopped(ctx, context.Cause(ctx))
	case <-m.carried:
		return m.broken()
	}
}

// broken is why the carrier ended by itself.
func (m *Migration) broken() error {
	if m.carryErr == nil {
		return errors.New("the migration ended by itself")
	}
	return m.carryErr
}

func (m *Migration) stopped(ctx context.Context, err error) error {
	select {
	case <-m.carried:
		return m.broken()
	default:
	}
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errNoCheckpoint) {
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	return err
}

func (m *Migration) identity(ctx context.Context) (string, error) {
	if m.opt.Target == nil {
		return "", nil
	}
	return m.opt.Target(ctx)
}

func (m *Migration) functions(ctx context.Context) (err error) {
	if m.opt.Functions != nil {
		m.rep.Functions, err = m.opt.Functions(ctx)
	}
	return err
}
