package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
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
	blockSize     = 100
	blocks        = (lastPort - firstPort + 1) / blockSize
)

// ports are those that this process may still hand out. Test binaries run side by
// side, and a server that is restarted leaves its port free for a moment: so that
// nobody takes it then, each binary has whole blocks of ports to itself.
var ports = struct {
	sync.Mutex
	unseen []int // blocks that were not asked for yet
	left   []int // ports of our own blocks
}{unseen: rand.Perm(blocks)}

// FreePort returns a port that nobody listens on at 127.0.0.1, its cluster bus
// port (10000 higher) included. Neither this process nor another that uses
// testkit gets it again before this one ends.
func FreePort(t testing.TB) int {
	t.Helper()
	return freePort(t, "127.0.0.1")
}

func freePort(t testing.TB, host string) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	var last error
	for {
		if len(ports.left) == 0 && !anotherBlock() {
			t.Fatalf("cannot find a free port on %s: other test binaries have all from %d to %d (the last one tried: %v)",
				host, firstPort, lastPort, last)
		}
		port := ports.left[0]
		ports.left = ports.left[1:]
		if last = portsFree(host, port, port+clusterBusGap); last == nil {
			return port
		}
	}
}

// anotherBlock takes a block that no other process has; false when there is none.
// It wants ports held.
func anotherBlock() bool {
	for len(ports.unseen) > 0 {
		block := ports.unseen[0]
		ports.unseen = ports.unseen[1:]
		if !claimBlock(block) {
			continue
		}
		for _, n := range rand.Perm(blockSize) {
			ports.left = append(ports.left, firstPort+block*blockSize+n)
		}
		return true
	}
	return false
}

func portsFree(host string, ports ...int) error {
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(host, portText(p)))
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Listen listens at 127.0.0.1 on a free port, which can be listened on again once
// the listener is closed: unlike one that the kernel chooses, nobody else gets it.
// Closing is the caller's.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	for try := 1; ; try++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", portText(FreePort(t))))
		if err == nil {
			return l
		}
		if try == 5 { // a program that knows nothing of our blocks may be faster once
			t.Fatalf("cannot listen: %v", err)
		}
	}
}

// leastWait is what a shorter timeout of Wait is taken for. On a machine where
// much else runs everything takes many times longer, and a condition that comes
// true is not waited for any longer than that takes.
const leastWait = time.Minute

// Wait polls until cond holds, and fails the test when it does not within the
// timeout, or a minute if that is longer. What says what was waited for, with
// arguments as in fmt.Sprintf.
func Wait(t testing.TB, timeout time.Duration, cond func() bool, what string, args ...any) {
	t.Helper()
	timeout = max(timeout, leastWait)
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
