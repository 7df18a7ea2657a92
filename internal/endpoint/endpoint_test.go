package endpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/endpoint"
	"holdfast.dev/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; on a busy machine all take longer.
const patience = time.Minute

func anyHost() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
}

func address(t testing.TB, a net.Addr) cache.Address {
	t.Helper()
	tcp := a.(*net.TCPAddr)
	return cache.Address{Host: tcp.IP.String(), Port: tcp.Port}
}

func manager(t testing.TB, cfg endpoint.Config) *endpoint.Manager {
	t.Helper()
	m := endpoint.New(cfg)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func forward(t testing.TB, m *endpoint.Manager, to ...cache.Address) cache.Address {
	t.Helper()
	at := cache.Address{Host: anyHost(), Port: testkit.FreePort(t)}
	set(t, m, at, to...)
	return at
}

func set(t testing.TB, m *endpoint.Manager, at cache.Address, to ...cache.Address) {
	t.Helper()
	if err := m.Set(t.Context(), at, to); err != nil {
		t.Fatal(err)
	}
}

func dial(t testing.TB, a cache.Address) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", hostPort(a), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// node is a server that greets with its name and then does as its function says.
type node struct {
	name string
	addr cache.Address
	l    net.Listener
	work sync.WaitGroup
}

func serve(t testing.TB, name string, f func(c *net.TCPConn)) *node {
	t.Helper()
	l := testkit.Listen(t)
	n := &node{name: name, addr: address(t, l.Addr()), l: l}
	n.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.work.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				if name != "" {
					_, _ = io.WriteString(c, name+"\n")
				}
				f(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(n.stop)
	return n
}

func (n *node) stop() {
	_ = n.l.Close()
	n.work.Wait()
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// greeting is the name of the node that a new connection got.
func greeting(t testing.TB, c net.Conn) string {
	t.Helper()
	line := make([]byte, 2)
	if _, err := io.ReadFull(c, line); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(line))
}

// ended tells whether the connection is at its end.
func ended(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)
}

// turnedAway tells whether the endpoint is there and cuts its clients off. A
// client may learn of that before it learns that it was connected.
func turnedAway(t *testing.T, at cache.Address) bool {
	t.Helper()
	c, err := net.DialTimeout("tcp", hostPort(at), patience)
	if errors.Is(err, syscall.ECONNRESET) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	return ended(c)
}

func TestRoundRobin(t *testing.T) {
	m := manager(t, endpoint.Config{})
	a, b, c := serve(t, "a", echo), serve(t, "b", echo), serve(t, "c", echo)
	at := forward(t, m, a.addr, b.addr, c.addr)
	got := map[string]int{}
	for range 30 {
		conn := dial(t, at)
		got[greeting(t, conn)]++
		conn.Close()
	}
	if diff := cmp.Diff(map[string]int{"a": 10, "b": 10, "c": 10}, got); diff != "" {
		t.Fatal(diff)
	}
}

// The list changes: who is on it stays connected, who left is cut off before Set returns.
func TestSwitch(t *testing.T) {
	m := manager(t, endpoint.Config{})
	a, b := serve(t, "a", echo), serve(t, "b", echo)
	at := forward(t, m, a.addr)
	old := dial(t, at)
	if greeting(t, old) != "a" {
		t.Fatal("not a")
	}
	set(t, m, at, a.addr, b.addr)
	set(t, m, at, b.addr, a.addr)
	if _, err := old.Write([]byte("xy")); err != nil || greeting(t, old) != "xy" {
		t.Fatal("a node that stayed on the list lost its connection")
	}
	set(t, m, at, b.addr)
	if !ended(old) {
		t.Fatal("the connection goes on to a node that left")
	}
	for range 5 {
		if conn := dial(t, at); greeting(t, conn) != "b" {
			t.Fatal("not b")
		}
	}
	want := map[cache.Address][]cache.Address{at: {b.addr}}
	if diff := cmp.Diff(want, m.Forwards()); diff != "" {
		t.Fatal(diff)
	}
}

func TestRemove(t *testing.T) {
	m := manager(t, endpoint.Config{})
	a := serve(t, "a", echo)
	at := forward(t, m, a.addr)
	conn := dial(t, at)
	greeting(t, conn)
	for range 2 {
		if err := m.Remove(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	if !ended(conn) {
		t.Fatal("the connection outlived its endpoint")
	}
	if _, err := net.Dial("tcp", hostPort(at)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("still listening: %v", err)
	}
	set(t, m, at, a.addr)
	if greeting(t, dial(t, at)) != "a" {
		t.Fatal("not a")
	}
}

// A node that is down is passed over; when all are, the client is told at once.
func TestNodeDown(t *testing.T) {
	m := manager(t, endpoint.Config{})
	a, b := serve(t, "a", echo), serve(t, "b", echo)
	at := forward(t, m, a.addr, b.addr)
	a.stop()
	for range 10 {
		conn := dial(t, at)
		if greeting(t, conn) != "b" {
			t.Fatal("not b")
		}
		conn.Close()
	}
	b.stop()
	for range 10 {
		if !turnedAway(t, at) {
			t.Fatal("connected to nothing")
		}
	}
	// It is back: within the time for which it is passed over, or at once when nobody else is there.
	back, err := net.Listen("tcp", hostPort(a.addr))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	conn := dial(t, at)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	c, err := back.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// Each direction ends on its own.
func TestHalfClose(t *testing.T) {
	m := manager(t, endpoint.Config{})
	sum := serve(t, "", func(c *net.TCPConn) {
		data, err := io.ReadAll(c) // until the client has ended its side
		if err == nil {
			_, _ = fmt.Fprintf(c, "%d bytes", len(data))
		}
	})
	conn := dial(t, forward(t, m, sum.addr))
	if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || string(answer) != "1048576 bytes" {
		t.Fatalf("%q, %v", answer, err)
	}
}

// A reset on one side is a reset on the other, in both directions.
func TestAbruptEnd(t *testing.T) {
	m := manager(t, endpoint.Config{})
	seen := make(chan error, 1)
	server := serve(t, "a", func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		seen <- err
	})
	conn := dial(t, forward(t, m, server.addr))
	greeting(t, conn)
	_ = conn.SetLinger(0)
	conn.Close()
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the node saw %v", err)
	}
	dying := serve(t, "b", func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	})
	conn = dial(t, forward(t, m, dying.addr))
	greeting(t, conn)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the client saw %v", err)
	}
}

func TestLimit(t *testing.T) {
	m := manager(t, endpoint.Config{MaxConns: 2})
	a := serve(t, "a", echo)
	at := forward(t, m, a.addr)
	first, second := dial(t, at), dial(t, at)
	greeting(t, first)
	greeting(t, second)
	answer, err := io.ReadAll(dial(t, at))
	if err != nil || !strings.HasPrefix(string(answer), "-ERR max number of clients") {
		t.Fatalf("%q, %v", answer, err)
	}
	first.Close()
	testkit.Wait(t, 10*time.Second, func() bool {
		c := dial(t, at)
		line := make([]byte, 2)
		_, err := io.ReadFull(c, line)
		return err == nil && string(line) == "a\n"
	}, "there is room again")
}

// The address is somebody else's for a while.
func TestTakenAddress(t *testing.T) {
	a := serve(t, "a", echo)
	l := testkit.Listen(t)
	at := address(t, l.Addr())
	hasty := manager(t, endpoint.Config{ListenWait: 50 * time.Millisecond})
	if err := hasty.Set(t.Context(), at, []cache.Address{a.addr}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("got %v", err)
	}
	m := manager(t, endpoint.Config{ListenWait: patience})
	release := time.AfterFunc(50*time.Millisecond, func() { l.Close() })
	defer release.Stop()
	set(t, m, at, a.addr)
	if greeting(t, dial(t, at)) != "a" {
		t.Fatal("not a")
	}
}

func TestNonsense(t *testing.T) {
	m := endpoint.New(endpoint.Config{})
	at := cache.Address{Host: "127.0.0.1", Port: 1}
	for what, to := range map[string][]cache.Address{"nowhere": nil, "itself": {at}, "no address": {{}}, "no port": {{Host: "127.0.0.1"}}} {
		if err := m.Set(t.Context(), at, to); !errors.Is(err, cache.ErrPermanent) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Set(t.Context(), at, []cache.Address{{Host: "127.0.0.1", Port: 2}}); !errors.Is(err, endpoint.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// Close ends a Set that waits for its address.
func TestCloseWhileWaiting(t *testing.T) {
	m := endpoint.New(endpoint.Config{ListenWait: time.Minute})
	l := testkit.Listen(t)
	defer l.Close()
	done := make(chan error)
	go func() {
		done <- m.Set(context.Background(), address(t, l.Addr()), []cache.Address{{Host: "127.0.0.1", Port: 2}})
	}()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Fatal("it listens at an address that is taken")
	}
}

// Many clients at once, while the list changes all the time: what comes back is
// what was sent, until the connection ends.
func TestManyClientsUnderChange(t *testing.T) {
	m := manager(t, endpoint.Config{})
	a, b := serve(t, "", echo), serve(t, "", echo)
	at := forward(t, m, a.addr, b.addr)
	var clients sync.WaitGroup
	stop := make(chan struct{})
	var mu sync.Mutex
	rounds := 0
	for i := range 50 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.Dial("tcp", hostPort(at))
				if errors.Is(err, syscall.ECONNRESET) {
					continue // its node left the list at that very moment
				}
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				for range 20 {
					sent := make([]byte, 1+rnd.IntN(20000))
					for j := range sent {
						sent[j] = byte(rnd.Uint32())
					}
					if _, err := c.Write(sent); err != nil {
						break
					}
					got := make([]byte, len(sent))
					if _, err := io.ReadFull(c, got); err != nil {
						break
					}
					if !bytes.Equal(sent, got) {
						t.Error("other bytes came back")
					}
					mu.Lock()
					rounds++
					mu.Unlock()
				}
				c.Close()
			}
		})
	}
	for i := range 40 {
		testkit.Wait(t, 20*time.Second, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return rounds >= 50*i
		}, "some rounds")
		set(t, m, at, [][]cache.Address{{a.addr}, {b.addr}, {a.addr, b.addr}}[i%3]...)
	}
	close(stop)
	clients.Wait()
}

func hostPort(a cache.Address) string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }
