package endpoint

import (
	"context"
	"net"
	"time"

	"holdfast.dev/internal/cache"
)

// helloByte is the first byte of whoever begins with a TLS handshake. No command of RESP
// begins with it, inline ones included: it is a control character.
const helloByte = 0x16

// target is where the clients of a forwarder go: those that speak TLS to secure, if it is
// not zero, all others to plain.
type target struct{ plain, secure cache.Address }

// kind is how a client begins: first is what it has sent already, for its node.
type kind struct {
	secure bool
	first  []byte
}

// mixed tells whether clients of both kinds come here.
func (f *forwarder) mixed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.nodes {
		if !b.secure.IsZero() {
			return true
		}
	}
	return false
}

// greet waits for the first byte of a client where that says to which port of its node it
// is to go. false: it went away before it said anything, or the forwarder ends.
func (f *forwarder) greet(client *net.TCPConn) (kind, bool) {
	if !f.mixed() {
		return kind{}, true
	}
	// Only a deadline ends a read that waits.
	stop := context.AfterFunc(f.ending, func() { _ = client.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	first := make([]byte, 1)
	if _, err := client.Read(first); err != nil {
		return kind{}, false
	}
	return kind{secure: first[0] == helloByte, first: first}, true
}

// doors are the addresses of a node for a client, in the order in which they are tried. A
// node that has come to take nothing but TLS has that at its own port, and nobody
// answers at the second one.
func (f *forwarder) doors(b *backend, k kind) []cache.Address {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k.secure && !b.secure.IsZero() {
		return []cache.Address{b.secure, b.addr}
	}
	return []cache.Address{b.addr}
}

// dial connects to a node at the first of its doors that is open.
func (f *forwarder) dial(b *backend, k kind) (c *net.TCPConn, at cache.Address, err error) {
	d := net.Dialer{Timeout: dialTimeout}
	d.SetMultipathTCP(false)
	for _, at = range f.doors(b, k) {
		var conn net.Conn
		if conn, err = d.DialContext(f.ending, "tcp", hostPort(at)); err == nil {
			c = conn.(*net.TCPConn)
			break
		}
	}
	if err != nil || len(k.first) == 0 {
		return c, at, err
	}
	if _, err := c.Write(k.first); err != nil {
		abort(c)
		return nil, at, err
	}
	return c, at, nil
}

// SetMixed is Set for nodes that serve both kinds of clients, each at a port of its own:
// see cache.Address.TLS. A client is given its node with its first byte. To go from Set to
// this, or back, cuts nobody off.
func (m *Manager) SetMixed(ctx context.Context, at cache.Address, to []cache.Address) error {
	nodes := make([]target, len(to))
	for i, a := range to {
		nodes[i] = target{plain: a, secure: a.TLS()}
	}
	return m.setNodes(ctx, at, "", nodes)
}
