package memcache

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Server is how to come to one memcached.
type Server struct {
	// Network and Addr as net.Dial takes them: "tcp" or "unix".
	Network, Addr string
	// User and Password for the text protocol's own authentication; no user means none.
	User, Password string
	// TLS, nil for none.
	TLS *tls.Config
}

// Errors of a server; told apart with errors.Is.
var (
	// ErrLogin: the server does not take the password.
	ErrLogin = errors.New("the server does not let this user in")
	// ErrReply: what the server said is not of the protocol.
	ErrReply = errors.New("unexpected reply")
	// ErrTooOld: the server has no meta protocol.
	ErrTooOld = errors.New("the server is older than 1.6 and has no meta protocol")
)

const (
	dialTimeout = 10 * time.Second
	// silence is how long a server may say nothing when it is asked something.
	silence = 60 * time.Second
	// longestLine of a reply; the lines of a dump hold a key, three bytes for each of its.
	longestLine = 4096
	// usualLine is longer than most.
	usualLine = 1024
)

// conn is one connection.
type conn struct {
	net.Conn
	in *bufio.Reader
	// server's version, in its parts.
	version [3]int
	stop    func() bool
}

// dial connects, logs in and asks for the version.
func (s *Server) dial(ctx context.Context) (*conn, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", s.Addr, err)
	}
	return c, nil
}

func (s *Server) connect(ctx context.Context) (*conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	raw, err := d.DialContext(ctx, s.Network, s.Addr)
	if err != nil {
		return nil, err
	}
	if s.TLS != nil {
		k := tls.Client(raw, s.tlsFor())
		if err := k.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		raw = k
	}
	c := &conn{Conn: raw, in: bufio.NewReaderSize(raw, 64<<10)}
	c.stop = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err = s.login(c)
	if err == nil {
		err = c.askVersion()
	}
	if err != nil {
		return nil, errors.Join(ctx.Err(), err, c.close())
	}
	return c, nil
}

// close ends the connection. An error says that it had ended already.
func (c *conn) close() error {
	c.stop()
	if err := c.Conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *Server) login(c *conn) error {
	if s.User == "" {
		return nil
	}
	secret := s.User + " " + s.Password
	if err := c.say("set auth 0 0 " + strconv.Itoa(len(secret)) + "\r\n" + secret + "\r\n"); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	if line != "STORED" {
		return fmt.Errorf("%w: %s", ErrLogin, line)
	}
	return nil
}

func (c *conn) askVersion() error {
	if err := c.say("version\r\n"); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	text, ok := strings.CutPrefix(line, "VERSION ")
	if !ok {
		if strings.Contains(line, "unauthenticated") {
			return fmt.Errorf("%w: it wants a user and a password", ErrLogin)
		}
		return fmt.Errorf("%w to version: %.100q", ErrReply, line)
	}
	for i, part := range strings.SplitN(text, ".", 3) {
		// What follows the digits names a build.
		digits := strings.TrimRightFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if c.version[i], err = strconv.Atoi(digits); err != nil {
			return fmt.Errorf("%w to version: %.100q", ErrReply, line)
		}
	}
	if !c.since(1, 6, 0) {
		return fmt.Errorf("%w: it is %s", ErrTooOld, text)
	}
	return nil
}

// since tells whether the server is of this version or a newer one.
func (c *conn) since(major, minor, patch int) bool {
	for i, want := range [3]int{major, minor, patch} {
		if c.version[i] != want {
			return c.version[i] > want
		}
	}
	return true
}

func (c *conn) say(text string) error {
	_, err := c.Write([]byte(text))
	return err
}

// alive gives the server time for its next answer.
func (c *conn) alive(ctx context.Context) error {
	// Writes have none: one that waits ends with the connection, which whoever reads closes, and it may
	// be for us that the server waits.
	if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	// The end of the context may have set a deadline that has just been put off.
	return ctx.Err()
}

// ready is alive where fewer than n bytes have come already.
func (c *conn) ready(ctx context.Context, n int) error {
	if c.in.Buffered() >= n {
		return nil
	}
	return c.alive(ctx)
}

// line reads one, without its end.
func (c *conn) line() (string, error) {
	b, err := c.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(b) > longestLine {
		return "", fmt.Errorf("%w: a line of more than %d bytes", ErrReply, longestLine)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
