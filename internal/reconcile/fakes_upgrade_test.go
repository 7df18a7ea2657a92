package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
)

// synchronize gives a replica what its primary has. One that is to replace a node waits for
// its primary as the real ones do.
func (f *fakeMachine) synchronize(ctx context.Context, spec cache.NodeSpec) error {
	for {
		f.mu.Lock()
		p, lead := f.processes[spec.Key], f.at(spec.Primary)
		if p != nil && lead != nil && p.spec.Address != spec.Primary {
			p.holds = lead.holds
		}
		f.mu.Unlock()
		if p == nil || lead != nil || !strings.Contains(spec.Key, ".") || spec.Primary.IsZero() {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-p.exited:
			return errors.New("it has ended")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fill gives every process the data.
func (f *fakeMachine) fill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.processes {
		p.holds = true
	}
}

// emptied are the processes that do not have the data.
func (f *fakeMachine) emptied() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, p := range f.processes {
		if !p.holds {
			out = append(out, key)
		}
	}
	return out
}

func (f *fakeMachine) Freeze(ctx context.Context, spec cache.NodeSpec, _ time.Duration) (int64, error) {
	return 1, f.tell(ctx, "freeze", spec, func(p *fakeProcess) { p.held = true })
}

// Release can be cut short, or fail, when the process has let go and lives.
func (f *fakeMachine) Release(ctx context.Context, spec cache.NodeSpec, ref cache.Process, whole func(int64) error) error {
	if err := f.enter(ctx, "release"); err != nil {
		return err
	}
	f.mu.Lock()
	p := f.find(ref)
	if p == nil {
		f.mu.Unlock()
		return errors.New("nobody answers")
	}
	p.deaf = true
	offset := 1 + f.late
	f.mu.Unlock()
	if err := f.enter(ctx, "let go"); err != nil {
		return err
	}
	if err := whole(offset); err != nil {
		f.mu.Lock()
		p.deaf = false
		f.mu.Unlock()
		return err
	}
	f.kill(spec.Key)
	return nil
}

func (f *fakeMachine) Released(ctx context.Context, _ cache.NodeSpec, ref cache.Process) (bool, error) {
	if err := f.enter(ctx, "released"); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.find(ref)
	return p != nil && p.deaf, nil
}

// TakeOver fails where somebody lives at an address that is to be taken over.
func (f *fakeMachine) TakeOver(ctx context.Context, spec cache.NodeSpec, from cache.Address) (time.Time, error) {
	if err := f.enter(ctx, "take over"); err != nil {
		return time.Time{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[spec.Key]
	if p == nil {
		return time.Time{}, errors.New("nobody answers")
	}
	if p.spec.Address != from && p.spec.Address != spec.Address {
		return time.Time{}, fmt.Errorf("it answers at %s", hostPort(p.spec.Address))
	}
	for key, o := range f.processes {
		if key != spec.Key && !o.deaf && (o.spec.Address == spec.Address || spec.Primary.IsZero() && overlap(o.spec.Binds, spec.Binds)) {
			f.conflicts = append(f.conflicts, key+" lives while "+spec.Key+" takes over")
			return time.Time{}, fmt.Errorf("%s has the address", key)
		}
	}
	p.spec = spec
	return time.Now(), nil
}

func overlap(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}
