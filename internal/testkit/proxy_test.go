package testkit_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // ends with the connection, however that ends
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func expectReset(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read %d bytes, %v; want a reset", n, err)
	}
}

// expectTurnedAway wants a proxy to be there and to cut its clients off. A client may
// learn of that before it learns that it was connected.
func expectTurnedAway(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	expectReset(t, c)
}

func TestProxyPassesAndCuts(t *testing.T) {
	p := testkit.Proxy(t, echo(t))
	c := dial(t, p.Addr())
	send(t, c, "hello")
	expect(t, c, "hello")
	if n := p.Connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	p.Cut()
	expectReset(t, c)
	c = dial(t, p.Addr())
	send(t, c, "again")
	expect(t, c, "again")
}

func TestProxyPassesTheEndOn(t *testing.T) {
	p := testkit.Proxy(t, echo(t))
	c := dial(t, p.Addr())
	send(t, c, "last")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "last" {
		t.Errorf("read %q, %v", got, err)
	}
	testkit.Wait(t, 5*time.Second, func() bool { return p.Connections() == 0 }, "the proxy to let go")
}

func TestProxyCutAfter(t *testing.T) {
	for _, d := range []testkit.Direction{testkit.ToTarget, testkit.ToClient} {
		p := testkit.Proxy(t, echo(t))
		c := dial(t, p.Addr())
		send(t, c, "12345")
		expect(t, c, "12345")
		p.CutAfter(d, 7)
		send(t, c, "abcde")
		expect(t, c, "abcde")
		send(t, c, "fghij")
		got, err := io.ReadAll(c)
		// What was sent before a reset may be lost with it, but never more is sent.
		if !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix("fg", string(got)) {
			t.Errorf("direction %d: read %q, %v; want at most fg and a reset", d, got, err)
		}
		c = dial(t, p.Addr())
		send(t, c, "a second one is not cut")
		expect(t, c, "a second one is not cut")
	}
}

func TestProxyStall(t *testing.T) {
	p := testkit.Proxy(t, echo(t))
	c := dial(t, p.Addr())
	send(t, c, "a")
	expect(t, c, "a")
	p.Stall()
	send(t, c, "held")
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if n, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("read %d bytes, %v through a stalled proxy", n, err)
	}
	p.Resume()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "held")
	p.Stall()
	send(t, c, "cut while stalled")
	p.Cut()
	expectReset(t, c)
}

func TestProxySlow(t *testing.T) {
	p := testkit.Proxy(t, echo(t))
	p.Slow(10_000)
	c := dial(t, p.Addr())
	start := time.Now()
	text := strings.Repeat("x", 3000)
	send(t, c, text)
	expect(t, c, text)
	if took := time.Since(start); took < 250*time.Millisecond {
		t.Errorf("3000 bytes at 10000 bytes a second took %v", took)
	}
}

func TestProxyRefuseAndRetarget(t *testing.T) {
	p := testkit.Proxy(t, echo(t))
	c := dial(t, p.Addr())
	send(t, c, "a")
	expect(t, c, "a")
	p.Refuse()
	expectReset(t, c)
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dialling a refusing proxy: %v", err)
	}
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	p.Retarget(s.Addr())
	p.Accept()
	c = dial(t, p.Addr())
	send(t, c, "PING\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "+PONG\r\n" {
		t.Errorf("read %q, %v", line, err)
	}
	s.Kill()
	p.Cut()
	expectTurnedAway(t, p.Addr())
}
