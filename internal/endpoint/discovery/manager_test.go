package discovery

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// named stands in for a memcached: whatever line it is sent, it says its name.
func named(name string, down *atomic.Bool) Dial {
	return func(context.Context) (net.Conn, error) {
		if down != nil && down.Load() {
			return nil, errors.New("it is down")
		}
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			for b := make([]byte, 512); ; {
				if _, err := theirs.Read(b); err != nil {
					return
				}
				if _, err := io.WriteString(theirs, name+"\r\n"); err != nil {
					return
				}
			}
		}()
		return ours, nil
	}
}

// doorAt is a free address.
func doorAt(t *testing.T, to ...Dial) Door {
	t.Helper()
	l := testkit.Listen(t)
	a := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return Door{Host: a.IP.String(), Port: a.Port, To: to}
}

// visit connects to a door and says a line; the answer is up to the end of a line.
func visit(d Door, line string) (net.Conn, string, error) {
	c, err := net.Dial("tcp", d.address())
	if err != nil {
		return nil, "", err
	}
	answer, err := ask(c, line)
	return c, answer, err
}

func ask(c net.Conn, line string) (string, error) {
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, line+"\r\n"); err != nil {
		return "", err
	}
	b := make([]byte, 512)
	n, err := c.Read(b)
	return strings.TrimSpace(string(b[:n])), err
}

func manager(t *testing.T) *Manager {
	m := NewManager(ManagerConfig{ListenWait: time.Millisecond})
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func wantVisit(t *testing.T, d Door, line, want string) net.Conn {
	t.Helper()
	c, got, err := visit(d, line)
	if err != nil || got != want {
		t.Fatalf("%s says %q (%v), want %q", d.address(), got, err, want)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestManagerSetsDoors(t *testing.T) {
	m, ctx := manager(t), t.Context()
	one, two := doorAt(t, named("one", nil)), doorAt(t, named("two", nil))
	list := func(v int) List { return List{Version: v, Nodes: []Node{{Host: "h", Port: 1}}} }
	answer := func(v int) string { return fmt.Sprintf("CONFIG cluster 0 7\r\n%d\nh||1\n\r\nEND", v) }
	if err := m.Set(ctx, "c", []Door{one, two}, list(1)); err != nil {
		t.Fatal(err)
	}
	first := wantVisit(t, one, "get k", "one")
	second := wantVisit(t, two, "get k", "two")

	// Those that stay learn of the change and keep their clients, the others end.
	one.To = []Dial{named("new", nil)}
	if err := m.Set(ctx, "c", []Door{one}, list(2)); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(first, "get k"); err != nil || got != "one" {
		t.Errorf("a client that was there hears %q (%v)", got, err)
	}
	wantVisit(t, one, "get k", "new")
	if got, err := ask(second, "get k"); err == nil {
		t.Errorf("a client of a door that was closed hears %q", got)
	}
	if _, _, err := visit(two, "get k"); err == nil {
		t.Error("a door that was closed is open")
	}

	// One that cannot be opened is told of, and the others are set all the same.
	taken := testkit.Listen(t)
	defer taken.Close()
	a := taken.Addr().(*net.TCPAddr)
	err := m.Set(ctx, "c", []Door{{Host: a.IP.String(), Port: a.Port}, one, two}, list(3))
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("of an address that is taken: %v", err)
	}
	wantVisit(t, two, "get k", "two")
	real := testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[0]))
	one.To = []Dial{func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", real.Socket)
	}}
	if err := m.Set(ctx, "c", []Door{one, two}, list(3)); err != nil {
		t.Fatal(err)
	}
	wantVisit(t, one, "config get cluster", answer(3))

	if err := m.Remove(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(ctx, "another"); err != nil {
		t.Errorf("of a cluster that has none: %v", err)
	}
	if _, _, err := visit(one, "get k"); err == nil {
		t.Error("a door is open after Remove")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Set(ctx, "c", []Door{one}, list(4)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestDoorOfManyNodes(t *testing.T) {
	m := manager(t)
	var down atomic.Bool
	d := doorAt(t, named("a", nil), named("b", &down), named("c", nil))
	if err := m.Set(t.Context(), "c", []Door{d}, List{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a", "b", "c", "a"} {
		wantVisit(t, d, "get k", want)
	}
	down.Store(true)
	for _, want := range []string{"c", "c", "a", "c"} { // the turn of the one that is down falls to the next
		wantVisit(t, d, "get k", want)
	}
	d.To = nil
	if err := m.Set(t.Context(), "c", []Door{d}, List{}); err != nil {
		t.Fatal(err)
	}
	if _, got, err := visit(d, "get k"); err == nil {
		t.Errorf("with no node behind it: %q", got)
	}
}

func TestDoorWithTLS(t *testing.T) {
	m := manager(t)
	d := doorAt(t, named("a", nil))
	d.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{selfSigned(t, d.Host)}}
	if err := m.Set(t.Context(), "c", []Door{d}, List{}); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(d.TLS.Certificates[0].Leaf)
	c, err := tls.Dial("tcp", d.address(), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := ask(c, "get k"); err != nil || got != "a" {
		t.Errorf("by TLS it says %q (%v)", got, err)
	}
	plain, got, err := visit(d, "get k")
	if plain != nil {
		defer plain.Close()
	}
	if got == "a" || err == nil && !strings.HasPrefix(got, "\x15\x03") {
		t.Errorf("without TLS it says %q (%v)", got, err)
	}
}

func selfSigned(t *testing.T, host string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(host)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
