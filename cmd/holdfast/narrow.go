package main

import (
	"context"
	"hash/maphash"
	"iter"
	"time"

	"holdfast.dev/internal/flow"
)

// paced is a source that is read no faster than a rate in keys per second; 0 does
// not slow it.
type paced struct {
	flow.Source
	rate int
}

// Entries yields the entries at the rate.
func (p *paced) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	if p.rate <= 0 {
		return p.Source.Entries(ctx)
	}
	return func(yield func(*flow.Entry, error) bool) {
		began, n := time.Now(), 0
		for e, err := range p.Source.Entries(ctx) {
			if !yield(e, err) || err != nil {
				return
			}
			n++
			ahead := time.Duration(float64(n)/float64(p.rate)*float64(time.Second)) - time.Since(began)
			if ahead < 5*time.Millisecond {
				continue
			}
			if err := pause(ctx, ahead); err != nil {
				yield(nil, err)
				return
			}
		}
	}
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

// keySet remembers keys by 64 bits of hash. A key that is taken for one of them
// by accident would be reported as a difference, never hidden.
type keySet struct {
	seed maphash.Seed
	sums map[uint64]struct{}
}

func newKeySet() *keySet { return &keySet{maphash.MakeSeed(), map[uint64]struct{}{}} }

func (k *keySet) sum(e *flow.Entry) uint64 {
	return maphash.Bytes(k.seed, e.Key) ^ (uint64(e.DB)+1)*0x9e3779b97f4a7c15
}
func (k *keySet) add(e *flow.Entry) { k.sums[k.sum(e)] = struct{}{} }

// only is a source without the keys that are not in a set.
type only struct {
	flow.Source
	of *keySet
}

// Entries yields the keys of the set.
func (o *only) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		for e, err := range o.Source.Entries(ctx) {
			if err == nil {
				if _, ok := o.of.sums[o.of.sum(e)]; !ok {
					continue
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// lasting is a source without the keys that expire before a horizon, in Unix
// milliseconds; 0 leaves none out.
type lasting struct {
	flow.Source
	horizon int64
	// skipped counts those left out; it is complete when Entries has ended.
	skipped int64
}

// Entries yields the keys that last.
func (l *lasting) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		for e, err := range l.Source.Entries(ctx) {
			if err == nil && e.HasExpiry() && e.ExpireAt < l.horizon {
				l.skipped++
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
