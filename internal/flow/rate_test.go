package flow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/internal/flow"
)

func TestLimiterKeepsTheRate(t *testing.T) {
	for _, tc := range []struct {
		rate  flow.Rate
		keys  int // at a time
		bytes int // each
	}{
		{flow.Rate{Keys: 1000}, 10, 100},
		{flow.Rate{Keys: 3}, 1, 100},
		{flow.Rate{Bytes: 10_000}, 10, 1000},
		{flow.Rate{Keys: 1_000_000, Bytes: 1 << 20}, 1, 1 << 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := flow.NewLimiter(tc.rate)
			begun := time.Now()
			var keys, bytes int64
			for time.Since(begun) < time.Minute {
				if err := l.Wait(t.Context(), tc.keys); err != nil {
					t.Fatal(err)
				}
				l.Read(tc.keys * tc.bytes)
				keys += int64(tc.keys)
				bytes += int64(tc.keys * tc.bytes)
			}
			s := time.Since(begun).Seconds()
			of := func(got int64, rate int64) float64 { return float64(got) / s / float64(rate) }
			if tc.rate.Keys > 0 && of(keys, tc.rate.Keys) > 1.02 || tc.rate.Bytes > 0 && of(bytes, tc.rate.Bytes) > 1.04 {
				t.Errorf("%+v: %d keys, %d bytes in %v s", tc.rate, keys, bytes, s)
			}
			if of(keys, max(tc.rate.Keys, 1)) < 0.95 && of(bytes, max(tc.rate.Bytes, 1)) < 0.95 {
				t.Errorf("%+v: only %d keys, %d bytes in %v s", tc.rate, keys, bytes, s)
			}
		})
	}
}

// What was not read for a long time is not made up for.
func TestLimiterDoesNotSaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := flow.NewLimiter(flow.Rate{Keys: 100})
		time.Sleep(time.Hour)
		begun := time.Now()
		for range 100 {
			if err := l.Wait(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begun); d < 900*time.Millisecond {
			t.Errorf("100 keys took %s", d)
		}
	})
}

func TestLimiterEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	l := flow.NewLimiter(flow.Rate{Keys: 1})
	why := errors.New("enough")
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if err := l.Wait(ctx, 1_000_000); !errors.Is(err, why) {
		t.Errorf("it ended with %v", err)
	}
}

func TestNoLimiter(t *testing.T) {
	l := flow.NewLimiter(flow.Rate{})
	if l != nil || l.Wait(t.Context(), 1<<30) != nil {
		t.Error("no rate limits")
	}
	l.Read(1 << 30)
}

func TestPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &flow.Paced{Source: &reused{keys: keys(500), size: 10}, Limiter: flow.NewLimiter(flow.Rate{Keys: 100})}
		dst := &collect{}
		begun := time.Now()
		stats, err := flow.Run(t.Context(), src, dst, flow.Options{})
		if d := time.Since(begun); err != nil || stats.Keys != 500 || d < 4900*time.Millisecond || d > 5100*time.Millisecond {
			t.Errorf("%+v in %s: %v", stats, d, err)
		}
	})
}
