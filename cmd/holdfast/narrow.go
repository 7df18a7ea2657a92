package main

import (
	"context"
	"hash/maphash"
	"iter"

	"holdfast.dev/internal/flow"
)

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
