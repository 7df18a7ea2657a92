package gateway

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// answered is a connection to a child that may answer before it has read a whole
// request: it refuses an upload, closes, and leaves its answer to be read. The HTTP
// transport would report the failed write and throw that answer away, so writes
// into a connection that broke under a request go nowhere instead. When there is no answer
// either, reading tells.
type answered struct {
	net.Conn
	begun atomic.Bool // whether anything has ever gone out
}

func (c *answered) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil {
		c.begun.Store(true)
		return n, nil
	}
	if c.begun.Load() && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
		return len(p), nil
	}
	return n, err
}
