package source

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.dev/internal/resp"
)

// The probe is a client like any other: it sends a PING now and then, and what
// it waits is what others wait. A batch doubles until its slow requests leave the
// budget above what they were before; from then on it grows by a fixed step while
// they are within it, and shrinks by a third when not.
const (
	probeEvery  = time.Millisecond
	probeWindow = 50
	probeGrow   = 16 // pings in a window while the budget was never left
	probeFirst  = 30 // pings before reading begins
	batchFirst  = 50
	batchLeast  = 32
	batchMost   = 200
	batchStep   = 8
)

// probe is the goroutine that sends them.
type probe struct {
	size atomic.Int64
	stop context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	// slowed: the budget was left once.
	slowed bool
	// least and most keys in a batch so far.
	least, most int
}

// startProbe measures how slow the server is before reading begins, and goes on
// in the background until Close. Without a connection the size stays as it is.
func startProbe(ctx context.Context, opt resp.Options, budget time.Duration) *probe {
	p := &probe{least: batchFirst, most: batchFirst, stop: func() {}}
	p.size.Store(batchFirst)
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return p // a guard of others' latency, not of the data
	}
	before := p.window(ctx, conn, probeFirst)
	ctx, p.stop = context.WithCancel(ctx)
	p.wg.Go(func() {
		defer func() { _ = conn.Close() }() // only PINGs went over it
		for ctx.Err() == nil {
			pings := probeGrow
			if p.slowed {
				pings = probeWindow
			}
			slow := p.window(ctx, conn, pings)
			if slow == 0 {
				return
			}
			p.adapt(slow-before > budget)
		}
	})
	return p
}

// window is the second slowest of so many pings, 0 on error.
func (p *probe) window(ctx context.Context, conn *resp.Conn, n int) time.Duration {
	took := make([]time.Duration, 0, n)
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	for range n {
		begun := time.Now()
		if _, err := conn.Do(ctx, "PING"); err != nil && !resp.IsServerError(err) {
			return 0
		}
		took = append(took, time.Since(begun))
		select {
		case <-t.C:
		case <-ctx.Done():
			return 0
		}
	}
	slices.Sort(took)
	return max(took[n-2], 1)
}

func (p *probe) adapt(slow bool) {
	n := int(p.size.Load())
	switch {
	case slow:
		p.slowed = true
		n = max(n*2/3, batchLeast)
	case p.slowed:
		n = min(n+batchStep, batchMost)
	default:
		n = min(2*n, batchMost)
	}
	p.size.Store(int64(n))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.least, p.most = min(p.least, n), max(p.most, n)
}

func (p *probe) bounds() (least, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.least, p.most
}

// Close ends the goroutine and waits for it.
func (p *probe) Close() {
	p.stop()
	p.wg.Wait()
}
