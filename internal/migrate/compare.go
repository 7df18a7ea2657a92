package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/verify"
)

// Key names a key of the source.
type Key = flow.Key

const (
	// fewKeys are compared in some tens of milliseconds: no use in making them fewer.
	fewKeys = 2000
	// narrowings are made at most: with writers fast enough, there are always more.
	narrowings = 8
	// named differing keys are remembered of a rehearsal to be looked at again.
	named = 100_000
	// heldKeys at a time are held by a comparison's closer look.
	heldKeys = 100_000
)

// rehearse compares everything while writers are at work. What does not agree is
// not wrong yet: it may be on its way.
func (m *Migration) rehearse(ctx context.Context) error {
	if m.opt.Scope == ScopeNone || m.opt.Scope == ScopeAll {
		return nil
	}
	m.opt.Operator.Tell("comparing both ends while writers are at work")
	m.opt.Carrier.Mark()
	clear(m.open)
	var err error
	if m.evicted, err = m.evictions(ctx); err != nil {
		return m.stopped(ctx, err)
	}
	a, b, done := m.opt.Ends.All()
	c, err := m.compare(ctx, "rehearsal", a, b, done)
	if err != nil {
		return m.stopped(ctx, fmt.Errorf("cannot rehearse the comparison: %w", err))
	}
	m.rep.Rehearsal = c
	m.openAll = c.Report.Unchecked > 0 || c.Report.UnreadSlots > 0
	m.suspect(c.Report)
	return m.narrow(ctx)
}

// suspect adds what a comparison did not see to agree.
func (m *Migration) suspect(r *verify.Report) {
	for i := range r.Differences {
		d := &r.Differences[i]
		for _, k := range m.opt.Ends.Origin(Key{DB: d.DB, Name: string(d.Key)}) {
			m.open[k] = struct{}{}
		}
	}
}

// narrow compares again what is open, while writers are at work, as long as that
// makes it fewer.
func (m *Migration) narrow(ctx context.Context) error {
	if m.opt.Scope != ScopeChanged {
		return nil
	}
	for range narrowings {
		m.take()
		before := len(m.open)
		if m.openAll || before <= fewKeys {
			return nil
		}
		m.opt.Operator.Tell("comparing again what changed meanwhile", "keys", before)
		r, err := m.some(ctx)
		if err != nil {
			return m.stopped(ctx, err)
		}
		m.openAll = r.Report.Unchecked > 0
		clear(m.open)
		m.suspect(r.Report)
		m.take()
		if len(m.open) > before/2 {
			return nil
		}
	}
	return nil
}

// take adds what changed since it was called before.
func (m *Migration) take() {
	keys, all := m.opt.Carrier.Mark()
	m.openAll = m.openAll || all
	for _, k := range keys {
		m.open[k] = struct{}{}
	}
}

// some compares the open keys.
func (m *Migration) some(ctx context.Context) (*Comparison, error) {
	keys := slices.SortedFunc(maps.Keys(m.open), compareKeys)
	a, b, done := m.opt.Ends.Some(keys)
	c, err := m.compare(ctx, string(ScopeChanged), a, b, done)
	if err != nil {
		return nil, fmt.Errorf("cannot compare the %d keys that changed: %w", len(keys), err)
	}
	c.Keys = int64(len(keys))
	return c, nil
}

func compareKeys(a, b Key) int {
	if a.DB != b.DB {
		return a.DB - b.DB
	}
	switch {
	case a.Name < b.Name:
		return -1
	case a.Name > b.Name:
		return 1
	}
	return 0
}

// settle compares, with writes held, what decides whether both ends are equal.
func (m *Migration) settle(ctx context.Context) (*Comparison, error) {
	switch m.opt.Scope {
	case ScopeNone:
		return nil, nil
	case ScopeChanged:
		m.take()
		if err := m.distrust(ctx); err != nil {
			return nil, err
		}
		if !m.openAll {
			return m.some(ctx)
		}
	}
	a, b, done := m.opt.Ends.All()
	return m.compare(ctx, string(ScopeAll), a, b, done)
}

// distrust has everything compared where the target may have lost keys by itself
// since the rehearsal: it evicted some, or may not be asked whether it was started anew.
func (m *Migration) distrust(ctx context.Context) error {
	now, err := m.evictions(ctx)
	if err != nil {
		return err
	}
	if now != m.evicted || m.opt.Target != nil && m.target == "" {
		m.openAll = true
	}
	return nil
}

func (m *Migration) evictions(ctx context.Context) (int64, error) {
	if m.opt.Evicted == nil {
		return 0, nil
	}
	return m.opt.Evicted(ctx)
}

func (m *Migration) compare(ctx context.Context, scope string, a, b verify.End, done func() error) (*Comparison, error) {
	began := time.Now()
	r, err := verify.Compare(ctx, a, b, verify.CompareOptions{Limit: named, MaxHeld: heldKeys, Tolerance: m.opt.Tolerance})
	if cerr := done(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	return &Comparison{
		Scope: scope, Keys: r.A.Totals().Keys, Equal: r.Equal, Seconds: time.Since(began).Seconds(),
		Fingerprints: [2]string{r.A.String(), r.B.String()}, Report: r,
	}, nil
}
