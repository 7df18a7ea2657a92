package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// steady is a carrier that is in step, from the beginning.
type steady struct {
	stop chan struct{}
	over chan struct{}
}

func newSteady() *steady {
	return &steady{stop: make(chan struct{}), over: make(chan struct{})}
}

func (*steady) Road() string { return "none" }
func (s *steady) Run(ctx context.Context) error {
	defer close(s.over)
	select {
	case <-ctx.Done():
	case <-s.stop:
	}
	return nil
}
func (*steady) Status() Status                  { return Status{Phase: PhaseCatchUp} }
func (*steady) State() (json.RawMessage, error) { return json.RawMessage(`{}`), nil }
func (*steady) Mark() ([]Key, bool)             { return nil, false }
func (*steady) Drain(context.Context) error     { return nil }
func (s *steady) Finish(context.Context) error {
	close(s.stop)
	<-s.over
	return nil
}

// grip is a hold that behaves as a test wants.
type grip struct {
	lost                   chan struct{}
	holds                  int
	check, release, unwell error
	fences                 string
}

func (g *grip) Hold(_ context.Context, save func(json.RawMessage) error) (Held, error) {
	g.holds++
	if err := save(json.RawMessage(`["undo"]`)); err != nil {
		return nil, err
	}
	return g, nil
}
func (g *grip) Lost() <-chan struct{}                 { return g.lost }
func (g *grip) Check(context.Context) error           { return g.check }
func (*grip) Means() string                           { return "a grip" }
func (g *grip) Release(context.Context) error         { return g.release }
func (g *grip) Fence(context.Context) (string, error) { return g.fences, g.unwell }

// hand is an operator whose switch is the test's.
type hand func(context.Context) error

func (hand) Ready(context.Context, func() Status) error          { return nil }
func (hand) Tell(string, ...any)                                 {}
func (h hand) Switch(ctx context.Context, _ *Report) (err error) { return h(ctx) }
func cut(t *testing.T, ctx context.Context, g *grip, h hand) (*Report, *Checkpoint, error) { //nolint:revive // it is the test's
	t.Helper()
	c := open(t, t.TempDir())
	rep, err := New(Options{
		Carrier: newSteady(), Holder: g, Operator: h, Checkpoint: c, Scope: ScopeNone,
		Written: func(context.Context) (string, error) { return "seven", nil },
	}).Run(ctx)
	return rep, c, err
}

// saved is what another process would find.
func saved(t *testing.T, c *Checkpoint) Record {
	t.Helper()
	var again Checkpoint
	again.dir = c.dir
	if err := again.load(); err != nil {
		t.Fatal(err)
	}
	return again.Record
}

var errLetGo = fmt.Errorf("it refuses writes: %w", source.ErrStillHeld)

// What could not be put back at the source is not forgotten, nor is it said that
// the source is as it was.
func TestNotReleased(t *testing.T) {
	g := &grip{lost: make(chan struct{}), release: errLetGo, check: errors.New("a write got through")}
	rep, c, err := cut(t, t.Context(), g, func(context.Context) error { return nil })
	if !errors.Is(err, source.ErrStillHeld) || strings.Contains(err.Error(), "as it was") {
		t.Errorf("it said: %v", err)
	}
	if r := saved(t, c); r.State != StateHeld || len(r.Undo) == 0 {
		t.Errorf("kept %+v", r)
	}
	if rep.Switched || g.holds != 1 {
		t.Errorf("switched %t, tried %d times", rep.Switched, g.holds)
	}
}

// That clients may be at the target is written down before they can be.
func TestSwitchingIsWrittenDown(t *testing.T) {
	var c *Checkpoint
	g := &grip{lost: make(chan struct{}), fences: "undo it"}
	dir := t.TempDir()
	c = open(t, dir)
	rep, err := New(Options{
		Carrier: newSteady(), Holder: g, Checkpoint: c, Scope: ScopeNone,
		Written: func(context.Context) (string, error) { return "seven", nil },
		Operator: hand(func(context.Context) error {
			if r := saved(t, c); r.State != StateSwitching || r.Written != "seven" || len(r.Undo) == 0 {
				t.Errorf("kept %+v", r)
			}
			return nil
		}),
	}).Run(t.Context())
	if err != nil || !rep.Switched || rep.Undo != "undo it" {
		t.Errorf("%+v, %v", rep, err)
	}
	if r := saved(t, c); r.State != StateSwitched {
		t.Errorf("kept %+v", r)
	}
}

// Clients that were switched are not said to have stayed, whatever else was lost.
func TestSwitchedThoughHoldWasLost(t *testing.T) {
	g := &grip{lost: make(chan struct{}), fences: "undo it"}
	rep, _, err := cut(t, t.Context(), g, func(ctx context.Context) error {
		g.check = fmt.Errorf("%w: a write got through", source.ErrHoldLost)
		close(g.lost)
		<-ctx.Done() // it is broken off, and had switched all the same
		return nil
	})
	if !errors.Is(err, ErrLeaked) || !rep.Switched || rep.Undo != "undo it" {
		t.Errorf("%+v, %v", rep, err)
	}
}

func TestHoldLostWhileSwitching(t *testing.T) {
	g := &grip{lost: make(chan struct{})}
	rep, c, err := cut(t, t.Context(), g, func(ctx context.Context) error {
		close(g.lost)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if !errors.Is(err, errLost) || rep.Switched {
		t.Errorf("%+v, %v", rep, err)
	}
	if r := saved(t, c); r.State != StateRunning || r.Undo != nil {
		t.Errorf("kept %+v", r)
	}
}

// An interruption is told as one, also while clients are switched.
func TestInterruptedWhileSwitching(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	rep, c, err := cut(t, ctx, &grip{lost: make(chan struct{})}, func(ctx context.Context) error {
		stop()
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if !errors.Is(err, ErrStopped) || rep.Switched {
		t.Errorf("%+v, %v", rep, err)
	}
	if r := saved(t, c); r.State != StateRunning {
		t.Errorf("kept %+v", r)
	}
}

// Where some shards could be fenced and some not, both are told.
func TestFencedInPart(t *testing.T) {
	g := &grip{lost: make(chan struct{}), fences: "undo one", unwell: errors.New("two is not fenced"), release: errors.New("two does not answer")}
	rep, _, err := cut(t, t.Context(), g, func(context.Context) error { return nil })
	if err != nil || rep.Undo != "undo one" || !strings.Contains(rep.Unfenced, "two is not fenced") || !strings.Contains(rep.Unfenced, "two does not answer") {
		t.Errorf("%+v, %v", rep, err)
	}
}

// nothing has no keys.
type nothing struct{}

func (nothing) Entries(context.Context) iter.Seq2[*flow.Entry, error] {
	return func(func(*flow.Entry, error) bool) {}
}
func (nothing) Close() error { return nil }

// barren are two ends that hold nothing.
type barren struct{}

func (barren) All() (a, b verify.End, done func() error) {
	e := verify.End{Name: "nothing", Open: func(context.Context) (flow.Source, error) { return nothing{}, nil }}
	return e, e, func() error { return nil }
}
func (b barren) Some([]Key) (verify.End, verify.End, func() error) { return b.All() }
func (barren) Origin(k Key) []Key                                  { return []Key{k} }

// What the target may have lost by itself since the rehearsal is looked for in
// everything, not in what has changed at the source.
func TestWhatIsComparedWhenTheTargetMayLose(t *testing.T) {
	for name, tc := range map[string]struct {
		want    Scope
		target  string
		evicted []int64
	}{
		"nothing":             {ScopeChanged, "life", []int64{3, 3}},
		"it evicted a key":    {ScopeAll, "life", []int64{3, 4}},
		"it does not tell it": {ScopeAll, "", []int64{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			rep, err := New(Options{
				Carrier: newSteady(), Holder: &grip{lost: make(chan struct{})}, Ends: barren{},
				Operator: hand(func(context.Context) error { return nil }),
				Target:   func(context.Context) (string, error) { return tc.target, nil },
				Evicted: func(context.Context) (int64, error) {
					asked++
					return tc.evicted[min(asked, len(tc.evicted))-1], nil
				},
			}).Run(t.Context())
			if err != nil || rep.Final == nil || rep.Final.Scope != string(tc.want) {
				t.Errorf("%+v, %v", rep.Final, err)
			}
		})
	}
}
