package slots

import (
	"testing"
	"time"
)

// Bursts grow while they are short and the source answers, and shrink when either ends.
// The source has as much time for others as a burst took of it, and more while it is slow.
func TestBurstsFollowTheSource(t *testing.T) {
	p := &pace{burst: firstBurst, usual: 100 * time.Microsecond}
	for range 100 {
		if rest := p.after(time.Millisecond); rest != time.Millisecond {
			t.Fatalf("a quick source that was kept busy for a millisecond is left alone for %s", rest)
		}
	}
	if p.burst != mostBurst {
		t.Errorf("bursts grew to %d", p.burst)
	}
	if p.after(4 * burstTime); p.burst != mostBurst/2 {
		t.Errorf("after a long burst the next one is of %d", p.burst)
	}
	p.recent = 2 * slowPing
	last := time.Duration(0)
	for range 20 {
		rest := p.after(time.Millisecond)
		if rest < min(max(2*last, time.Millisecond), mostRest) {
			t.Fatalf("a source that is slow still is left alone for %s after %s", rest, last)
		}
		last = rest
	}
	if p.burst != 1 || last != mostRest {
		t.Errorf("bursts for a slow source are of %d, every %s", p.burst, last)
	}
	p.recent = 0
	for range 20 {
		last = p.after(time.Microsecond)
	}
	if p.burst < 2 || last != time.Microsecond {
		t.Errorf("once it is quick again bursts are of %d, every %s", p.burst, last)
	}
}
