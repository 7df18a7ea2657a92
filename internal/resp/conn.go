package resp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Conn is a logged-in connection. It belongs to one goroutine at a time; Close
// alone may be called from another.
type Conn struct {
	opt      Options
	nc       net.Conn
	r        *Reader
	wbuf     []byte
	greeting Server
	// dead is the first error that was not a server's reply.
	dead error

	mu  sync.Mutex
	cut error // why the connection was cut from outside
}

// Dial connects, logs in, names the connection and selects the database.
func Dial(ctx context.Context, opt Options) (*Conn, error) {
	opt = opt.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, opt.DialTimeout)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, opt.Network, opt.Addr)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", opt, err)
	}
	asked := false
	if opt.TLS != nil {
		tc := tls.Client(nc, askedFor(opt.clientTLS(), &asked))
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot connect to %s: %w", opt, handshakeAdvice(err)), nc.Close())
		}
		nc = tc
	}
	c := &Conn{opt: opt, nc: nc}
	c.r = NewReader(link{c})
	if err := c.hello(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s: %w", opt.DialTimeout, err)
		}
		return nil, errors.Join(fmt.Errorf("cannot log in to %s: %w", opt, lateAdvice(err, asked)), c.Close())
	}
	return c, nil
}

// Options are those the connection was dialled with. They hold the password.
func (c *Conn) Options() Options { return c.opt }

// String is the server's address without its password.
func (c *Conn) String() string { return c.opt.String() }

// LocalAddr is this side's address.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// Close hangs up. It may be called twice.
func (c *Conn) Close() error {
	c.cutWith(net.ErrClosed)
	spilled := c.r.Close()
	if err := c.nc.Close(); err != nil && !errors.Is(err, net.ErrClosed) && c.opt.TLS == nil {
		return errors.Join(fmt.Errorf("cannot close the connection to %s: %w", c.opt, err), spilled)
	}
	return spilled
}

// Do sends one command and reads its reply, which is valid until the next call.
// An error reply is returned as an error: a *ServerError, after which the
// connection goes on working.
func (c *Conn) Do(ctx context.Context, args ...string) (*Reply, error) {
	release := c.Guard(ctx)
	defer release()
	if err := c.Send(AppendCommand(c.wbuf[:0], args...)); err != nil {
		return nil, err
	}
	r, err := c.Receive()
	if err != nil {
		return nil, err
	}
	return r, r.Err()
}

// Send writes commands that are already encoded.
func (c *Conn) Send(cmds []byte) error {
	if c.dead != nil {
		return c.dead
	}
	if cap(cmds) <= keepBuffer {
		c.wbuf = cmds[:0]
	}
	if err := c.write(cmds); err != nil {
		return c.fail(err)
	}
	return nil
}

// Receive reads the next reply; an error reply is a reply like any other.
func (c *Conn) Receive() (*Reply, error) {
	if c.dead != nil {
		return nil, c.dead
	}
	for {
		r, err := c.r.Next()
		if err != nil {
			return nil, c.fail(err)
		}
		if r.Kind != Push {
			return r, nil
		}
		if c.opt.OnPush != nil {
			c.opt.OnPush(r)
		}
	}
}

// Buffered is the number of bytes received and not yet read as replies.
func (c *Conn) Buffered() int { return c.r.Buffered() }

// Raw gives access to the bytes that follow the last reply, for streams that are
// not RESP: the snapshot after PSYNC. Reads obey the timeout and Guard.
func (c *Conn) Raw() io.Reader { return rawReader{c} }

// Guard cuts the connection when ctx ends before release is called. A cut
// connection is dead, and its error is the context's cause.
func (c *Conn) Guard(ctx context.Context) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	stop := context.AfterFunc(ctx, func() { c.cutWith(context.Cause(ctx)) })
	return func() { stop() }
}

// cutWith makes every read and write that is under way or to come fail.
func (c *Conn) cutWith(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut == nil {
		c.cut = why
	}
	// An error here means that the connection is closed already.
	_ = c.nc.SetDeadline(time.Unix(1, 0))
}

// extend allows one more Timeout, unless the connection has been cut.
func (c *Conn) extend(set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut != nil {
		return c.cut
	}
	return set(time.Now().Add(c.opt.Timeout))
}

func (c *Conn) write(p []byte) error {
	for len(p) > 0 {
		// Piecewise, so that the timeout bounds standing still and not the whole.
		piece := p[:min(len(p), 1<<20)]
		if err := c.extend(c.nc.SetWriteDeadline); err != nil {
			return err
		}
		n, err := c.nc.Write(piece)
		if err != nil {
			return c.explain(err)
		}
		p = p[n:]
	}
	return nil
}

func (c *Conn) read(p []byte) (int, error) {
	if err := c.extend(c.nc.SetReadDeadline); err != nil {
		return 0, err
	}
	n, err := c.nc.Read(p)
	if err != nil {
		err = c.explain(err)
	}
	return n, err
}

// explain replaces the error of a deadline by its reason.
func (c *Conn) explain(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut != nil {
		return c.cut
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("stood still for %s: %w", c.opt.Timeout, err)
	}
	return err
}

// fail remembers the first error and names the server in it.
func (c *Conn) fail(err error) error {
	if c.dead == nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
		}
		c.dead = fmt.Errorf("connection to %s lost: %w", c.opt, err)
		if spill := (*SpillError)(nil); errors.As(err, &spill) {
			c.dead = fmt.Errorf("cannot read from %s: %w", c.opt, spill)
		}
	}
	return c.dead
}

// link is the Conn as its Reader sees it.
type link struct{ c *Conn }

func (l link) Read(p []byte) (int, error) { return l.c.read(p) }

type rawReader struct{ c *Conn }

func (r rawReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if n := r.c.r.take(p); n > 0 {
		return n, nil
	}
	if r.c.dead != nil {
		return 0, r.c.dead
	}
	n, err := r.c.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.c.fail(err)
	}
	return n, err
}
