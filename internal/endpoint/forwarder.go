package endpoint

import (
	"context"
	"crypto/tls"
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
	// unit is whose clients may log in with tokens, "" for those of nobody; see SetLogin.
	unit string
	tls  *tls.Config // nil until it is needed
}

// backend is one node.
type backend struct {
	addr cache.Address
	// secure is where it serves TLS, where that is another address; see target.
	secure cache.Address
	shun   time.Time // until when it is passed over
	links  sync.WaitGroup
}

func newForwarder(m *Manager, at cache.Address, l *net.TCPListener, unit string, to []target) *forwarder {
	f := &forwarder{m: m, at: at, l: l, unit: unit, links: map[*pair]struct{}{}}
	f.ending, f.end = context.WithCancel(context.Background())
	for _, n := range unique(to) {
		f.nodes = append(f.nodes, &backend{addr: n.plain, secure: n.secure})
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
func (f *forwarder) retarget(ctx context.Context, unit string, to []target) error {
	to = unique(to)
	f.mu.Lock()
	f.unit = unit
	var stay, left []*backend
	for _, b := range f.nodes {
		if i := slices.IndexFunc(to, func(n target) bool { return n.plain == b.addr }); i >= 0 {
			b.secure = to[i].secure
			stay = append(stay, b)
		} else {
			left = append(left, b)
		}
	}
	for _, n := range to {
		if !slices.ContainsFunc(stay, func(b *backend) bool { return b.addr == n.plain }) {
			stay = append(stay, &backend{addr: n.plain, secure: n.secure})
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
	k, ok := f.greet(client)
	if !ok {
		abort(client)
		return
	}
	if unit := f.loginsOf(); unit != "" {
		f.admit(client, k, unit)
		return
	}
	p := f.connect(client, k)
	if p == nil {
		abort(client)
		return
	}
	defer f.forget(p)
	p.pump()
}

// loginsOf is whose clients may log in with tokens.
func (f *forwarder) loginsOf() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unit
}

// connect finds a node that takes the client; nil if none does.
func (f *forwarder) connect(client *net.TCPConn, k kind) *pair {
	tried := map[*backend]bool{}
	for f.ending.Err() == nil {
		b := f.pick(tried)
		if b == nil {
			return nil
		}
		tried[b] = true
		c, at, err := f.dial(b, k)
		if err != nil {
			f.shun(b, err)
			continue
		}
		if p := f.join(client, c, b); p != nil {
			p.at = at
			return p
		}
		// The node left the list meanwhile.
		abort(c)
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
