package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a Front.
type Config struct {
	// Listener takes the clients; with TLS if they are to speak that. The front
	// closes it.
	Listener net.Listener
	// Dial connects to a memcached. It is asked once for each client.
	Dial func(ctx context.Context) (net.Conn, error)
	// Password tells that memcached wants one in the text protocol before anything else.
	Password bool
	// MaxConns is how many clients there may be at a time; 0 is no limit.
	MaxConns int
	// Log gets what no caller is there to be told; nil discards it.
	Log *slog.Logger
}

// Front is one address. Make one with New; it serves until Close.
type Front struct {
	cfg  Config
	list atomic.Pointer[[]byte]
	// ending is done once the front is to end.
	ending context.Context
	end    context.CancelFunc
	tasks  sync.WaitGroup
	asked  atomic.Int64

	mu    sync.Mutex
	links map[*link]struct{}
}

// New serves clients with that list.
func New(cfg Config, list List) (*Front, error) {
	if cfg.Listener == nil || cfg.Dial == nil {
		return nil, errors.New("a front needs somewhere to listen and somewhere to go")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Front{cfg: cfg, links: map[*link]struct{}{}}
	f.ending, f.end = context.WithCancel(context.Background())
	f.SetList(list)
	f.tasks.Go(f.accept)
	return f, nil
}

// SetList changes what clients are answered from now on.
func (f *Front) SetList(list List) {
	p := list.payload()
	f.list.Store(&p)
}

// Asked is how many times the list, or another configuration, was asked for.
func (f *Front) Asked() int64 { return f.asked.Load() }

// Cut ends the connections of all clients there are, which then come anew.
func (f *Front) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.links {
		l.cut()
	}
}

// Close ends everything and waits for it.
func (f *Front) Close() error {
	f.end()
	err := f.cfg.Listener.Close()
	f.Cut()
	f.tasks.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("cannot stop listening at %s: %w", f.cfg.Listener.Addr(), err)
	}
	return nil
}

// The pauses after an accept that failed, for want of descriptors mostly.
const (
	firstPause = 5 * time.Millisecond
	longPause  = time.Second
)

func (f *Front) accept() {
	var pause time.Duration
	for {
		c, err := f.cfg.Listener.Accept()
		if err == nil {
			pause = 0
			f.tasks.Go(func() { f.serve(c) })
			continue
		}
		if f.ending.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if pause == 0 {
			f.cfg.Log.Warn("an endpoint cannot take connections", "address", f.cfg.Listener.Addr().String(), "error", err)
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

// serve is one client from beginning to end.
func (f *Front) serve(client net.Conn) {
	l := &link{f: f, client: client}
	if !f.join(l) {
		abort(client)
		return
	}
	defer f.leave(l)
	server, err := f.cfg.Dial(f.ending)
	if err != nil {
		if f.ending.Err() == nil {
			f.cfg.Log.Warn("a node does not take connections", "endpoint", f.cfg.Listener.Addr().String(), "error", err)
		}
		l.cut()
		return
	}
	if !l.attach(server) {
		return
	}
	l.run()
}

// join counts a client in, unless there are too many or the front ends.
func (f *Front) join(l *link) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending.Err() != nil || f.cfg.MaxConns > 0 && len(f.links) >= f.cfg.MaxConns {
		return false
	}
	f.links[l] = struct{}{}
	return true
}

func (f *Front) leave(l *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.links, l)
}

// abort closes a connection with RST: nothing that is still in it will arrive.
func abort(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0) // an error means that it is closed already
	}
	_ = c.Close()
}
