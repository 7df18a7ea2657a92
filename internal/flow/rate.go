package flow

import (
	"context"
	"iter"
	"sync"
	"time"
)

// Rate is how much may be read in a second; 0 means as much as there is.
type Rate struct {
	Keys int64
	// Bytes of keys and values as they are serialized.
	Bytes int64
}

// Limited tells whether there is a limit.
func (r Rate) Limited() bool { return r.Keys > 0 || r.Bytes > 0 }

// Limiter holds readings to a rate. Several may share one. A nil Limiter holds
// nothing back.
type Limiter struct {
	rate Rate
	mu   sync.Mutex
	last time.Time
	// left is what may be read at once; below zero it has been read ahead.
	keys, bytes float64
}

// burst is for how long a Limiter saves up what was not read.
const burst = 20 * time.Millisecond

// NewLimiter returns a Limiter for a rate, nil if it is not limited.
func NewLimiter(r Rate) *Limiter {
	if !r.Limited() {
		return nil
	}
	return &Limiter{rate: r, last: time.Now()}
}

// Wait returns when so many more keys may be read. How large they are need not be
// known: Read tells later.
func (l *Limiter) Wait(ctx context.Context, keys int) error {
	if l == nil {
		return nil
	}
	l.take(keys, 0)
	return l.settle(ctx)
}

// Read says how many bytes were read. What is too much the next Wait waits for.
func (l *Limiter) Read(bytes int) {
	if l != nil {
		l.take(0, bytes)
	}
}

// take takes from what is left.
func (l *Limiter) take(keys, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refill()
	l.keys -= float64(keys)
	l.bytes -= float64(bytes)
}

func (l *Limiter) refill() {
	now := time.Now()
	s := now.Sub(l.last).Seconds()
	l.last = now
	l.keys = min(l.keys+s*float64(l.rate.Keys), burst.Seconds()*float64(l.rate.Keys))
	l.bytes = min(l.bytes+s*float64(l.rate.Bytes), burst.Seconds()*float64(l.rate.Bytes))
}

// settle waits until nothing is owed.
func (l *Limiter) settle(ctx context.Context) error {
	for {
		d := l.owed()
		if d < time.Millisecond { // a timer is no more exact than that
			return ctx.Err()
		}
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// owed is how long what was taken too much takes.
func (l *Limiter) owed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refill()
	var d time.Duration
	if l.rate.Keys > 0 && l.keys < 0 {
		d = time.Duration(-l.keys / float64(l.rate.Keys) * float64(time.Second))
	}
	if l.rate.Bytes > 0 && l.bytes < 0 {
		d = max(d, time.Duration(-l.bytes/float64(l.rate.Bytes)*float64(time.Second)))
	}
	return d
}

// Paced is a source that yields no faster than a Limiter allows.
type Paced struct {
	Source
	Limiter *Limiter
}

// Entries yields the source's entries.
func (p *Paced) Entries(ctx context.Context) iter.Seq2[*Entry, error] {
	if p.Limiter == nil {
		return p.Source.Entries(ctx)
	}
	return func(yield func(*Entry, error) bool) {
		for e, err := range p.Source.Entries(ctx) {
			if err == nil {
				p.Limiter.Read(e.Size())
				err = p.Limiter.Wait(ctx, 1)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}
