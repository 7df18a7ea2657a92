package main

import (
	"testing"
	"time"
)

// TestLoginLimit: who keeps failing is slowed down, nobody else is, and it fades.
func TestLoginLimit(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLoginLimit(func() time.Time { return now })
	for i := range 100 {
		if got := l.wait("a"); (got > 0) != (i >= freeFailures) {
			t.Fatalf("after %d failures: %v", i, got)
		}
		l.failed("a")
	}
	if l.wait("b") > 0 {
		t.Error("another one is slowed down")
	}
	now = now.Add(2 * failureFades)
	if l.wait("a") > 0 {
		t.Error("it does not fade")
	}
	for range 10 {
		l.failed("a")
	}
	l.succeeded("a")
	if l.wait("a") > 0 {
		t.Error("a success is not minded")
	}
	for range 2 * maxSources {
		l.failed(now.String())
		now = now.Add(time.Millisecond)
	}
	if len(l.until) > maxSources {
		t.Errorf("%d sources are remembered", len(l.until))
	}
}
