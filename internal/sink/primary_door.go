package sink

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of the handshake, so that strangers cost little.
const (
	handshakeTimeout = 30 * time.Second
	maxHandshakes    = 16
)

// Link is a connection over which our replica asked for data by PSYNC. It has got no answer yet.
type Link struct {
	// ReplID and Offset are what it has, "?" and -1 for nothing: Offset is the next byte that it wants.
	ReplID string
	Offset int64

	conn net.Conn
	r    *bufio.Reader
	// idle is how long it may neither send nor take a byte.
	idle time.Duration
}

// Write sends. A replica that takes nothing for too long is an error.
func (l *Link) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		if err := l.conn.SetWriteDeadline(time.Now().Add(l.idle)); err != nil {
			return sent, err
		}
		n, err := l.conn.Write(p[sent:min(sent+1<<20, len(p))])
		sent += n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// Ack waits for the replica's next acknowledgement: the offset up to which it has
// applied everything. What else it says is passed over.
func (l *Link) Ack() (int64, error) {
	for {
		args, err := readRequest(l.r)
		if err != nil {
			return 0, err
		}
		if len(args) >= 3 && strings.EqualFold(args[0], "REPLCONF") && strings.EqualFold(args[1], "ACK") {
			return strconv.ParseInt(args[2], 10, 64)
		}
	}
}

// Close hangs up.
func (l *Link) Close() error { return l.conn.Close() }

// renewed is a connection whose reads wait for at most d each.
type renewed struct {
	net.Conn
	d time.Duration
}

func (r *renewed) Read(p []byte) (int, error) {
	if err := r.SetReadDeadline(time.Now().Add(r.d)); err != nil {
		return 0, err
	}
	return r.Conn.Read(p)
}

// door lets replicas in. Only the newest is kept: a replica that calls again has
// given its older call up.
type door struct {
	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
	came   chan *Link
	// refused gets the error after which no call can succeed.
	refused chan error
	admit   func(net.Conn) (*Link, error)
	// turned counts those who were turned away.
	turned int
}

func (d *door) open(l net.Listener, admit func(net.Conn) (*Link, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns, d.came, d.refused, d.admit = map[net.Conn]bool{}, make(chan *Link, 1), make(chan error, 1), admit
	d.wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(10 * time.Millisecond) // out of descriptors: others may give theirs back
				continue
			}
			d.greet(c)
		}
	})
}

// greet goes through the handshake beside the others'.
func (d *door) greet(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.conns) >= maxHandshakes {
		_ = c.Close()
		return
	}
	d.conns[c] = true
	d.wg.Go(func() {
		link, err := d.admit(c)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.conns, c)
		if err != nil || d.closed {
			d.turnAway(err)
			_ = c.Close()
			return
		}
		select {
		case old := <-d.came:
			_ = old.Close()
		default:
		}
		d.came <- link
	})
}

func (d *door) close() {
	d.mu.Lock()
	d.closed = true
	for c := range d.conns {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
	select {
	case l := <-d.came:
		_ = l.Close()
	default:
	}
}

// Accept waits for the server to call and to ask for data. That it does not accept our
// certificate is an ErrNoReplicaOf.
func (f *Follower) Accept(ctx context.Context) (*Link, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case l := <-f.door.came:
		return l, nil
	case err := <-f.door.refused:
		return nil, err
	}
}

// Called is the channel of Accept, for those who wait for other things too.
func (f *Follower) Called() <-chan *Link { return f.door.came }

// admit goes through the handshake with whoever called. It gives data to nobody who
// does not know the secret, or, where none could be set, comes from elsewhere.
func (f *Follower) admit(raw net.Conn) (*Link, error) {
	c, err := f.shake(context.Background(), raw)
	if err != nil {
		return nil, err
	}
	known := f.secret != ""
	if !known {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		defer cancel()
		if !addressesOf(ctx, f.target)[hostOf(c.RemoteAddr().String())] {
			return nil, errors.New("it comes from elsewhere")
		}
		known = true
	} else {
		known = false
	}
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	for {
		args, err := readRequest(r)
		if err != nil {
			return nil, err
		}
		answer := "+OK\r\n"
		switch strings.ToUpper(args[0]) {
		case "PING":
			answer = "+PONG\r\n"
		case "AUTH":
			if known = f.secret == "" || f.isSecret(args[1:]); !known {
				return nil, refuse(c, "-WRONGPASS that is not the password\r\n")
			}
		case "REPLCONF":
			if !known {
				return nil, refuse(c, "-NOAUTH Authentication required.\r\n")
			}
		case "PSYNC":
			if !known {
				return nil, refuse(c, "-NOAUTH Authentication required.\r\n")
			}
			return f.link(c, r, args)
		default:
			return nil, refuse(c, "-ERR this serves one replica and nothing else\r\n")
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return nil, err
		}
	}
}

func refuse(c net.Conn, answer string) error {
	_, err := io.WriteString(c, answer)
	return errors.Join(errRequest, err)
}

// isSecret compares AUTH's arguments without telling by its time how much of them is right.
func (f *Follower) isSecret(args []string) bool {
	if len(args) == 0 || len(args) > 2 {
		return false
	}
	user := ""
	if len(args) == 2 {
		user = args[0]
	}
	good := subtle.ConstantTimeCompare([]byte(args[len(args)-1]), []byte(f.secret)) & subtle.ConstantTimeCompare([]byte(user), []byte(f.user))
	return good == 1
}

// link is what is left of a handshake that ended with PSYNC.
func (f *Follower) link(c net.Conn, r *bufio.Reader, args []string) (*Link, error) {
	if len(args) < 3 {
		return nil, errRequest
	}
	off, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	if r.Buffered() > 0 {
		return nil, errRequest
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	idle := f.target.Timeout
	if idle <= 0 {
		idle = linkTimeout
	}
	return &Link{ReplID: args[1], Offset: off, conn: c, r: bufio.NewReader(&renewed{c, idle}), idle: idle}, nil
}

// linkTimeout is how long a replica may do nothing at all: a large value takes it seconds to load.
const linkTimeout = 2 * time.Minute
