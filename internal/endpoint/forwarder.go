package endpoint

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"holdfast.dev/internal/cache"
)

const (
	// dialTimeout: a node is on this machine, or close by.
	dialTimeout = 2 * time.Second
	// shunTime is how long a node that did not take a connection is passed over.
	shunTime = 500 * time.Millisecond
	// The pauses after an accept that failed, for want of descriptors mostly.
	firstPause = 5 * time.Millisecond
	longPause  = time.Second
)

// forwarder is one address, its listener and its connections.
type forwarder struct {
	m  *Manager
	at cache.Address
	l  *net.TCPListener
	// ending is done once the forwarder is to end.
	ending context.Context
	end    context.CancelFunc
	tasks  sync.WaitGroup

	mu    sync.Mutex
	nodes []*backend
	next  int
	links map[*pair]struct{}
}

// backend is one node.
type backend struct {
	addr  cache.Address
	shun  time.Time // until when it is passed over
	links sync.WaitGroup
}

func newForwarder(m *Manager, at cache.Address, l *net.TCPListener, to []cache.Address) *forwarder {
	f := &forwarder{m: m, at: at, l: l, links: map[*pair]struct{}{}}
	f.ending, f.end = context.WithCancel(context.Background())
	for _, a := range unique(to) {
		f.nodes = append(f.nodes, &backend{addr: a})
	}
	return f
}

func (f *forwarder) run() { f.tasks.Go(f.accept) }

func (f *forwarder) targets() []cache.Address {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []cache.Address
	for _, b := range f.nodes {
		out = append(out, b.addr)
	}
	return out
}

// retarget replaces the nodes and cuts off the connections of those that left.
func (f *forwarder) retarget(ctx context.Context, to []cache.Address) error {
	to = unique(to)
	f.mu.Lock()
	var stay, left []*backend
	for _, b := range f.nodes {
		if slices.Contains(to, b.addr) {
			stay = append(stay, b)
		} else {
			left = append(left, b)
		}
	}
	for _, a := range to {
		if !slices.ContainsFunc(stay, func(b *backend) bool { return b.addr == a }) {
			stay = append(stay, &backend{addr: a})
		}
	}
	f.nodes = stay
	for p := range f.links {
		if slices.Contains(left, p.node) {
			p.cut()
		}
	}
	f.mu.Unlock()
	// Nothing joins a node that has left the list, and those that are cut off end.
	gone := make(chan struct{})
	f.tasks.Go(func() {
		for _, b := range left {
			b.links.Wait()
		}
		close(gone)
	})
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *forwarder) close() error {
	f.end()
	err := f.l.Close()
	f.mu.Lock()
	for p := range f.links {
		p.cut()
	}
	f.mu.Unlock()
	f.tasks.Wait()
	return err
}

func (f *forwarder) accept() {
	var pause time.Duration
	for {
		c, err := f.l.AcceptTCP()
		if err == nil {
			pause = 0
			f.tasks.Go(func() { f.serve(c) })
			continue
		}
		if f.ending.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if pause == 0 {
			f.m.cfg.Log.Warn("an endpoint cannot take connections", "address", hostPort(f.at), "error", err)
		}
		pause = min(max(2*pause, firstPause), longPause)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-f.ending.Done():
			t.Stop()
			return
		}
	}
}

// tooMany is what an engine says in that case.
const tooMany = "-ERR max number of clients reached\r\n"

// serve is one client from beginning to end.
func (f *forwarder) serve(client *net.TCPConn) {
	defer f.m.conns.Add(-1)
	if f.m.conns.Add(1) > int64(f.m.cfg.MaxConns) {
		// A courtesy, for which nobody is waited for: a fresh connection has room for it.
		_, _ = client.Write([]byte(tooMany))
		_ = client.Close()
		return
	}
	p := f.connect(client)
	if p == nil {
		abort(client)
		return
	}
	defer f.forget(p)
	p.pump()
}

// connect finds a node that takes the client; nil if none does.
func (f *forwarder) connect(client *net.TCPConn) *pair {
	tried := map[*backend]bool{}
	for f.ending.Err() == nil {
		b := f.pick(tried)
		if b == nil {
			return nil
		}
		tried[b] = true
		d := net.Dialer{Timeout: dialTimeout}
		d.SetMultipathTCP(false)
		c, err := d.DialContext(f.ending, "tcp", hostPort(b.addr))
		if err != nil {
			f.shun(b, err)
			continue
		}
		if p := f.join(client, c.(*net.TCPConn), b); p != nil {
			return p
		}
		// The node left the list meanwhile.
		abort(c.(*net.TCPConn))
	}
	return nil
}

// pick chooses the next node: in turn, those that took connections lately
// before the others.
func (f *forwarder) pick(tried map[*backend]bool) *backend {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	var last *backend
	for i := range f.nodes {
		n := (f.next + i) % len(f.nodes)
		b := f.nodes[n]
		if tried[b] {
			continue
		}
		if now.Before(b.shun) {
			if last == nil {
				last = b
			}
			continue
		}
		f.next = n + 1
		return b
	}
	return last
}

func (f *forwarder) shun(b *backend, err error) {
	if f.ending.Err() != nil {
		return
	}
	f.mu.Lock()
	known := time.Now().Before(b.shun)
	b.shun = time.Now().Add(shunTime)
	f.mu.Unlock()
	if !known {
		f.m.cfg.Log.Warn("a node does not take connections", "endpoint", hostPort(f.at), "node", hostPort(b.addr), "error", err)
	}
}

// join makes a pair, unless the node has left the list or the forwarder ends.
func (f *forwarder) join(client, server *net.TCPConn, b *backend) *pair {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending.Err() != nil || !slices.Contains(f.nodes, b) {
		return nil
	}
	b.shun = time.Time{}
	p := &pair{client: client, server: server, node: b}
	f.links[p] = struct{}{}
	b.links.Add(1)
	return p
}

func (f *forwarder) forget(p *pair) {
	f.mu.Lock()
	delete(f.links, p)
	f.mu.Unlock()
	p.node.links.Done()
}
