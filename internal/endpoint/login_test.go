package endpoint_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/endpoint"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

const (
	goodToken      = "orders/?Action=connect&User=shop"
	enginePassword = "what-the-engine-knows"
)

// door knows the one user "shop" of the unit "r/orders".
type door struct {
	t     testing.TB
	ca    *testkit.CA
	trust *tls.Config

	mu      sync.Mutex
	asked   []endpoint.Login
	expired int
}

func newDoor(t testing.TB, ca *testkit.CA) *door {
	t.Helper()
	pem, err := os.ReadFile(ca.File())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &door{t: t, ca: ca, trust: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
}

func (d *door) Server(host string) *tls.Config {
	cert, err := tls.LoadX509KeyPair(d.ca.Issue([]string{host}))
	if err != nil {
		d.t.Error(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
}

func (d *door) Client(host string) *tls.Config {
	c := d.trust.Clone()
	c.ServerName = host
	return c
}

func (d *door) Login(_ context.Context, l endpoint.Login) endpoint.Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, l)
	if l.Queued {
		return endpoint.Verdict{Refused: l.User == "shop"}
	}
	if l.Unit == "r/orders" && l.User == "shop" && l.Token == goodToken && net.ParseIP(l.From).IsLoopback() {
		return endpoint.Verdict{Password: enginePassword}
	}
	return endpoint.Verdict{}
}

func (d *door) Expired(string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expired++
}

// secured is an engine that speaks TLS and has a user whom only the door lets in.
func secured(t testing.TB, b catalog.Build, d *door) *testkit.Server {
	t.Helper()
	testkit.SpeaksTLS(t, b)
	s := testkit.StartServer(t, b, d.ca.TLS("127.0.0.1"), testkit.Config("user shop on >"+enginePassword+" ~* +@all", "user app on >app ~* +@all"))
	s.Must("ACL", "SETUSER", "default", "off")
	return s
}

// guarded stands in front of it.
func guarded(t testing.TB, d *door, cfg endpoint.Config, s *testkit.Server) (*endpoint.Manager, cache.Address) {
	t.Helper()
	cfg.Door = d
	m := manager(t, cfg)
	at := cache.Address{Host: anyHost(), Port: testkit.FreePort(t)}
	if err := m.SetLogin(t.Context(), at, []cache.Address{addressOf(s)}, "r/orders", false); err != nil {
		t.Fatal(err)
	}
	return m, at
}

func (d *door) open(t testing.TB, at cache.Address, user, password string, resp2 bool) (*resp.Conn, error) {
	t.Helper()
	c, err := resp.Dial(t.Context(), resp.Options{
		Addr: hostPort(at), Username: user, Password: password, TLS: d.trust, RESP2: resp2, DialTimeout: patience, Timeout: patience,
	})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// raw is a client that says bytes and reads lines.
func (d *door) raw(t testing.TB, at cache.Address) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", hostPort(at), d.Client(at.Host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func tell(t testing.TB, c net.Conn, said, want string) {
	t.Helper()
	if _, err := c.Write([]byte(said)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		b := make([]byte, len(want)-len(got))
		n, err := c.Read(b)
		if got = append(got, b[:n]...); err != nil || !strings.HasPrefix(want, string(got)) {
			t.Fatalf("to %q it says %q and not %q: %v", said, got, want, err)
		}
	}
}

const wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"

func commandOf(words ...string) string { return string(resp.AppendCommand(nil, words...)) }

// TestLogins: a token lets in whom the Door lets in, and nobody else has to do with it.
func TestLogins(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		if strings.HasPrefix(b.Name, "redis-6") {
			t.Skip("tokens are for Redis 7.0 and newer")
		}
		d := newDoor(t, testkit.NewCA(t))
		_, at := guarded(t, d, endpoint.Config{}, secured(t, b, d))
		for _, c := range []struct{ user, password, want string }{
			{"shop", goodToken, ""},
			{"shop", goodToken + "0", "WRONGPASS"},
			{"shop", "", "WRONGPASS"},
			{"app", "app", ""},
			{"app", goodToken, "WRONGPASS"},
			{"nobody", goodToken, "WRONGPASS"},
		} {
			for _, resp2 := range []bool{true, false} {
				conn, err := d.open(t, at, c.user, c.password, resp2)
				if err == nil {
					_, err = conn.Do(t.Context(), "ECHO", "x")
				}
				if c.want == "" && err != nil || c.want != "" && !resp.IsServerError(err, c.want) && (c.password != "" || !resp.IsServerError(err, "NOAUTH")) {
					t.Errorf("%s with %q: %v, want %q", c.user, c.password, err, c.want)
				}
			}
		}
		// In one write: what is before a log-in and behind it is answered in its place.
		tell(t, d.raw(t, at), commandOf("PING", "a")+commandOf("auth", "shop", "no")+commandOf("AUTH", "shop", goodToken)+commandOf("ECHO", "b")+
			"AUTH shop "+goodToken+"\r\nPING\r\n", "-NOAUTH Authentication required.\r\n"+wrong+"+OK\r\n$1\r\nb\r\n+OK\r\n+PONG\r\n")
		// A byte at a time.
		c := d.raw(t, at)
		said := commandOf("AUTH", "shop", goodToken)
		for i := range len(said) - 1 {
			if _, err := c.Write([]byte{said[i]}); err != nil {
				t.Fatal(err)
			}
		}
		tell(t, c, said[len(said)-1:], "+OK\r\n")
		// In a value it is a value, and in a transaction no log-in.
		tell(t, c, commandOf("SET", "k", said)+commandOf("GET", "k"), fmt.Sprintf("+OK\r\n$%d\r\n%s\r\n", len(said), said))
		tell(t, c, commandOf("MULTI")+said+commandOf("EXEC")+said, "+OK\r\n-ERR wrong number of arguments for 'auth' command\r\n"+
			"-EXECABORT Transaction discarded because of previous errors.\r\n+OK\r\n")
		tell(t, c, commandOf("MULTI")+commandOf("AUTH", "app", "app")+commandOf("EXEC"), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n")
		if d.expired > 0 {
			t.Error("somebody was cut off")
		}
	})
}

// TestLargeValuesPassADoor both ways, and the door has looked at log-ins all the time.
func TestLargeValuesPassADoor(t *testing.T) {
	d := newDoor(t, testkit.NewCA(t))
	_, at := guarded(t, d, endpoint.Config{}, secured(t, testkit.Engine(t, "valkey-9.1"), d))
	c, err := d.open(t, at, "shop", goodToken, true)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1; size < 64<<20; size = size*7 + 3 {
		value := bytes.Repeat([]byte(commandOf("AUTH", "shop", "x")), size/20+1)[:size]
		if _, err := c.Do(t.Context(), "SET", "k", string(value)); err != nil {
			t.Fatal(err)
		}
		r, err := c.Do(t.Context(), "GET", "k")
		if err != nil || !bytes.Equal(r.Bytes, value) {
			t.Fatalf("of %d bytes others came back: %v", size, err)
		}
		if _, err := c.Do(t.Context(), "AUTH", "shop", goodToken); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range d.asked {
		if l.Token != goodToken {
			t.Fatalf("a value was taken for the token %q", l.Token)
		}
	}
}

// clock keeps what is to happen later until it is told.
type clock struct {
	mu    sync.Mutex
	after []*alarm
}

type alarm struct {
	d       time.Duration
	f       func()
	stopped bool
}

func (c *clock) set(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &alarm{d: d, f: f}
	c.after = append(c.after, a)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		was := a.stopped
		a.stopped = true
		return !was
	}
}

func (c *clock) alarms() []alarm {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []alarm
	for _, a := range c.after {
		out = append(out, *a)
	}
	return out
}

// TestASessionEndsAfterTwelveHours unless a token is given anew.
func TestASessionEndsAfterTwelveHours(t *testing.T) {
	d, k := newDoor(t, testkit.NewCA(t)), &clock{}
	_, at := guarded(t, d, endpoint.Config{After: k.set}, secured(t, testkit.Engine(t, "redis-7.0"), d))
	app, err := d.open(t, at, "app", "app", true)
	if err != nil {
		t.Fatal(err)
	}
	shop, err := d.open(t, at, "shop", goodToken, true)
	if err != nil {
		t.Fatal(err)
	}
	if a := k.alarms(); len(a) != 1 || a[0].d != 12*time.Hour || a[0].stopped {
		t.Fatalf("%+v", a)
	}
	if _, err := shop.Do(t.Context(), "AUTH", "shop", "expired"); !resp.IsServerError(err, "WRONGPASS") {
		t.Errorf("%v", err)
	}
	if a := k.alarms(); len(a) != 1 || a[0].stopped {
		t.Fatalf("a token that is no good: %+v", a)
	}
	if _, err := shop.Do(t.Context(), "HELLO", "3", "AUTH", "shop", goodToken, "SETNAME", "x"); err != nil {
		t.Error(err)
	}
	a := k.alarms()
	if len(a) != 2 || !a[0].stopped || a[1].stopped || a[1].d != 12*time.Hour {
		t.Fatalf("a fresh token: %+v", a)
	}
	a[1].f()
	var ended net.Error
	if _, err := shop.Do(t.Context(), "PING"); err == nil || resp.IsServerError(err, "") || errors.As(err, &ended) && ended.Timeout() {
		t.Errorf("it goes on: %v", err)
	}
	if _, err := app.Do(t.Context(), "PING"); err != nil {
		t.Errorf("another one was cut off: %v", err)
	}
	if d.expired != 1 {
		t.Errorf("%d sessions have ended", d.expired)
	}
}

// TestWhoIsDeletedIsCutOff by the engine, through the door; and the door's manager lets go
// of everything when it is told.
func TestWhoIsDeletedIsCutOff(t *testing.T) {
	d := newDoor(t, testkit.NewCA(t))
	s := secured(t, testkit.Engine(t, "redis-7.0"), d)
	m, at := guarded(t, d, endpoint.Config{}, s)
	app, err := d.open(t, at, "app", "app", true)
	if err != nil {
		t.Fatal(err)
	}
	shop := d.raw(t, at)
	tell(t, shop, commandOf("AUTH", "shop", goodToken), "+OK\r\n")
	if _, err := app.Do(t.Context(), "ACL", "DELUSER", "shop"); err != nil {
		t.Fatal(err)
	}
	var late net.Error
	if n, err := shop.Read(make([]byte, 1)); err == nil || errors.As(err, &late) && late.Timeout() {
		t.Errorf("it was not cut off: %d bytes, %v", n, err)
	}
	tell(t, d.raw(t, at), commandOf("AUTH", "shop", goodToken), wrong)
	// A client that shakes hands slowly holds nobody up.
	slow := dial(t, at)
	if err := m.Remove(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if !ended(slow) {
		t.Error("a client that has said nothing yet is still connected")
	}
	if _, err := app.Do(t.Context(), "PING"); err == nil {
		t.Error("the address was given up, and clients are connected")
	}
}

// TestPlainClientsAtADoor are refused, unless the nodes serve them too.
func TestPlainClientsAtADoor(t *testing.T) {
	d := newDoor(t, testkit.NewCA(t))
	s := secured(t, testkit.Engine(t, "redis-7.0"), d)
	m, at := guarded(t, d, endpoint.Config{}, s)
	c := dial(t, at)
	if _, err := c.Write([]byte("PING\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, _ := c.Read(b); bytes.Contains(b[:n], []byte("NOAUTH")) {
		t.Errorf("a plain client is told %q", b[:n])
	}
	// The node serves TLS at the port next to its plain one, which nobody needs here.
	own := cache.Address{Host: s.Host, Port: s.Port - 1}
	if err := m.SetLogin(t.Context(), at, []cache.Address{own}, "r/orders", true); err != nil {
		t.Fatal(err)
	}
	plain := dial(t, at)
	tell(t, plain, commandOf("AUTH", "shop", "no")+commandOf("AUTH", "shop", goodToken)+"PING\r\n", wrong+"+OK\r\n+PONG\r\n")
	tell(t, d.raw(t, at), commandOf("AUTH", "shop", goodToken)+"PING\r\n", "+OK\r\n+PONG\r\n")
}

// TestADoorIsPutUpAndTakenAway without anybody being cut off.
func TestADoorIsPutUpAndTakenAway(t *testing.T) {
	d := newDoor(t, testkit.NewCA(t))
	s := secured(t, testkit.Engine(t, "redis-7.0"), d)
	m, at := guarded(t, d, endpoint.Config{}, s)
	shop := d.raw(t, at)
	tell(t, shop, commandOf("AUTH", "shop", goodToken), "+OK\r\n")
	set(t, m, at, addressOf(s))
	tell(t, shop, "PING\r\n", "+PONG\r\n")
	through := dial(t, at) // straight to the engine, whose certificate is for its own address
	inner := tls.Client(through, d.Client(s.Host))
	tell(t, inner, commandOf("AUTH", "shop", goodToken)+commandOf("AUTH", "app", "app"), wrong+"+OK\r\n")
	if err := m.SetLogin(t.Context(), at, []cache.Address{addressOf(s)}, "r/orders", false); err != nil {
		t.Fatal(err)
	}
	tell(t, inner, "PING\r\n", "+PONG\r\n")
	tell(t, shop, "PING\r\n"+commandOf("AUTH", "shop", goodToken), "+PONG\r\n+OK\r\n")
	tell(t, d.raw(t, at), commandOf("AUTH", "shop", goodToken), "+OK\r\n")
	if err := endpoint.New(endpoint.Config{}).SetLogin(t.Context(), at, []cache.Address{addressOf(s)}, "r/orders", false); err == nil {
		t.Error("a door that nobody watches was put up")
	}
}
