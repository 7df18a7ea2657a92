package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// errUnsteady: keys keep changing.
var errUnsteady = errors.New("keys of the source keep changing while they are read; hold its writes back first")

// drainRounds bounds the rounds of a Drain. Two suffice where writes are held.
const drainRounds = 50

// drain brings the target up to date with everything that the source had done
// when it was called. wait is the context of who waits.
func (f *Follow) drain(ctx, wait context.Context, a *liveAttempt) error {
	limit := a.limit
	a.limit = nil // others wait
	defer func() { a.limit = limit }()
	now, err := f.reached(ctx, wait, a)
	if err != nil {
		return err
	}
	f.enter(PhaseHeld)
	f.cool(a) // large values stand still now
	if err := f.empty(ctx, wait, a); err != nil {
		return err
	}
	if err := f.silent(ctx, a, now); err != nil {
		return err
	}
	if err := f.empty(ctx, wait, a); err != nil { // keys whose expiry was not sure
		return err
	}
	libs, err := f.libraries(ctx, a)
	if err != nil {
		return err
	}
	if err := errors.Join(a.out.settle(), a.cap.lost()); err != nil {
		return err
	}
	a.out.told(a)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.functions = libs
	return nil
}

// reached returns when everything that the source had done is noted, with the
// counters of after that.
func (f *Follow) reached(ctx, wait context.Context, a *liveAttempt) (now liveStats, err error) {
	if f.feed == nil {
		if err := a.cap.sync(); err != nil {
			return now, err
		}
	}
	for f.feed != nil {
		id, offset, err := f.offset(ctx, a)
		if err != nil {
			return now, err
		}
		there, err := f.feed.reach(wait, id, offset)
		if err != nil {
			return now, err
		}
		if there {
			break
		}
		// The link is being made anew, perhaps with a snapshot.
		if err := f.pass(ctx, a); err != nil {
			return now, err
		}
		if err := pause(wait, rejoinFirst); err != nil {
			return now, err
		}
	}
	if a.blind {
		return now, nil
	}
	if now, err = a.stats(ctx); err != nil || f.feed != nil {
		return now, err
	}
	return now, now.check(a.begin)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// offset is how far the source's own history goes.
func (f *Follow) offset(ctx context.Context, a *liveAttempt) (id string, offset int64, err error) {
	r, err := a.call(ctx, "INFO", "replication")
	if err != nil {
		return "", 0, fmt.Errorf("cannot ask how far the source's history goes: %w", err)
	}
	offset = -1
	for name, value := range resp.InfoFields(r.Bytes) {
		switch name {
		case "master_replid":
			id = value
		case "master_repl_offset":
			if offset, err = strconv.ParseInt(value, 10, 64); err != nil {
				return "", 0, fmt.Errorf("cannot read INFO replication: %w", err)
			}
		}
	}
	if offset < 0 {
		return "", 0, errors.New("the source does not tell how far its history goes (master_repl_offset)")
	}
	return id, offset, nil
}

// empty does all work and rounds until one left nothing.
func (f *Follow) empty(ctx, wait context.Context, a *liveAttempt) error {
	for n := 0; n < drainRounds; {
		if err := context.Cause(wait); err != nil {
			return err
		}
		if err := f.work(ctx, a); err != nil {
			return err
		}
		if !f.synced {
			if err := pause(wait, roundGap); err != nil {
				return err
			}
			continue
		}
		clear(a.tries) // a value that came many times before it was held stands still now
		all, err := f.round(ctx, a)
		if err != nil {
			return err
		}
		switch {
		case all && len(a.hot) == 0:
			return nil
		case a.taken.last: // else more of what was noted waits in the file
			n++
		}
	}
	return errUnsteady
}

// silent reads the streams again where commands were called that change them and
// tell nobody.
func (f *Follow) silent(ctx context.Context, a *liveAttempt, now liveStats) error {
	if len(a.streams) == 0 || f.hooks.noStreams {
		return nil
	}
	if !a.blind && a.begin.groups >= 0 && now.groups == a.begin.groups && now.check(a.begin) == nil {
		return nil
	}
	was := a.out.refreshing
	a.out.refreshing = true
	defer func() { a.out.refreshing = was }()
	c := a.newCut(nil, true, false)
	c.functions, c.time = false, false
	if err := a.readCut(c); err != nil {
		return err
	}
	return errors.Join(a.readCut(a.cutOf(c.moved)), a.out.settle())
}

// libraries are the source's functions.
func (f *Follow) libraries(ctx context.Context, a *liveAttempt) ([]rdb.FunctionLibrary, error) {
	if !a.canFunc {
		return nil, nil
	}
	r, err := a.call(ctx, "FUNCTION", "DUMP")
	if err != nil {
		return nil, fmt.Errorf("cannot read the functions: %w", err)
	}
	libs, err := parseFunctions(r.Bytes)
	if err != nil {
		return nil, fmt.Errorf("cannot read the functions: %w", err)
	}
	return libs, nil
}
