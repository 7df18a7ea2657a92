package endpoint

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"holdfast.dev/internal/cache"
)

const (
	// loginSession is how long a client stays that has logged in with a token.
	loginSession = 12 * time.Hour
	// handshakeTime is how long a client, or a node, may take to shake hands.
	handshakeTime = 10 * time.Second
)

// Door is what forwarders ask about clients that may log in with tokens of IAM. Its methods
// are called from many goroutines.
type Door interface {
	// Server is how an endpoint of that host speaks TLS, and Client how one does it with a
	// node of that host.
	Server(host string) *tls.Config
	Client(host string) *tls.Config
	// Login judges what a client says of itself.
	Login(ctx context.Context, l Login) Verdict
	// Expired is told of a client whose session has ended.
	Expired(unit string)
}

// Login is a user name and what was given as its password.
type Login struct {
	// Unit is the key of the replication group.
	Unit        string
	User, Token string
	// From is the address of the client.
	From string
	// Queued: it is part of a transaction, where nobody can log in with a token.
	Queued bool
}

// Verdict is what a Door thinks of a Login. The zero one leaves it to the engine: a wrong
// token is a wrong password there too.
type Verdict struct {
	// Password with which the engine knows a user whose token is good.
	Password string
	// Refused: the engine is not to see it at all. It is one that is Queued.
	Refused bool
}

// SetLogin is Set, or SetMixed, for the endpoints of a cache some of whose users log in with
// tokens: that of a user is given to the Door, and what the Door says goes to the engine in its
// place. All nodes are reached by TLS, and all clients have to use it unless mixed. What is
// connected already stays as it is.
func (m *Manager) SetLogin(ctx context.Context, at cache.Address, to []cache.Address, unit string, mixed bool) error {
	if m.cfg.Door == nil || unit == "" {
		return fmt.Errorf("cannot forward %s: %w: nobody checks tokens for %q", hostPort(at), cache.ErrPermanent, unit)
	}
	nodes := make([]target, len(to))
	for i, a := range to {
		nodes[i].plain = a
		if mixed {
			nodes[i].secure = a.TLS()
		}
	}
	return m.setNodes(ctx, at, unit, nodes)
}

// begun is a connection of which something was read already.
type begun struct {
	*net.TCPConn
	first []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) == 0 {
		return b.TCPConn.Read(p)
	}
	n := copy(p, b.first)
	b.first = b.first[n:]
	return n, nil
}

// stream is one side of a connection: with TLS or without.
type stream interface {
	net.Conn
	CloseWrite() error
}

// admit is one client of a forwarder that looks at log-ins, from beginning to end. unit is
// whose it is.
func (f *forwarder) admit(client *net.TCPConn, k kind, unit string) {
	var c stream = &begun{client, k.first}
	if k.secure || len(k.first) == 0 {
		t := tls.Server(c, f.server())
		if f.shake(t, client) != nil {
			abort(client)
			return
		}
		c = t
	}
	p := f.connect(client, kind{secure: true})
	if p == nil {
		abort(client)
		return
	}
	defer f.forget(p)
	node := tls.Client(p.server, f.m.cfg.Door.Client(p.at.Host))
	if err := f.shake(node, p.server); err != nil {
		if f.ending.Err() == nil {
			f.m.cfg.Log.Warn("a node does not speak TLS with an endpoint", "endpoint", hostPort(f.at), "node", hostPort(p.at), "error", err)
		}
		p.cut()
		return
	}
	host, _, _ := net.SplitHostPort(client.RemoteAddr().String())
	s := &session{f: f, p: p, client: c, node: node, unit: unit, from: host}
	s.run()
}

// shake shakes hands, unless that takes too long or the forwarder ends.
func (f *forwarder) shake(t *tls.Conn, under *net.TCPConn) error {
	ctx, cancel := context.WithTimeout(f.ending, handshakeTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	return under.SetDeadline(time.Time{})
}

// server is how this address speaks TLS.
func (f *forwarder) server() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tls == nil {
		f.tls = f.m.cfg.Door.Server(f.at.Host)
	}
	return f.tls
}

// session is one client that may log in with a token, and the node that it was given.
type session struct {
	f            *forwarder
	p            *pair
	client, node stream
	unit, from   string
	timer        func() bool // stops the clock of the last log-in; nil before the first one
}

// run passes bytes on until both directions have ended.
func (s *session) run() {
	ctx, cancel := context.WithCancel(s.f.ending)
	var other sync.WaitGroup
	other.Go(func() {
		defer cancel() // a log-in that is being judged is nobody's any more
		s.direct(s.client, s.p.client, s.back)
		_ = s.p.client.SetReadDeadline(time.Now().Add(lingering))
	})
	s.direct(s.node, s.p.server, func() error { return s.forth(ctx) })
	other.Wait()
	if s.timer != nil {
		s.timer()
	}
	if !s.p.broken.Load() {
		_ = s.p.client.Close()
		_ = s.p.server.Close()
	}
}

// direct passes one direction on, its end included.
func (s *session) direct(to stream, under *net.TCPConn, pass func() error) {
	if err := pass(); err != nil {
		s.p.cut()
		return
	}
	// What TLS calls an end is none that everybody understands.
	_ = to.CloseWrite()
	if _, encrypted := to.(*tls.Conn); encrypted {
		_ = under.CloseWrite()
	}
}

// stay gives the client its time anew.
func (s *session) stay() {
	if s.timer != nil {
		s.timer()
	}
	s.timer = s.f.m.cfg.After(loginSession, func() {
		if !s.p.broken.Load() {
			s.f.m.cfg.Door.Expired(s.unit)
		}
		s.p.cut()
	})
}
