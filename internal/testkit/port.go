package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Ports handed out are below the kernel's range for outgoing connections (32768
// and up), and so are their cluster bus ports.
const (
	firstPort     = 11000
	lastPort      = 21999
	clusterBusGap = 10000
)

var handedOut = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePort returns a port that nobody listens on at 127.0.0.1, its cluster bus
// port (10000 higher) included, and that this process was not given before.
func FreePort(t testing.TB) int {
	t.Helper()
	return freePort(t, "127.0.0.1")
}

func freePort(t testing.TB, host string) int {
	t.Helper()
	handedOut.Lock()
	defer handedOut.Unlock()
	var last error
	for range 500 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if handedOut.ports[port] {
			continue
		}
		if last = portsFree(host, port, port+clusterBusGap); last == nil {
			handedOut.ports[port] = true
			return port
		}
	}
	t.Fatalf("cannot find a free port on %s: %v", host, last)
	return 0
}

func portsFree(host string, ports ...int) error {
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(p)))
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Wait polls until cond holds, and fails the test when it does not within the
// timeout. What says what was waited for, with arguments as in fmt.Sprintf.
func Wait(t testing.TB, timeout time.Duration, cond func() bool, what string, args ...any) {
	t.Helper()
	if !poll(timeout, cond) {
		t.Fatalf("waited %v in vain: %s", timeout, fmt.Sprintf(what, args...))
	}
}

// poll asks at once, then at growing distances, and once more at the end.
func poll(timeout time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	pause := time.Millisecond
	for {
		if cond() {
			return true
		}
		next := time.NewTimer(pause)
		select {
		case <-deadline.C:
			next.Stop()
			return cond()
		case <-next.C:
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}
