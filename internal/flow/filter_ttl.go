package flow

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// TTL is a range of remaining times to live, or of keys that have none.
type TTL struct {
	// None means the keys that do not expire, and only them.
	None bool
	// From and Before bound the remaining time in milliseconds: From is in the
	// range, Before is not.
	From, Before int64
}

// Contains tells whether an entry's remaining time, at a Unix time in
// milliseconds, is in the range. What has expired has less than none left.
func (t TTL) Contains(e *Entry, now int64) bool {
	if t.None || !e.HasExpiry() {
		return t.None && !e.HasExpiry()
	}
	left := e.ExpireAt - now
	return left >= t.From && left < t.Before
}

// ParseTTL reads one range: none (no expiry), any (some expiry), <1h, <=1h,
// >10m, >=10m, or 10m..1h (at least ten minutes, less than one hour). Times are
// Go's, such as 1h30m, or days, such as 7d.
func ParseTTL(text string) (TTL, error) {
	ever := TTL{From: math.MinInt64, Before: math.MaxInt64}
	switch text {
	case "none":
		return TTL{None: true}, nil
	case "any":
		return ever, nil
	}
	bad := fmt.Errorf("cannot read the TTL %q: write none, any, <1h, <=1h, >10m, >=10m or 10m..1h; with d for days", text)
	if from, before, ok := strings.Cut(text, ".."); ok {
		a, err1 := parseSpan(from)
		b, err2 := parseSpan(before)
		if err1 != nil || err2 != nil || a >= b {
			return TTL{}, bad
		}
		return TTL{From: a, Before: b}, nil
	}
	for _, op := range []struct {
		sign string
		set  func(ms int64)
	}{
		{"<=", func(ms int64) { ever.Before = ms + 1 }},
		{"<", func(ms int64) { ever.Before = ms }},
		{">=", func(ms int64) { ever.From = ms }},
		{">", func(ms int64) { ever.From = ms + 1 }},
	} {
		if rest, ok := strings.CutPrefix(text, op.sign); ok {
			ms, err := parseSpan(rest)
			if err != nil {
				return TTL{}, bad
			}
			op.set(ms)
			return ever, nil
		}
	}
	return TTL{}, bad
}

// parseSpan reads a time as milliseconds.
func parseSpan(text string) (int64, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return int64(n) * 24 * 3600 * 1000, err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = strconv.ErrRange
	}
	return d.Milliseconds(), err
}
