package source

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.dev/internal/resp"
)

// A Scan asks now and then how long the server lets a client wait. While that is
// much longer than it was before the reading began, whoever makes it so, fewer
// keys are in flight: by a third less each time, and by a tenth more when it is over.
// It is the median that counts, so that a network's single delays do not.
const (
	throttleFrom   = 10_000 // keys; fewer are read before anything could be learned
	throttleEvery  = 10 * time.Millisecond
	throttleWindow = 9 // pings
	throttleBudget = 10 * time.Millisecond
	throttleLeast  = 64 // keys in flight
)

// throttle is the goroutine that asks. A nil throttle allows what it is asked for.
type throttle struct {
	keys atomic.Int64
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// startThrottle begins, unless there are few keys; without a connection for it, of
// which servers may not have many, nothing is held back.
func (s *Scan) startThrottle(ctx context.Context, keys int64) *throttle {
	if keys < throttleFrom {
		return nil
	}
	r, err := s.dial(ctx)
	if err != nil {
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	t := &throttle{stop: stop}
	t.keys.Store(flightKeys)
	before, _ := median(ctx, r.conn, time.Millisecond)
	t.wg.Go(func() {
		defer s.drop(r.conn)
		for {
			now, ok := median(ctx, r.conn, throttleEvery)
			if !ok {
				t.keys.Store(flightKeys)
				return
			}
			t.adapt(now - before)
		}
	})
	return t
}

// median of a few pings; false when the connection or the context has ended.
func median(ctx context.Context, conn *resp.Conn, every time.Duration) (time.Duration, bool) {
	var took [throttleWindow]time.Duration
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range took {
		begun := time.Now()
		if _, err := conn.Do(ctx, "PING"); err != nil && !resp.IsServerError(err) {
			return 0, false
		}
		took[i] = time.Since(begun)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, false
		}
	}
	slices.Sort(took[:])
	return took[throttleWindow/2], true
}

func (t *throttle) adapt(slower time.Duration) {
	n := t.keys.Load()
	if slower > throttleBudget {
		n = max(n*2/3, throttleLeast)
	} else {
		n = min(n+n/10, flightKeys)
	}
	t.keys.Store(n)
}

// flight is how many of n keys may be in flight.
func (t *throttle) flight(n int) int {
	if t == nil {
		return n
	}
	return min(n, int(t.keys.Load()))
}

// Close ends the goroutine and waits for it.
func (t *throttle) Close() {
	if t != nil {
		t.stop()
		t.wg.Wait()
	}
}
