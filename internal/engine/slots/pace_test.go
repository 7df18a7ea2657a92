package slots

import (
	"testing"
	"time"
)

// Bursts grow while they are short and the source answers, shrink when either ends, and
// leave the source alone while it is slow.
func TestBurstsFollowTheSource(t *testing.T) {
	p := &pace{burst: firstBurst, usual: 100 * time.Microsecond}
	for range 100 {
		if rest := p.after(time.Millisecond); rest > 0 {
			t.Fatalf("a quick source is left alone for %s", rest)
		}
	}
	if p.burst != mostBurst {
		t.Errorf("bursts grew to %d", p.burst)
	}
	if p.after(4 * burstTime); p.burst != mostBurst/2 {
		t.Errorf("after a long burst the next one is of %d", p.burst)
	}
	p.recent = 2 * slowPing
	for range 20 {
		if rest := p.after(time.Millisecond); rest < time.Millisecond {
			t.Fatalf("a slow source is left alone for %s", rest)
		}
	}
	if p.burst != 1 {
		t.Errorf("bursts for a slow source are of %d", p.burst)
	}
	p.recent = 0
	if p.after(time.Microsecond); p.burst < 2 {
		t.Error("bursts do not grow again")
	}
}
