package endpoint

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast.dev/internal/cache"
)

// bufferSize: large enough to move big values fast, small enough that hundreds
// of busy connections do not matter.
const bufferSize = 64 << 10

// lingering is how long a client may keep its side of a connection that its node has ended.
const lingering = 30 * time.Second

// buffers are lent only while bytes are under way; an idle connection has none.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// pair is a client and the node that it was given.
type pair struct {
	client, server *net.TCPConn
	node           *backend
	at             cache.Address // the one of its addresses that was dialled
	// broken is set once one side ended abruptly or the pair was cut off.
	broken atomic.Bool
}

// cut ends both connections at once. It may be called from any goroutine.
func (p *pair) cut() {
	if !p.broken.Swap(true) {
		abort(p.client)
		abort(p.server)
	}
}

// abort closes a connection with RST: nothing that is still in it will arrive.
func abort(c *net.TCPConn) {
	// Errors mean that it is closed already.
	_ = c.SetLinger(0)
	_ = c.Close()
}

// pump passes bytes on until both directions have ended.
func (p *pair) pump() {
	var other sync.WaitGroup
	other.Go(func() {
		p.direction(p.client, p.server)
		// An engine never goes on reading from a connection that it has ended, so a
		// client that keeps its side open for long only holds descriptors.
		_ = p.client.SetReadDeadline(time.Now().Add(lingering))
	})
	p.direction(p.server, p.client)
	other.Wait()
	if !p.broken.Load() {
		_ = p.client.Close()
		_ = p.server.Close()
	}
}

// direction passes one direction on, its end included.
func (p *pair) direction(to, from *net.TCPConn) {
	if err := pass(to, from); err != nil {
		p.cut()
		return
	}
	if err := to.CloseWrite(); err != nil {
		p.cut()
	}
}

// pass copies until from ends; nil means that it ended in good order.
func pass(to, from *net.TCPConn) error {
	raw, err := from.SyscallConn()
	if err != nil {
		return err
	}
	for {
		buf, n, err := readSome(raw)
		if n > 0 {
			_, werr := to.Write(buf[:n])
			buffers.Put(buf)
			err = errors.Join(err, werr)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// readSome waits for bytes without holding a buffer, then takes as many as there
// are. With n > 0 the buffer is the caller's, to be given back.
func readSome(raw syscall.RawConn) (buf *[bufferSize]byte, n int, err error) {
	rerr := raw.Read(func(fd uintptr) bool {
		buf = buffers.Get().(*[bufferSize]byte)
		for {
			n, err = syscall.Read(int(fd), buf[:])
			if err != syscall.EINTR {
				break
			}
		}
		if n <= 0 {
			buffers.Put(buf)
			buf = nil
		}
		return err != syscall.EAGAIN
	})
	switch {
	case rerr != nil:
		return nil, 0, rerr
	case err != nil:
		return nil, 0, os.NewSyscallError("read", err)
	case n == 0:
		return nil, 0, io.EOF
	}
	return buf, n, nil
}
