package source

import (
	"context"
	"fmt"
	"strings"
	"time"

	"holdfast.dev/internal/resp"
)

const notifySetting = "notify-keyspace-events"

// notifications tells whether notifications of every kind of change are sent, and
// whether by key or by event; nil means that they are not. Where it is allowed
// to, it has them sent until the attempt ends.
func (a *liveAttempt) notifications(ctx context.Context) (byKey *bool, err error) {
	r, err := a.call(ctx, "CONFIG", "GET", notifySetting)
	if resp.IsServerError(err) {
		a.noteMissing("CONFIG GET "+notifySetting, "config|get", err)
		a.note("whether keyspace notifications are sent cannot be known")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(r.Elems) < 2 {
		a.note("the server knows no %s", notifySetting)
		return nil, nil
	}
	flags := string(r.Elems[1].Bytes)
	if enough(flags) {
		is := strings.Contains(flags, "K")
		return &is, nil
	}
	if !a.s.lo.SetNotifications {
		a.note("%s is %q, which does not tell of every change (KA does)", notifySetting, flags)
		return nil, nil
	}
	if _, err := a.call(ctx, "CONFIG", "SET", notifySetting, flags+"KA"); err != nil {
		if resp.IsServerError(err) {
			a.noteMissing("CONFIG SET "+notifySetting, "config|set", err)
			return nil, nil
		}
		return nil, err
	}
	a.undo = func() error { return a.unset(flags) }
	is := true
	return &is, nil
}

// enough tells whether flags cover every change of a key, and a form that names it.
func enough(flags string) bool {
	if !strings.ContainsAny(flags, "KE") {
		return false
	}
	if strings.Contains(flags, "A") {
		return true
	}
	for _, class := range "g$lshzxetd" {
		if !strings.ContainsRune(flags, class) {
			return false
		}
	}
	return true
}

// unset puts the setting back, over a connection of its own: the others may be
// dead, and the context with them.
func (a *liveAttempt) unset(flags string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := resp.Dial(ctx, a.s.opt.WithDB(0))
	if err == nil {
		defer func() { _ = conn.Close() }()
		_, err = conn.Do(ctx, "CONFIG", "SET", notifySetting, flags)
	}
	if err != nil {
		return fmt.Errorf("cannot set %s back to %q: %w", notifySetting, flags, err)
	}
	return nil
}
