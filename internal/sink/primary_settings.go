package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast.dev/internal/resp"
)

// setting is a parameter of the target that has another value for a while.
type setting struct{ name, was string }

// parameter asks for a parameter; known is false where the server has none of that name.
func parameter(ctx context.Context, conn *resp.Conn, name string) (value string, known bool, err error) {
	r, err := conn.Do(ctx, "CONFIG", "GET", name)
	if err != nil {
		return "", false, err
	}
	if len(r.Elems) != 2 {
		return "", false, nil
	}
	return string(r.Elems[1].Bytes), true, nil
}

// change gives a parameter another value until putBack. A server that refuses the
// value keeps its own, which is no error here.
func (f *Follower) change(ctx context.Context, name, was, now string) (done bool, err error) {
	_, err = f.conn.Do(ctx, "CONFIG", "SET", name, now)
	if resp.IsServerError(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f.changed = append(f.changed, setting{name, was})
	return true, nil
}

// Undo is what Release will put back: names of parameters and their values. There
// is no secret among them. It is complete when Attach has returned.
func (f *Follower) Undo() map[string]string {
	out := map[string]string{}
	for _, s := range f.changed {
		out[s.name] = s.was
	}
	return out
}

// putBack gives every parameter the value that it had.
func (f *Follower) putBack(ctx context.Context) error {
	var errs []error
	for len(f.changed) > 0 {
		last := len(f.changed) - 1
		s := f.changed[last]
		if _, err := f.insist(ctx, "CONFIG", "SET", s.name, s.was); err != nil {
			// The value may be a password, so it is not in the error.
			errs = append(errs, fmt.Errorf("cannot put %s of %s back: %w", s.name, f.target, err))
		}
		f.changed = f.changed[:last]
	}
	return errors.Join(errs...)
}

// insistFor is how long a server may be busy loading, or away, before it is given up.
const insistFor = 60 * time.Second

// insist gives a command again while the server is loading, and over a new
// connection when the old one is lost.
func (f *Follower) insist(ctx context.Context, args ...string) (*resp.Reply, error) {
	end := time.Now().Add(insistFor)
	for {
		r, err := f.conn.Do(ctx, args...)
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil || time.Now().After(end):
			return nil, err
		case resp.IsServerError(err, "LOADING", "BUSY", "MASTERDOWN"):
		case resp.IsServerError(err):
			return nil, err
		default:
			if derr := f.redial(ctx); derr != nil {
				return nil, errors.Join(err, derr)
			}
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (f *Follower) redial(ctx context.Context) error {
	conn, err := resp.Dial(ctx, f.target.WithDB(0))
	if err != nil {
		return err
	}
	// The old one is dead; what its closing says tells nothing new.
	_ = f.conn.Close()
	f.conn = conn
	return nil
}

// pause waits, or ends with the context.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
