package slots

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

const (
	// burstTime is how long a burst should keep the source from its clients.
	burstTime = 1500 * time.Microsecond
	// mostRest bounds how long a source that stays slow is left alone after a burst:
	// whatever keeps it busy, its slots are to move some time.
	mostRest = 50 * time.Millisecond
	// slowPing is what a PING may wait, unless it did when all was quiet.
	slowPing = 3 * time.Millisecond
	// pingEvery is how often the source is asked.
	pingEvery = 4 * time.Millisecond
	// unitBytes of a value cost about as much as a key.
	unitBytes = 1 << 10
	// The size of a burst, in keys of unitBytes: at the beginning, and at most.
	firstBurst = 32
	mostBurst  = 4096
)

// pace finds out how much the source can bear. It listens on a connection of its own.
type pace struct {
	c    *resp.Conn
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu sync.Mutex
	// recent is how long answers take lately, a running mean; usual is the middle of
	// those before the first burst.
	recent, usual time.Duration

	burst int
	// rest is for how long the source is left alone after a burst because it was slow.
	rest time.Duration
}

// startPace listens to one node until close.
func startPace(ctx context.Context, at resp.Options) (*pace, error) {
	c, err := resp.Dial(ctx, at)
	if err != nil {
		return nil, err
	}
	p := &pace{c: c, burst: firstBurst}
	first := make([]time.Duration, 9)
	for i := range first {
		if first[i], err = ping(ctx, c); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	slices.Sort(first)
	p.usual = first[len(first)/2]
	ctx, p.stop = context.WithCancel(ctx)
	p.wg.Go(func() { p.listen(ctx) })
	return p, nil
}

func ping(ctx context.Context, c *resp.Conn) (time.Duration, error) {
	began := time.Now()
	_, err := c.Do(ctx, "PING")
	return time.Since(began), err
}

// listen ends with the connection. A node that does not answer any more is noticed by
// those who move keys.
func (p *pace) listen(ctx context.Context) {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		d, err := ping(ctx, p.c)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.recent += (d - p.recent) / 4
		p.mu.Unlock()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// after adapts the size of bursts to what the last one cost, and returns for how long
// the source is to be left alone: for as long as it was kept busy at least, so that half
// of its time is its clients' whatever they need, and longer and longer while it is slow.
// Bursts without rests between them move keys faster, and clients that came meanwhile
// queue up: on a busy machine some of them waited longer than for the engines' own tool.
func (p *pace) after(took time.Duration) time.Duration {
	p.mu.Lock()
	slow := p.recent > max(slowPing, 3*p.usual)
	p.mu.Unlock()
	switch {
	case slow || took > 2*burstTime:
		p.burst = max(p.burst/2, 1)
	case took < burstTime:
		p.burst = min(p.burst+p.burst/4+1, mostBurst)
	}
	if p.rest /= 2; slow {
		p.rest = max(4*p.rest, took)
	}
	p.rest = min(p.rest, mostRest)
	return max(p.rest, min(took, mostRest))
}

func (p *pace) close() error {
	p.stop()
	p.wg.Wait()
	return p.c.Close()
}
