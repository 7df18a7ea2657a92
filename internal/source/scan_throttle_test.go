package source

import (
	"testing"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// While the server is slow fewer keys are in flight, down to a least number, and
// all again some time after it is over.
func TestThrottleAdapts(t *testing.T) {
	var none *throttle
	if none.flight(flightKeys) != flightKeys {
		t.Error("without a throttle something is held back")
	}
	var c throttle
	c.keys.Store(flightKeys)
	c.adapt(throttleBudget)
	if c.flight(flightKeys) != flightKeys {
		t.Error("it holds back within the budget")
	}
	before := flightKeys
	for range 20 {
		c.adapt(throttleBudget + time.Millisecond)
		n := c.flight(flightKeys)
		if n >= before && n > throttleLeast || n < throttleLeast {
			t.Fatalf("from %d to %d keys", before, n)
		}
		before = n
	}
	if before != throttleLeast || c.flight(10) != 10 {
		t.Errorf("%d keys at the least", before)
	}
	for range 100 {
		c.adapt(0)
	}
	if c.flight(flightKeys) != flightKeys {
		t.Errorf("%d keys when it is over", c.flight(flightKeys))
	}
}

// It is the waiting of a client that tells, on a real connection.
func TestThrottleSeesASlowServer(t *testing.T) {
	server := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	p := testkit.Proxy(t, server.Addr())
	s := NewScan(resp.Options{Addr: p.Addr()}, ScanOptions{})
	defer s.Close()
	c := s.startThrottle(t.Context(), throttleFrom)
	if c == nil {
		t.Fatal("there is no throttle")
	}
	defer c.Close()
	p.Slow(200) // a PING takes 70 ms
	testkit.Wait(t, time.Minute, func() bool { return c.flight(flightKeys) < flightKeys/2 }, "it to ask for less")
	p.Slow(0)
	low := c.flight(flightKeys)
	testkit.Wait(t, time.Minute, func() bool {
		n := c.flight(flightKeys)
		more := n > low
		low = min(low, n) // what was on its way was still slow
		return more
	}, "it to ask for more")
}
