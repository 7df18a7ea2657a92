package main

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"holdfast.dev/internal/flow"
)

// A set of keys has those that were added, by database and name, and no others,
// whatever it has grown to.
func TestKeySet(t *testing.T) {
	k := newKeySet()
	entry := func(i, db int) *flow.Entry { return &flow.Entry{DB: db, Key: []byte("key:" + strconv.Itoa(i))} }
	const n = 300_000
	for i := range n {
		k.add(entry(i, i%3))
		if i%7 == 0 {
			k.add(entry(i, i%3)) // again
		}
	}
	used := 0
	for i := range k.shards {
		used += k.shards[i].used
	}
	if used != n {
		t.Errorf("%d are counted", used)
	}
	for i := range n {
		if !k.has(entry(i, i%3)) || k.has(entry(i, (i+1)%3)) || k.has(entry(i+n, i%3)) {
			t.Fatalf("key %d", i)
		}
	}
	if newKeySet().has(entry(1, 1)) {
		t.Error("an empty set has a key")
	}
}

// Hashes at both ends of the range, 0 included, find their places beside each other.
func TestHashTable(t *testing.T) {
	var table hashTable
	want := map[uint64]bool{}
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 10_000 {
		sum := rng.Uint64()
		switch i % 5 {
		case 0:
			sum = uint64(i)
		case 1:
			sum = -uint64(i)
		}
		if table.has(sum) != want[sum] && sum > 1 {
			t.Fatalf("%x: %v", sum, table.has(sum))
		}
		table.add(sum)
		want[sum] = true
	}
	for sum := range want {
		if !table.has(sum) {
			t.Errorf("%x is lost", sum)
		}
	}
}
