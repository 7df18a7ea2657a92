package source

import (
	"encoding/binary"
	"fmt"
	"testing"
)

func TestSeen(t *testing.T) {
	for _, expected := range []int64{0, 10, 100_000} {
		s := newSeen(expected)
		const n = 50_000
		for round := range 2 {
			for i := range n {
				m := s.mark(fmt.Appendf(nil, "key:%d", i))
				s.fetch([]mark{m})
				if fresh := s.add(m); fresh != (round == 0) {
					t.Fatalf("room for %d: key %d is new in round %d: %v", expected, i, round, fresh)
				}
			}
		}
	}
}

// BenchmarkSeen adds keys as a Scan does, five hundred at a time to a million.
func BenchmarkSeen(b *testing.B) {
	const batch, all = 500, 1_000_000
	for name, fetch := range map[string]bool{"fetched": true, "not": false} {
		b.Run(name, func(b *testing.B) {
			var s *seen
			key := make([]byte, 16)
			marks := make([]mark, batch)
			for n := 0; b.Loop(); n += batch {
				if n%all == 0 {
					b.StopTimer()
					s = newSeen(all)
					b.StartTimer()
				}
				for i := range marks {
					binary.LittleEndian.PutUint64(key, uint64(n+i))
					marks[i] = s.mark(key)
				}
				if fetch {
					s.fetch(marks)
				}
				for _, m := range marks {
					s.add(m)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/key")
		})
	}
}
