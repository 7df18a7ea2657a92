package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast.dev/internal/source"
)

// cutOver holds writes, sees that both ends agree, and has the clients switched.
// Whatever fails, the source is released.
func (m *Migration) cutOver(ctx context.Context) (err error) {
	m.opt.Operator.Tell("holding writes at the source")
	began := time.Now()
	bound, cancel := context.WithDeadlineCause(ctx, began.Add(m.opt.MaxPause), errTooLong)
	defer cancel()
	held, err := m.opt.Holder.Hold(bound, func(undo json.RawMessage) error { return m.keeper.enter(StateHeld, undo) })
	if err != nil {
		if m.unreleased = errors.Is(err, source.ErrStillHeld); m.unreleased {
			return err // the checkpoint goes on saying what has to be put back
		}
		return errors.Join(m.tooLong(bound, err), m.keeper.enter(StateRunning, nil))
	}
	defer func() {
		if !m.rep.Switched {
			err = m.takeBack(ctx, held, err)
			m.rep.PauseSeconds = time.Since(began).Seconds()
		}
	}()
	m.rep.Held = held.Means()
	if err := m.agree(bound); err != nil {
		return m.tooLong(bound, err)
	}
	m.rep.ReadySeconds = time.Since(began).Seconds()
	if err := held.Check(bound); err != nil {
		return &retry{err}
	}
	return m.hand(ctx, held, began)
}

// takeBack releases the source, also when ctx has ended: nobody may be left waiting.
// What could not be put back stays in the checkpoint, for whoever comes after us.
func (m *Migration) takeBack(ctx context.Context, held Held, why error) error {
	if err := held.Release(context.WithoutCancel(ctx)); err != nil {
		m.unreleased = true
		return errors.Join(fmt.Errorf("cannot release the writes at the source: %w", err), why)
	}
	return errors.Join(why, m.keeper.enter(StateRunning, nil))
}

var errTooLong = errors.New("it took longer than writes may be held")

// tooLong makes an error that came of the bound one that may be tried again.
func (m *Migration) tooLong(bound context.Context, err error) error {
	if errors.Is(context.Cause(bound), errTooLong) {
		return &retry{fmt.Errorf("%w (%s); a longer bound, or fewer writers, lets it through: %w", errTooLong, m.opt.MaxPause, err)}
	}
	return err
}

// agree drains and compares.
func (m *Migration) agree(ctx context.Context) error {
	if err := m.drain(ctx); err != nil {
		return err
	}
	m.rep.DrainedSeconds = time.Since(m.rep.Began).Seconds()
	if err := m.functions(ctx); err != nil {
		return err
	}
	c, err := m.settle(ctx)
	if err != nil {
		return err
	}
	m.rep.Final = c
	if c != nil && !c.Equal {
		return &retry{&DifferError{c}}
	}
	return m.sameTarget(ctx)
}

// drain is cut short when the carrier ends.
func (m *Migration) drain(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan error, 1)
	go func() { over <- m.opt.Carrier.Drain(ctx) }()
	select {
	case err := <-over:
		return err
	case <-m.carried:
		cancel(m.broken())
		<-over //nolint:errcheck // its reason is the same
		return m.broken()
	}
}

// DifferError says that both ends differ though nothing is written.
type DifferError struct{ Comparison *Comparison }

// Error names some of what differs.
func (e *DifferError) Error() string {
	c := e.Comparison
	const few = 5
	var list []string
	for i := range c.Report.Differences {
		if i == few {
			list = append(list, "…")
			break
		}
		list = append(list, c.Report.Differences[i].String())
	}
	return "both ends differ: " + c.Report.Verdict() + ": " + strings.Join(list, "; ")
}

// sameTarget sees that the target was not started anew since the migration began:
// it may have lost what it had acknowledged.
func (m *Migration) sameTarget(ctx context.Context) error {
	now, err := m.identity(ctx)
	if err != nil {
		return err
	}
	if now != m.target {
		return fmt.Errorf("%w: it was %s and is %s", ErrTargetRestarted, m.target, now)
	}
	return nil
}

// ErrTargetRestarted says that the target may have lost what it had.
var ErrTargetRestarted = errors.New("the target was started anew while it was filled, and may have lost what it had; run the same command again, which makes it whole")

// hand gives the clients over.
func (m *Migration) hand(ctx context.Context, held Held, began time.Time) error {
	m.note()
	m.parted = true
	if err := m.opt.Carrier.Finish(ctx); err != nil {
		return fmt.Errorf("cannot part the target from the source: %w", err)
	}
	m.rep.CutSeconds = time.Since(began).Seconds()
	if err := m.beginSwitch(ctx); err != nil {
		return err
	}
	err := m.switchClients(ctx, held)
	m.rep.PauseSeconds = time.Since(began).Seconds()
	if err != nil {
		return fmt.Errorf("clients stay at the source: %w", err)
	}
	m.rep.Switched = true
	ctx = context.WithoutCancel(ctx)
	leak := leaked(held.Check(ctx))
	return errors.Join(leak, m.fence(ctx, held))
}

// beginSwitch writes down that clients may be at the target from now on, and how
// much was written to it before: a run that comes after a kill could take their
// writes away.
func (m *Migration) beginSwitch(ctx context.Context) (err error) {
	c := m.opt.Checkpoint
	if c == nil {
		return nil
	}
	var written string
	if m.opt.Written != nil {
		if written, err = m.opt.Written(ctx); err != nil {
			return err
		}
	}
	return m.keeper.switching(written)
}

// ErrLeaked says that the source took writes which the target does not have,
// though clients were switched.
var ErrLeaked = errors.New("clients write to the target, but while they were switched the source took writes that the target does not have: look for them there")

// leaked is what the last look at the hold tells. A source that cannot be asked any
// more, since it was stopped, takes no writes either.
func leaked(err error) error {
	if errors.Is(err, source.ErrHoldLost) {
		return fmt.Errorf("%w: %w", ErrLeaked, err)
	}
	return nil
}

// switchClients has the clients switched, and breaks that off where writes at the
// source can no longer be ruled out.
func (m *Migration) switchClients(ctx context.Context, held Held) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	switched := make(chan error, 1)
	go func() { switched <- m.opt.Operator.Switch(ctx, &m.rep) }()
	select {
	case err := <-switched:
		return err
	case <-held.Lost():
		cancel(errLost)
		return <-switched // nil if they were switched all the same
	}
}

var errLost = errors.New("writes at the source could not be ruled out while clients were switched")

// fence ends the source's time. That it failed makes no difference to what the
// target holds, but must be known.
func (m *Migration) fence(ctx context.Context, held Held) error {
	if m.opt.NoFence {
		return held.Release(ctx)
	}
	undo, err := held.Fence(ctx)
	m.rep.Undo = undo // of those shards that could be fenced
	if err != nil {
		err = errors.Join(err, held.Release(ctx))
		m.rep.Unfenced = err.Error()
		m.opt.Operator.Tell("the source may take writes again, which the target will not get: stop it", "because", err.Error())
	}
	return nil
}
