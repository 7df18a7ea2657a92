package resp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

func TestPipeKeepsOrder(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		for _, window := range []int{1, 1000, 0} {
			c := dial(t, resp.Options{Addr: s.Addr()})
			p := resp.NewPipe(t.Context(), c, window)
			next := 0
			take := func() {
				r, err := p.Next()
				if err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprint(next)
				if next%1000 == 999 {
					want = strings.Repeat("x", 300_000)
				}
				if string(r.Bytes) != want {
					t.Fatalf("reply %d is %.40q", next, r.Bytes)
				}
				next++
			}
			const n = 20_000
			for i := range n {
				for p.Full() {
					take()
				}
				text := fmt.Sprint(i)
				if i%1000 == 999 {
					text = strings.Repeat("x", 300_000)
				}
				p.End(resp.AppendCommand(p.Begin(), "ECHO", text))
			}
			for p.Len() > 0 {
				take()
			}
			if next != n {
				t.Errorf("%d of %d replies", next, n)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if got := do(t, c, "PING"); got != "PONG" {
				t.Errorf("after the pipe the connection says %q", got)
			}
		}
	})
}

// A server that answers before it has read all, and reads no further until its
// answers are taken, is not waited for by someone who waits for it.
func TestPipeDoesNotDeadlock(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	big := bytes.Repeat([]byte("y"), 100_000)
	go func() { served <- echoLarge(l, big) }()
	c := dial(t, resp.Options{Addr: l.Addr().String(), RESP2: true})
	p := resp.NewPipe(t.Context(), c, 64<<20)
	const n = 400
	arg := strings.Repeat("z", 100_000)
	for range n {
		p.End(resp.AppendCommand(p.Begin(), "ANY", arg))
	}
	for range n {
		r, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Bytes, big) {
			t.Fatalf("%d bytes", len(r.Bytes))
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// echoLarge answers the log-in, then each command with a large reply, one at a time.
func echoLarge(l net.Listener, reply []byte) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	in := resp.NewReader(bufio.NewReaderSize(c, 4096))
	for {
		r, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		out := []byte("+OK\r\n")
		if string(r.Elems[0].Bytes) == "ANY" {
			out = resp.AppendBulk(nil, reply)
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
	}
}

func TestPipeCancelled(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	c := dial(t, resp.Options{Addr: s.Addr()})
	ctx, cancel := context.WithCancel(t.Context())
	p := resp.NewPipe(ctx, c, 0)
	p.End(resp.AppendCommand(p.Begin(), "PING"))
	p.End(resp.AppendCommand(p.Begin(), "BLPOP", "nothing", "0"))
	if _, err := p.Next(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := p.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// Closing with replies outstanding must not give them to someone else.
func TestPipeClosedInFlight(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	c := dial(t, resp.Options{Addr: s.Addr()})
	p := resp.NewPipe(t.Context(), c, 0)
	p.End(resp.AppendCommand(p.Begin(), "ECHO", "of the pipe"))
	p.Flush()
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if r, err := c.Do(t.Context(), "PING"); err == nil {
		t.Errorf("the connection went on: %s", r.Bytes)
	}
}

func TestPipeLosesItsServer(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	proxy := testkit.Proxy(t, s.Addr())
	c := dial(t, resp.Options{Addr: proxy.Addr()})
	p := resp.NewPipe(t.Context(), c, 0)
	proxy.CutAfter(testkit.ToTarget, 5_000_000)
	var err error
	sent := 0
	for ; err == nil && sent < 100_000; sent++ {
		for err == nil && p.Full() {
			_, err = p.Next()
		}
		p.End(resp.AppendCommand(p.Begin(), "ECHO", strings.Repeat("x", 1000)))
	}
	if err == nil {
		t.Error("nobody noticed")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkPipe(b *testing.B) {
	s := testkit.StartServer(b, testkit.Engine(b, "redis-7.0"))
	c := dial(b, resp.Options{Addr: s.Addr()})
	p := resp.NewPipe(b.Context(), c, 0)
	key, value := []byte("key:000000000001"), bytes.Repeat([]byte("v"), 100)
	b.ReportAllocs()
	for b.Loop() {
		for p.Full() {
			if _, err := p.Next(); err != nil {
				b.Fatal(err)
			}
		}
		cmd := resp.AppendArray(p.Begin(), 3)
		cmd = resp.AppendString(cmd, "SET")
		cmd = resp.AppendBulk(cmd, key)
		p.End(resp.AppendBulk(cmd, value))
	}
	for p.Len() > 0 {
		if _, err := p.Next(); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		b.Error(err)
	}
}
