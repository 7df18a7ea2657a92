package testkit

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Direction of bytes through a FaultProxy.
type Direction int

// The two directions.
const (
	ToTarget Direction = iota
	ToClient
)

const proxyBuffer = 16 << 10

// FaultProxy passes TCP connections on to a target and breaks them when told to.
// Its methods may be called from any goroutine, apart from those that can fail the test.
type FaultProxy struct {
	t    testing.TB
	addr string

	mu      sync.Mutex
	target  string
	listen  net.Listener // nil while it refuses
	pairs   map[*pair]bool
	moving  chan struct{} // closed unless stalled
	rate    int           // bytes a second and direction of each connection; 0 is no limit
	budgets [2]int64      // bytes until all is cut; negative is no limit
	closed  bool
	owned   sync.WaitGroup // every goroutine of the proxy
}

// Proxy starts a proxy on a loopback port of its own in front of host:port.
func Proxy(t testing.TB, target string) *FaultProxy {
	t.Helper()
	moving := make(chan struct{})
	close(moving)
	p := &FaultProxy{t: t, target: target, pairs: map[*pair]bool{}, moving: moving, budgets: [2]int64{-1, -1}}
	l := Listen(t)
	p.addr = l.Addr().String()
	p.serve(l)
	t.Cleanup(p.end)
	return p
}

// Addr is where clients connect.
func (p *FaultProxy) Addr() string { return p.addr }

// Port is the port of Addr.
func (p *FaultProxy) Port() int { return addrPort(p.addr) }

// Retarget makes connections from now on go to another host:port.
func (p *FaultProxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut resets all connections there are. New ones are passed on.
func (p *FaultProxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAll()
}

// CutAfter lets so many more bytes through in one direction, counted over all
// connections, and then resets all connections, once.
func (p *FaultProxy) CutAfter(d Direction, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budgets[d] = max(bytes, 0)
}

// Stall holds all bytes back, both ways; connections stay open and new ones are accepted.
func (p *FaultProxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.moving:
		p.moving = make(chan struct{})
	default:
	}
}

// Resume ends Stall; nothing that was held back is lost.
func (p *FaultProxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resume()
}

// Slow limits each direction of each connection to so many bytes a second; 0 is no limit.
func (p *FaultProxy) Slow(bytesPerSecond int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = bytesPerSecond
}

// Refuse cuts everything and has new connections refused by the kernel.
func (p *FaultProxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse()
}

// Accept ends Refuse, at the same address. It fails the test when the address is gone.
func (p *FaultProxy) Accept() {
	p.t.Helper()
	p.mu.Lock()
	refusing := p.listen == nil
	p.mu.Unlock()
	if !refusing {
		return
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatalf("cannot open the proxy again: %v", err)
	}
	p.serve(l)
}

// Connections is the number of those that are open now.
func (p *FaultProxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

// end is the cleanup: it leaves no goroutine and no socket behind.
func (p *FaultProxy) end() {
	p.mu.Lock()
	p.closed = true
	p.refuse()
	p.resume()
	p.mu.Unlock()
	p.owned.Wait()
}

// serve accepts in the background until the listener is closed.
func (p *FaultProxy) serve(l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listen = l
	p.owned.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed by refuse
			}
			p.owned.Go(func() { p.join(c) })
		}
	})
}

// join connects a client to the target and moves bytes until one side ends.
func (p *FaultProxy) join(client net.Conn) {
	p.mu.Lock()
	to := p.target
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", to, dialTimeout)
	if err != nil {
		reset(client)
		return
	}
	c := &pair{client: client, server: server, done: make(chan struct{})}
	p.mu.Lock()
	if p.closed || p.listen == nil {
		c.cut()
	} else {
		p.pairs[c] = true
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pump(c, ToTarget, client, server) })
	both.Go(func() { p.pump(c, ToClient, server, client) })
	both.Wait()
	c.close()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}

// pump moves bytes one way, and passes on the end of the stream.
func (p *FaultProxy) pump(c *pair, d Direction, from, to net.Conn) {
	buf := make([]byte, proxyBuffer)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.pass(c, d, to, buf[:n]) {
			return
		}
		if errors.Is(err, io.EOF) {
			if !p.hold(c) {
				return
			}
			// The other direction may still have something to say.
			if half, ok := to.(*net.TCPConn); !ok || half.CloseWrite() != nil {
				c.close()
			}
			return
		}
		if err != nil {
			c.cut()
			return
		}
	}
}

// pass writes b as stalls, the rate and the budget allow; false when the
// connection is over.
func (p *FaultProxy) pass(c *pair, d Direction, to net.Conn, b []byte) bool {
	for len(b) > 0 {
		if !p.hold(c) {
			return false
		}
		part, pause, last := p.portion(d, b)
		if _, err := to.Write(part); err != nil {
			c.cut()
			return false
		}
		if last {
			p.Cut()
			return false
		}
		b = b[len(part):]
		if !c.sleep(pause) {
			return false
		}
	}
	return true
}

// hold waits while the proxy is stalled; false when the connection was cut meanwhile.
func (p *FaultProxy) hold(c *pair) bool {
	p.mu.Lock()
	moving := p.moving
	p.mu.Unlock()
	select {
	case <-moving:
		return true
	case <-c.done:
		return false
	}
}

// portion is how much of b may go now, how long to wait after it, and whether
// the budget ends with it.
func (p *FaultProxy) portion(d Direction, b []byte) (part []byte, pause time.Duration, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate > 0 {
		// A hundredth of a second's worth at a time, so that the pace is even.
		b = b[:min(len(b), max(p.rate/100, 1))]
		pause = time.Duration(len(b)) * time.Second / time.Duration(p.rate)
	}
	if p.budgets[d] < 0 {
		return b, pause, false
	}
	b = b[:min(int64(len(b)), p.budgets[d])]
	p.budgets[d] -= int64(len(b))
	if p.budgets[d] == 0 {
		p.budgets[d] = -1
		return b, 0, true
	}
	return b, pause, false
}

// The following want p.mu held.

func (p *FaultProxy) cutAll() {
	for c := range p.pairs {
		c.cut()
	}
}

func (p *FaultProxy) resume() {
	select {
	case <-p.moving:
	default:
		close(p.moving)
	}
}

func (p *FaultProxy) refuse() {
	if p.listen != nil {
		// A listener that is closed twice is the only failure there is.
		_ = p.listen.Close()
		p.listen = nil
	}
	p.cutAll()
}
