package memcache

import (
	"testing"
	"time"
)

// TestExact: the listed time of expiry is taken where it can be the same one.
func TestExact(t *testing.T) {
	at := time.Unix(2000000000, 0)
	for _, c := range []struct {
		line string
		read time.Time
		want time.Time
	}{
		{"key=a exp=2000000000 la=1 cas=2", at.Add(3 * time.Second), at},
		{"key=a exp=2000000000 la=1 cas=2", at.Add(-3 * time.Second), at},
		{"key=a exp=2000000000 la=1 cas=2", at.Add(time.Minute), at.Add(time.Minute)}, // set anew, or a clock that is wrong
		{"key=a exp=2000000000 la=1 cas=2", time.Time{}, time.Time{}},
		{"key=a exp=-1 la=1 cas=2", at, at},
		{"key=a exp=x la=1 cas=2", at, at},
		{"key=a", at, at},
	} {
		i := Item{ExpireAt: c.read}
		if i.exact(dumpedExpiry(c.line)); !i.ExpireAt.Equal(c.want) {
			t.Errorf("%q, read as %v: %v", c.line, c.read, i.ExpireAt)
		}
	}
}
