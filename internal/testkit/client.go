package testkit

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	dialTimeout  = 20 * time.Second
	replyTimeout = 60 * time.Second
)

// ReplyError is an error that the server answered.
type ReplyError string

func (e ReplyError) Error() string { return string(e) }

// link is the connection that Do uses.
type link struct {
	conn net.Conn
	in   *bufio.Reader
}

// Do sends a command and returns the reply: string, int64, nil, []any of these,
// or ReplyError. Arguments are sent as fmt.Sprint writes them, []byte as it is.
// It fails the test when there is no reply within a minute. All calls of a server share one
// connection, which is made anew after a restart.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	reply, err := s.Try(args...)
	var answered ReplyError
	if errors.As(err, &answered) {
		return answered
	}
	if err != nil {
		s.t.Fatalf("%v; the engine's log:\n%s", err, tail(s.Log(), 4000))
	}
	return reply
}

// Must is Do for commands that have to succeed: an error reply fails the test.
func (s *Server) Must(args ...any) any {
	s.t.Helper()
	reply := s.Do(args...)
	if err, ok := reply.(ReplyError); ok {
		s.t.Fatalf("%v answered %v", args, err)
	}
	return reply
}

// Try is Do that returns errors, ReplyError among them. It may be called from any goroutine.
func (s *Server) Try(args ...any) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reply, err := s.exchange(args)
	var answered ReplyError
	if err != nil && !errors.As(err, &answered) {
		s.drop()
		return nil, fmt.Errorf("cannot ask %s: %w", s.Addr(), err)
	}
	return reply, err
}

// Info is a section of INFO ("" for the default ones) by field.
func (s *Server) Info(section string) map[string]string {
	s.t.Helper()
	args := []any{"INFO"}
	if section != "" {
		args = append(args, section)
	}
	text, ok := s.Must(args...).(string)
	if !ok {
		s.t.Fatal("INFO answered no text")
	}
	fields := map[string]string{}
	for line := range strings.SplitSeq(text, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && line[0] != '#' {
			fields[k] = v
		}
	}
	return fields
}

// hangUp closes the connection that Do uses, if there is one.
func (s *Server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

func (l *link) drop() {
	if l.conn == nil {
		return
	}
	// Nothing is lost when closing fails: every command has had its reply, or failed.
	_ = l.conn.Close()
	l.conn, l.in = nil, nil
}

func (s *Server) exchange(args []any) (any, error) {
	if s.conn == nil {
		conn, err := s.dial()
		if err != nil {
			return nil, err
		}
		s.conn, s.in = conn, bufio.NewReader(conn)
		if s.password != "" {
			if _, err := s.roundTrip([]any{"AUTH", s.password}); err != nil {
				s.drop()
				return nil, err
			}
		}
	}
	return s.roundTrip(args)
}

// dial connects as the server speaks.
func (s *Server) dial() (net.Conn, error) {
	d := &net.Dialer{Timeout: dialTimeout}
	if s.tls != nil {
		return tls.DialWithDialer(d, "tcp", s.Addr(), s.tls)
	}
	return d.Dial("tcp", s.Addr())
}

func (l *link) roundTrip(args []any) (any, error) {
	if err := l.conn.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return nil, err
	}
	if _, err := l.conn.Write(command(args)); err != nil {
		return nil, err
	}
	return readReply(l.in)
}

// command is a command on the wire.
func command(args []any) []byte {
	out := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b, ok := a.([]byte)
		if !ok {
			b = fmt.Append(nil, a)
		}
		out = fmt.Appendf(out, "$%d\r\n", len(b))
		out = append(append(out, b...), "\r\n"...)
	}
	return out
}

func readReply(in *bufio.Reader) (any, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("an empty line came for a reply")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, ReplyError(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("no reply begins with %q", line)
	}
	switch kind {
	case ':':
		return n, nil
	case '$':
		return readBulk(in, n)
	case '*':
		return readArray(in, n)
	}
	return nil, fmt.Errorf("no reply begins with %q", line)
}

func readBulk(in *bufio.Reader, n int64) (any, error) {
	if n < 0 {
		return nil, nil
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, err
	}
	return string(b[:n]), nil
}

func readArray(in *bufio.Reader, n int64) (any, error) {
	if n < 0 {
		return nil, nil
	}
	out := make([]any, n)
	for i := range out {
		v, err := readReply(in)
		var answered ReplyError
		if errors.As(err, &answered) {
			v = answered // of one command in a transaction
		} else if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}
