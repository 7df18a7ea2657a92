package proc

import "time"

// Backoff says when a process that ended is started again: at once after the
// first failure, then after Min, twice that, and so on up to Max. A process that
// has run for Stable had a good start, and counting begins anew.
type Backoff struct {
	Min, Max, Stable time.Duration
}

// DefaultBackoff waits 0, 0.5, 1, 2, 4, 8, 16, 30, 30, … seconds; a minute of
// running makes up for everything before.
var DefaultBackoff = Backoff{Min: 500 * time.Millisecond, Max: 30 * time.Second, Stable: time.Minute}

// Failures counts the failure of a process that ran from started to ended, on top
// of those before.
func (b Backoff) Failures(before int, started, ended time.Time) int {
	if ended.Sub(started) >= b.Stable {
		return 1
	}
	return before + 1
}

// Next is the time from which the process may be started again after so many
// failures in a row, the last at ended. It is never before now, and never more
// than Max after it, even if the clock was set back meanwhile.
func (b Backoff) Next(failures int, ended, now time.Time) time.Time {
	next := ended.Add(b.delay(failures))
	if next.Before(now) {
		return now
	}
	if limit := now.Add(b.Max); next.After(limit) {
		return limit
	}
	return next
}

func (b Backoff) delay(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	d := b.Min
	for range failures - 2 {
		if d >= b.Max {
			break
		}
		d *= 2
	}
	return min(d, b.Max)
}
