package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

// The load that a server has to bear while it is backed up.
const (
	loadRate    = 20_000 // commands a second, half of them writes
	loadTick    = 500 * time.Microsecond
	loadClients = 4
)

// load is an open loop: commands are due at fixed times, whether or not those
// before were answered, and latency counts from when a command was due. A server
// that stands still for a while thus delays all that was due meanwhile, as it does
// to clients of the real world.
type load struct {
	began time.Time
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu     sync.Mutex
	err    error
	served []answered
}

// answered is a command: when it was due, after the beginning, and how long it took.
type answered struct{ due, took time.Duration }

// startLoad begins to read and write random keys of set C.
func startLoad(ctx context.Context, addr string, keys int64) (*load, error) {
	ctx, stop := context.WithCancel(ctx)
	l := &load{began: time.Now(), stop: stop}
	for i := range loadClients {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, errors.Join(err, l.end())
		}
		g := &loadClient{l: l, c: c, keys: keys, rng: rand.New(rand.NewPCG(7, uint64(i))), due: make(chan time.Duration, 1<<20)}
		l.done.Go(func() { l.note(g.send(ctx)) })
		l.done.Go(func() { l.note(g.receive()) })
	}
	return l, nil
}

func (l *load) note(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	l.err = errors.Join(l.err, err)
	l.mu.Unlock()
	l.stop()
}

// end stops the load when all that was sent is answered.
func (l *load) end() error {
	l.stop()
	l.done.Wait()
	return l.err
}

// since is the time on the load's clock.
func (l *load) since() time.Duration { return time.Since(l.began) }

// between returns the latencies of the commands that were due in a span, and how
// many a second they were. Only after end.
func (l *load) between(from, to time.Duration) (latencies, float64) {
	var out latencies
	for _, a := range l.served {
		if a.due >= from && a.due < to {
			out = append(out, a.took)
		}
	}
	slices.Sort(out)
	return out, float64(len(out)) / (to - from).Seconds()
}

// loadClient is one connection of a load.
type loadClient struct {
	l    *load
	c    net.Conn
	keys int64
	rng  *rand.Rand
	// due are the times of the commands in flight.
	due chan time.Duration
}

// send sends what is due, in time or as soon as the server takes it.
func (g *loadClient) send(ctx context.Context) error {
	defer close(g.due)
	value := make([]byte, 450)
	noise := rand.NewChaCha8([32]byte{7})
	var buf, key []byte
	tick := time.NewTicker(loadTick)
	defer tick.Stop()
	each := time.Second * loadClients / loadRate
	for next := g.l.since(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		buf = buf[:0]
		for now := g.l.since(); next <= now; next += each {
			key = fmt.Appendf(key[:0], "key:%012d", g.rng.Int64N(g.keys))
			if g.rng.Uint32()&1 == 0 {
				buf = resp.AppendBulk(append(buf, "*2\r\n$3\r\nGET\r\n"...), key)
			} else {
				_, _ = noise.Read(value) // it never fails
				buf = resp.AppendBulk(resp.AppendBulk(append(buf, "*3\r\n$3\r\nSET\r\n"...), key), value)
			}
			g.due <- next
		}
		if _, err := g.c.Write(buf); err != nil {
			return fmt.Errorf("the load cannot write: %w", err)
		}
	}
}

// receive takes the replies until the last.
func (g *loadClient) receive() error {
	defer g.c.Close()
	b := &blaster{r: bufio.NewReaderSize(g.c, 64<<10)}
	var served []answered
	defer func() {
		g.l.mu.Lock()
		defer g.l.mu.Unlock()
		g.l.served = append(g.l.served, served...)
	}()
	for due := range g.due {
		if err := b.skip(1); err != nil {
			return fmt.Errorf("the load got no answer: %w", err)
		}
		served = append(served, answered{due, g.l.since() - due})
	}
	return nil
}
