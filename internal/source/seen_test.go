package source

import (
	"fmt"
	"testing"
)

func TestSeen(t *testing.T) {
	for _, expected := range []int64{0, 10, 100_000} {
		s := newSeen(expected)
		const n = 50_000
		for round := range 2 {
			for i := range n {
				if fresh := s.add(fmt.Appendf(nil, "key:%d", i)); fresh != (round == 0) {
					t.Fatalf("room for %d: key %d is new in round %d: %v", expected, i, round, fresh)
				}
			}
		}
	}
}

func BenchmarkSeen(b *testing.B) {
	s := newSeen(int64(b.N))
	key := []byte("key:00000000000000000000")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for j, n := len(key)-1, i; n > 0; j, n = j-1, n/10 {
			key[j] = byte('0' + n%10)
		}
		s.add(key)
	}
}
