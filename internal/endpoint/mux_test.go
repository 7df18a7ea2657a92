package endpoint_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"holdfast.dev/internal/authority"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/endpoint"
)

// twin is a node with a plain port and one for TLS, each of which answers with its name
// and what it was told. Without plain it takes nothing but TLS, at its own port.
type twin struct {
	at    cache.Address
	roots *x509.CertPool
	ls    []net.Listener
}

func startTwin(t *testing.T, a *authority.Authority, at cache.Address, both bool) *twin {
	t.Helper()
	n := &twin{at: at, roots: x509.NewCertPool()}
	n.roots.AppendCertsFromPEM(a.Bundle())
	secure := at
	if both {
		secure = at.TLS()
		n.serve(t, at, "plain", nil)
	}
	n.serve(t, secure, "secure", a.Server([]string{at.Host}))
	return n
}

func (n *twin) serve(t *testing.T, at cache.Address, name string, cfg *tls.Config) {
	t.Helper()
	l, err := net.Listen("tcp", hostPort(at))
	if err != nil {
		t.Fatal(err)
	}
	if cfg != nil {
		l = tls.NewListener(l, cfg)
	}
	n.ls = append(n.ls, l)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			word := make([]byte, 5)
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := io.ReadFull(c, word); err == nil {
				_, _ = io.WriteString(c, name+" "+string(word))
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
}

func (n *twin) stop() {
	for _, l := range n.ls {
		_ = l.Close()
	}
}

// says is what a client is answered.
func says(t *testing.T, c net.Conn) string {
	t.Helper()
	defer c.Close()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// Both kinds of clients come to the same address, and each gets to the port that is for it,
// with all that it has said; with TLS all the way to the node. One that says nothing keeps
// nobody waiting, and no forwarder from ending.
func TestBothKindsOfClientsAtOneAddress(t *testing.T) {
	a, err := authority.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	m := manager(t, endpoint.Config{})
	at := forward(t, m, cache.Address{Host: anyHost(), Port: 1})
	nodeAt := cache.Address{Host: anyHost(), Port: at.Port}
	node := startTwin(t, a, nodeAt, true)
	if err := m.SetMixed(t.Context(), at, []cache.Address{nodeAt}); err != nil {
		t.Fatal(err)
	}
	secure := func() net.Conn {
		t.Helper()
		c := tls.Client(dial(t, at), &tls.Config{RootCAs: node.roots, ServerName: nodeAt.Host, MinVersion: tls.VersionTLS12})
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	silent := dial(t, at)
	if got := says(t, dial(t, at)); got != "plain hello" {
		t.Errorf("a plain client is answered %q", got)
	}
	if got := says(t, secure()); got != "secure hello" {
		t.Errorf("a client with TLS is answered %q", got)
	}

	// The node has come to take nothing but TLS before the forwarder is told.
	node.stop()
	startTwin(t, a, nodeAt, false)
	if got := says(t, secure()); got != "secure hello" {
		t.Errorf("afterwards a client with TLS is answered %q", got)
	}

	if err := m.Remove(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if !ended(silent) {
		t.Error("a client that said nothing is still connected")
	}
}

// A forwarder that comes to tell its clients apart, or does not any more, goes on with
// those that it has.
func TestFromOneKindToBothCutsNobodyOff(t *testing.T) {
	n := serve(t, "a", echo)
	m := manager(t, endpoint.Config{})
	at := forward(t, m, n.addr)
	c := dial(t, at)
	greeting(t, c)
	for _, set := range []func() error{
		func() error { return m.SetMixed(t.Context(), at, []cache.Address{n.addr}) },
		func() error { return m.Set(t.Context(), at, []cache.Address{n.addr}) },
	} {
		if err := set(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	}
}
