package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// dialTimeout and stillTimeout bound what a caller without a deadline waits for.
const (
	dialTimeout  = 5 * time.Second
	stillTimeout = 30 * time.Second
)

// link is the administrator's connection to one node, made when needed and kept.
type link struct {
	turn sem
	// ways are those to reach a node.
	ways func(cache.NodeSpec) []resp.Options
	c    *resp.Conn
	opt  resp.Options
}

// use calls f with a connection. One that was kept may have died with an earlier
// process of the node, so f is called again on a new one if it finds that out:
// everything that f does must bear being done twice.
func (l *link) use(ctx context.Context, spec cache.NodeSpec, f func(*resp.Conn) error) error {
	unlock, err := l.turn.lock(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer unlock()
	ways := l.ways(spec)
	if l.c != nil && !slices.ContainsFunc(ways, l.same) {
		l.drop()
	}
	for {
		kept := l.c != nil
		if !kept {
			if l.c, l.opt, err = reach(ctx, ways); err != nil {
				l.c = nil
				return classify(err)
			}
		}
		err := f(l.c)
		if err == nil || resp.IsServerError(err) {
			return classify(err)
		}
		if errors.Is(err, errReply) {
			return err
		}
		l.drop()
		if !kept || ctx.Err() != nil || !hungUp(err) {
			return classify(err)
		}
	}
}

// adminOptions are how the administrator logs in: with AUTH, for Redis 6.0 does
// not take HELLO while it reads its data.
func adminOptions(at cache.Address, secret string) resp.Options {
	return resp.Options{
		Addr: hostPort(at), Username: AdminUser, Password: secret, RESP2: true,
		Name: AdminUser, DialTimeout: dialTimeout, Timeout: stillTimeout,
	}
}

// same tells whether the connection was made in this way.
func (l *link) same(way resp.Options) bool {
	return l.opt.Addr == way.Addr && l.opt.Password == way.Password && (l.opt.TLS == nil) == (way.TLS == nil)
}

// drop forgets the connection. That it cannot be closed changes nothing.
func (l *link) drop() {
	if l.c != nil {
		_ = l.c.Close()
		l.c = nil
	}
}

func (l *link) close() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.c == nil {
		return nil
	}
	err := l.c.Close()
	l.c = nil
	return err
}

// errReply: the engine answered something that makes no sense.
var errReply = errors.New("the engine's reply makes no sense")

func hungUp(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// classify adds which of the package's errors it is.
func classify(err error) error {
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case resp.IsServerError(err, "BUSY", "LOADING", "BUSYKEY"), maxClients(err):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case resp.IsServerError(err, "WRONGPASS", "NOAUTH", "NOPERM"):
		return fmt.Errorf("%w: %w", ErrLogin, err)
	case resp.IsServerError(err):
		return err
	case errors.Is(err, syscall.ECONNREFUSED), hungUp(err):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return err
}

func maxClients(err error) bool {
	var se *resp.ServerError
	return errors.As(err, &se) && strings.Contains(se.Text, "max number of clients")
}
