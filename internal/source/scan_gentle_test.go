package source_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// Bytes are bounded as keys are, from the first one on.
func TestScanBytesRate(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	noise := rand.NewChaCha8([32]byte{})
	value := make([]byte, 10_000)
	for i := range 60 {
		_, _ = noise.Read(value)
		s.Must("SET", fmt.Sprint("key:", i), value)
	}
	begun := time.Now()
	if got := read(t, source.NewScan(at(s), source.ScanOptions{BytesRate: 1_000_000})); len(got) != 60 {
		t.Errorf("%d keys", len(got))
	}
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("600 kB at 1 MB a second took %s", took)
	}
}

// What is not to be kept is not read, and asked about once.
func TestScanKeep(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	for i := range 3000 {
		s.Must("SET", fmt.Sprint("key:", i), i)
	}
	asked := map[string]int{}
	src := source.NewScan(at(s), source.ScanOptions{Keep: func(db int, key []byte) bool {
		asked[string(key)]++
		return db == 0 && key[len(key)-1] == '7'
	}})
	s.Must("CONFIG", "RESETSTAT")
	if got := read(t, src); len(got) != 300 || len(asked) != 3000 {
		t.Errorf("%d keys of %d", len(got), len(asked))
	}
	for k, n := range asked {
		if n != 1 {
			t.Fatalf("%s was asked about %d times", k, n)
		}
	}
	hits := s.Info("stats")["keyspace_hits"]
	n, err := strconv.Atoi(hits)
	if err != nil || n > 3*300 {
		t.Errorf("%s values were read", hits)
	}
}
