package main

import (
	"context"
	"hash/maphash"
	"iter"
	"math/bits"

	"holdfast.dev/internal/flow"
)

// keySet remembers keys by 64 bits of hash. A key that is taken for one of them
// by accident would be reported as a difference, never hidden.
//
// The hashes stand in tables by their first bits, so that only one of many is ever moved
// as they grow: nine bytes for a key, or up to sixteen, where a map takes forty.
type keySet struct {
	seed   maphash.Seed
	shards [keyShards]hashTable
}

const keyShards = 256

func newKeySet() *keySet { return &keySet{seed: maphash.MakeSeed()} }

func (k *keySet) sum(e *flow.Entry) uint64 {
	return maphash.Bytes(k.seed, e.Key) ^ (uint64(e.DB)+1)*0x9e3779b97f4a7c15
}

func (k *keySet) add(e *flow.Entry) {
	sum := k.sum(e)
	k.shards[sum%keyShards].add(sum)
}

func (k *keySet) has(e *flow.Entry) bool {
	sum := k.sum(e)
	return k.shards[sum%keyShards].has(sum)
}

// hashTable holds hashes, each where its upper bits point or soon after.
type hashTable struct {
	slots []uint64 // 0 is an empty one
	used  int
}

// place is where a hash is, or where it would go.
func (t *hashTable) place(sum uint64) *uint64 {
	at, _ := bits.Mul64(sum, uint64(len(t.slots)))
	for t.slots[at] != 0 && t.slots[at] != sum {
		if at++; at == uint64(len(t.slots)) {
			at = 0
		}
	}
	return &t.slots[at]
}

func (t *hashTable) has(sum uint64) bool {
	return len(t.slots) > 0 && *t.place(max(sum, 1)) != 0
}

func (t *hashTable) add(sum uint64) {
	sum = max(sum, 1)
	if t.used >= len(t.slots)/8*7 {
		old := t.slots
		t.slots = make([]uint64, max(64, len(old)+len(old)/2))
		for _, s := range old {
			if s != 0 {
				*t.place(s) = s
			}
		}
	}
	if at := t.place(sum); *at == 0 {
		*at = sum
		t.used++
	}
}

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
				if !o.of.has(e) {
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
