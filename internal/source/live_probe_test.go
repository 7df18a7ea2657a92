package source

import "testing"

// A batch doubles while nobody waits for it. Once somebody did it shrinks, and grows
// step by step.
func TestProbeAdapts(t *testing.T) {
	p := &probe{least: batchFirst, most: batchFirst}
	p.size.Store(batchFirst)
	expect := func(slow bool, want int64) {
		t.Helper()
		if p.adapt(slow); p.size.Load() != want {
			t.Fatalf("%d keys, want %d", p.size.Load(), want)
		}
	}
	for _, want := range []int64{100, 200, batchMost, batchMost} {
		expect(false, want)
	}
	expect(true, 133)
	expect(false, 141)
	expect(false, 149)
	for range 10 {
		p.adapt(true)
	}
	expect(true, batchLeast)
	expect(false, batchLeast+batchStep)
	if least, most := p.bounds(); least != batchLeast || most != batchMost {
		t.Errorf("between %d and %d", least, most)
	}
}
