package monitor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"syscall"
	"time"

	"holdfast.dev/internal/cache"
)

// secureLine is a connection that is encrypted: what comes is read by a goroutine of
// its own, which ends with the connection.
type secureLine struct {
	raw  net.Conn
	c    *tls.Conn
	came chan heard
	done chan struct{}
}

// heard is what came at once, or why nothing will.
type heard struct {
	text []byte
	err  error
}

// askWait is how long the question may take to be written. It fits into any buffer.
const askWait = beat

func newSecureLine(raw net.Conn, c *tls.Conn) *secureLine {
	s := &secureLine{raw: raw, c: c, came: make(chan heard, 1), done: make(chan struct{})}
	go s.read()
	return s
}

// read passes on what comes. To one question there is one answer, so that it never waits
// for long for somebody to hear it.
func (s *secureLine) read() {
	defer close(s.done)
	defer close(s.came)
	for {
		buf := make([]byte, 128)
		n, err := s.c.Read(buf)
		s.came <- heard{buf[:n], err}
		if err != nil {
			return
		}
	}
}

func (s *secureLine) ask() error {
	if err := s.c.SetWriteDeadline(time.Now().Add(askWait)); err != nil {
		return err
	}
	_, err := s.c.Write(question)
	return err
}

// hear takes what has come; nothing if nothing has.
func (s *secureLine) hear() ([]byte, error) {
	select {
	case h, open := <-s.came:
		if !open {
			return nil, errEnded
		}
		if len(h.text) > 0 {
			return h.text, nil // an error comes again
		}
		return nil, h.err
	default:
		return nil, nil
	}
}

// close hangs up, without a farewell for which one might have to wait.
func (s *secureLine) close() {
	// That it fails changes nothing: the connection is of no use any more.
	_ = s.raw.Close()
	for range s.came { // the reader may be about to pass something on
	}
	<-s.done
}

// call connects to the first address of a node that takes connections, encrypted where it
// has to be. raw is what to end it by.
func call(ctx context.Context, login cache.Login) (raw net.Conn, c net.Conn, err error) {
	d := net.Dialer{Timeout: dialTime}
	d.SetMultipathTCP(false) // a plain socket, next door
	for _, at := range []cache.Address{login.Address, login.Also} {
		if at.IsZero() {
			break
		}
		host := at.Host
		raw, err = d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(at.Port)))
		if err == nil && login.TLS != nil {
			cfg := login.TLS.Clone()
			cfg.ServerName = host
			return raw, tls.Client(raw, cfg), nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
	}
	return raw, raw, err
}
