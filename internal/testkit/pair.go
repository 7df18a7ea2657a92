package testkit

import (
	"net"
	"strconv"
	"sync"
	"time"
)

// pair is one connection through a proxy: the client's and ours to the target.
type pair struct {
	client, server net.Conn
	once           sync.Once
	done           chan struct{} // closed when it is over
}

// cut resets both connections, so that the ends see an error and not an orderly end.
func (c *pair) cut() {
	c.once.Do(func() {
		close(c.done)
		reset(c.client)
		reset(c.server)
	})
}

// close ends both in order.
func (c *pair) close() {
	c.once.Do(func() {
		close(c.done)
		// The ends have had everything, or are gone.
		_ = c.client.Close()
		_ = c.server.Close()
	})
}

// sleep returns false when the connection is over.
func (c *pair) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.done:
		return false
	}
}

// reset closes with RST instead of FIN.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		// If the option cannot be set the connection is gone already.
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func portText(port int) string { return strconv.Itoa(port) }

func addrPort(addr string) int {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return port
}
