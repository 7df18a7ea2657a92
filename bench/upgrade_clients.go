package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

const (
	// steadyRate is how many commands a second all clients send together, half of them writes.
	steadyRate    = 10_000
	steadyClients = 4
	// settleFor is how long they have to have been served again before anything is judged.
	settleFor = 300 * time.Millisecond
)

// steady are clients that go on whatever happens: they connect again at once, and where a
// node sends them on they follow. They remember the longest time without a write.
type steady struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	last  time.Time
	worst time.Duration
	acked int64
}

func startSteady(ctx context.Context, at string) *steady {
	ctx, stop := context.WithCancel(ctx)
	s := &steady{stop: stop}
	for i := range steadyClients {
		s.done.Go(func() {
			for addr := at; ctx.Err() == nil; {
				addr = s.serve(ctx, addr, at, i)
				_ = pause(ctx, time.Millisecond) // the loop ends with the context
			}
		})
	}
	return s
}

// end stops them and returns the longest gap.
func (s *steady) end() time.Duration {
	s.stop()
	s.done.Wait()
	return s.worst
}

// settle waits until writes have been acknowledged for a while.
func (s *steady) settle(ctx context.Context) error {
	began := s.count()
	return poll(ctx, look, func() (bool, error) { return s.count()-began > int64(steadyRate/2*settleFor.Seconds()), nil })
}

func (s *steady) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

func (s *steady) wrote() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() {
		s.worst = max(s.worst, now.Sub(s.last))
	}
	s.last = now
	s.acked++
}

// serve is one connection, until it ends badly; it returns where to go next.
func (s *steady) serve(ctx context.Context, addr, home string, id int) string {
	c, err := brisk(ctx, addr, brief)
	if err != nil {
		return home
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err := c.SetDeadline(time.Time{}); err != nil {
		return home
	}
	sending, cancel := context.WithCancel(ctx)
	var sender sync.WaitGroup
	sender.Go(func() { s.send(sending, c, id) })
	defer sender.Wait()
	defer cancel()
	r := resp.NewReader(c)
	for n := 0; ; n++ {
		reply, err := r.Next()
		if err != nil {
			return home
		}
		if f := strings.Fields(errorText(reply.Err())); len(f) > 0 {
			if f[0] == "MOVED" && len(f) == 3 {
				return f[2]
			}
			return addr
		}
		if n%2 == 0 {
			s.wrote()
		}
	}
}

// errorText is what the engine said.
func errorText(err error) string {
	var se *resp.ServerError
	if errors.As(err, &se) {
		return se.Text
	}
	return ""
}

// send sends a write and a read in turn, as many as are due.
func (s *steady) send(ctx context.Context, c net.Conn, id int) {
	tick := time.NewTicker(writersTick)
	defer tick.Stop()
	const each = time.Second * steadyClients * 2 / steadyRate
	var buf []byte
	n := 0
	for next := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		buf = buf[:0]
		for now := time.Now(); !next.After(now); next = next.Add(each) {
			n++
			key := "steady:" + strconv.Itoa(id) + ":" + strconv.Itoa(n%ring)
			buf = resp.AppendCommand(buf, "SET", key, strconv.Itoa(n))
			buf = resp.AppendCommand(buf, "GET", key)
		}
		if len(buf) == 0 {
			continue
		}
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}
