package endpoint_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/endpoint"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

func addressOf(s *testkit.Server) cache.Address { return cache.Address{Host: s.Host, Port: s.Port} }

func connect(t testing.TB, at cache.Address) *resp.Conn {
	t.Helper()
	c, err := resp.Dial(context.Background(), resp.Options{Addr: hostPort(at)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Pipelines and values of every size go through unchanged.
func TestTraffic(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		c := connect(t, forward(t, manager(t, endpoint.Config{}), addressOf(s)))
		p := resp.NewPipe(t.Context(), c, 64<<20)
		for i := range 1000 {
			p.End(resp.AppendCommand(p.Begin(), "SET", fmt.Sprint("key", i), fmt.Sprint(i)))
			p.End(resp.AppendCommand(p.Begin(), "GET", fmt.Sprint("key", i)))
		}
		for i := 0; p.Len() > 0; i++ {
			r, err := p.Next()
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprint(i / 2); i%2 == 1 && string(r.Bytes) != want {
				t.Fatalf("reply %d is %q and not %q", i, r.Bytes, want)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		big := make([]byte, 100<<20)
		if _, err := rand.Read(big); err != nil {
			t.Fatal(err)
		}
		cmd := resp.AppendBulk(resp.AppendString(resp.AppendString(resp.AppendArray(nil, 3), "SET"), "big"), big)
		if err := c.Send(cmd); err != nil {
			t.Fatal(err)
		}
		if r, err := c.Receive(); err != nil || r.Err() != nil {
			t.Fatalf("%v, %v", err, r.Err())
		}
		begin := time.Now()
		r, err := c.Do(t.Context(), "GET", "big")
		if err != nil || !bytes.Equal(r.Bytes, big) {
			t.Fatalf("another value came back: %v", err)
		}
		t.Logf("%s: 100 MiB read through the forwarder in %v", b.Name, time.Since(begin))
	})
}

// The engine is killed in the middle of a reply; the client learns of it at once.
func TestEngineDies(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	at := forward(t, manager(t, endpoint.Config{}), addressOf(s))
	c := connect(t, at)
	if _, err := c.Do(t.Context(), "SET", "k", string(make([]byte, 64<<20))); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(resp.AppendCommand(nil, "GET", "k")); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if r, err := c.Receive(); err == nil {
		// It was faster than the kill. The next one cannot be.
		if len(r.Bytes) != 64<<20 {
			t.Fatalf("a cut value was taken for a whole one: %d bytes", len(r.Bytes))
		}
		if _, err = c.Do(t.Context(), "PING"); err == nil {
			t.Fatal("a dead engine answers")
		}
	}
	begin := time.Now()
	if !turnedAway(t, at) {
		t.Fatal("connected to a dead engine")
	}
	s.Restart()
	connect(t, at)
	t.Logf("reachable again after %v", time.Since(begin))
}

// 500 clients at a time, each with its own data.
func TestFiveHundredClients(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"))
	m := manager(t, endpoint.Config{})
	at := forward(t, m, addressOf(s))
	var all sync.WaitGroup
	var together atomic.Int32
	ready := make(chan struct{})
	errs := make(chan error, 500)
	for i := range 500 {
		all.Go(func() {
			errs <- func() error {
				c, err := resp.Dial(t.Context(), resp.Options{Addr: hostPort(at)})
				if err != nil {
					return err
				}
				defer c.Close()
				if together.Add(1) == 500 {
					close(ready)
				}
				select {
				case <-ready:
				case <-t.Context().Done():
					return t.Context().Err()
				}
				for n := range 20 {
					key, value := fmt.Sprintf("k%d", i), fmt.Sprintf("%d-%d", i, n)
					if _, err := c.Do(t.Context(), "SET", key, value); err != nil {
						return err
					}
					r, err := c.Do(t.Context(), "GET", key)
					if err != nil {
						return err
					}
					if string(r.Bytes) != value {
						return errors.New("somebody else's value")
					}
				}
				return nil
			}()
		})
	}
	for range 500 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
}
