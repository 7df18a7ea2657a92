package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

const (
	// tryEvery is how often a client asks whether it may write again; half of it is
	// what a measured time is too long by, on average.
	tryEvery = 2 * time.Millisecond
	// tryFor is how long a client waits for an answer: a process that hangs takes
	// connections and says nothing.
	tryFor = 300 * time.Millisecond
	// mostTries wait for an answer at a time.
	mostTries = 100
)

// firstWrite returns when a write was accepted by a primary that is not the run
// that was lost. Each try is a client that connects anew, so that one which waits
// in vain holds no other up.
func firstWrite(parent context.Context, k *keeper, lost string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(parent, enough)
	defer cancel()
	accepted := make(chan time.Time, mostTries)
	places := make(chan struct{}, mostTries)
	var tries sync.WaitGroup
	defer tries.Wait()
	defer cancel()
	tick := time.NewTicker(tryEvery)
	defer tick.Stop()
	for {
		select {
		case places <- struct{}{}:
			tries.Go(func() {
				defer func() { <-places }()
				if at, ok := tryWrite(ctx, k, lost); ok {
					accepted <- at
				}
			})
		default:
		}
		select {
		case at := <-accepted:
			return at, nil
		case <-tick.C:
		case <-ctx.Done():
			if parent.Err() != nil {
				return time.Time{}, parent.Err()
			}
			return time.Time{}, errSilent
		}
	}
}

// tryWrite writes once, and makes sure by whom it was accepted: what was lost
// might have answered with its last breath.
func tryWrite(ctx context.Context, k *keeper, lost string) (at time.Time, ok bool) {
	addr, err := k.find(ctx)
	if err != nil {
		return at, false
	}
	cmds := resp.AppendCommand(nil, "SET", "first"+k.tag, lost)
	c, r, err := converse(ctx, addr, tryFor, resp.AppendCommand(cmds, "INFO", "server"))
	if err != nil {
		return at, false
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	set, err := r.Next()
	at = time.Now()
	if err != nil || set.Err() != nil {
		return at, false
	}
	info, err := r.Next()
	if err != nil || info.Err() != nil {
		return at, false
	}
	return at, !strings.Contains(string(info.Bytes), lost)
}
