package main

import (
	"sync"
	"time"
)

const (
	// freeFailures may come one after the other; after that a source is slowed down.
	freeFailures = 10
	// failureFades is how long it takes until one of them is forgotten.
	failureFades = 6 * time.Second
	// slowedDown is how long a log-in then waits to be looked at. It is looked at in the
	// end: whoever shares an address with somebody who guesses is not locked out.
	slowedDown = time.Second
	// maxSources bounds what is remembered.
	maxSources = 10_000
)

// loginLimit slows down who keeps trying. A source is a user and an address.
type loginLimit struct {
	now func() time.Time

	mu sync.Mutex
	// until is when a source will have had all its failures forgotten.
	until map[string]time.Time
}

func newLoginLimit(now func() time.Time) *loginLimit {
	return &loginLimit{now: now, until: map[string]time.Time{}}
}

// wait is how long the next log-in of a source has to.
func (l *loginLimit) wait(source string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until[source].Sub(l.now()) >= freeFailures*failureFades {
		return slowedDown
	}
	return 0
}

// failed takes note of one.
func (l *loginLimit) failed(source string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	at, known := l.until[source]
	if !known {
		l.makeRoom(now)
	}
	if at.Before(now) {
		at = now
	}
	// A little more than enough, so that a source that goes on is slowed down for good.
	l.until[source] = minTime(at.Add(failureFades), now.Add((freeFailures+1)*failureFades))
}

// succeeded forgets what was before.
func (l *loginLimit) succeeded(source string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, source)
}

// makeRoom forgets what has faded, and if that is nothing, anything.
func (l *loginLimit) makeRoom(now time.Time) {
	if len(l.until) < maxSources {
		return
	}
	for source, at := range l.until {
		if at.Before(now) {
			delete(l.until, source)
		}
	}
	for source := range l.until {
		if len(l.until) < maxSources {
			return
		}
		delete(l.until, source)
	}
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
