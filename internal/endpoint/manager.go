package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast.dev/internal/cache"
)

const (
	defaultListenWait = 5 * time.Second
	// mostConns is the default limit of clients where descriptors allow it.
	mostConns = 20000
	// spareFiles are left to the rest of the process.
	spareFiles = 1000
)

// ErrClosed: the Manager has been closed.
var ErrClosed = errors.New("the endpoints are closed")

// Config of a Manager. Zero values have defaults.
type Config struct {
	// Log gets what no caller is there to be told; nil discards it.
	Log *slog.Logger
	// MaxConns is how many clients all forwarders together may have at a time; 0
	// means 20,000, or fewer if the process may not have two open files for each.
	MaxConns int
	// ListenWait is how long Set waits for an address that somebody else holds; 0
	// means 5 s.
	ListenWait time.Duration
	// Door judges the log-ins of SetLogin; without it that fails.
	Door Door
	// After is time.AfterFunc, and returns what stops it; nil means that.
	After func(d time.Duration, f func()) (stop func() bool)
}

// Manager owns forwarders. Its methods may be called from any goroutine; calls
// for one address wait for each other.
type Manager struct {
	cfg   Config
	conns atomic.Int64
	// ending is done once Close has been called.
	ending context.Context
	end    context.CancelFunc

	mu     sync.Mutex
	closed bool
	byAddr map[cache.Address]*place
}

// place is an address that was spoken of; turn is held while it is changed.
type place struct {
	turn chan struct{}
	// f is nil while nothing listens there. It is written under turn and Manager.mu.
	f *forwarder
}

// New makes a Manager that forwards nothing yet.
func New(cfg Config) *Manager {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = affordable()
	}
	if cfg.ListenWait <= 0 {
		cfg.ListenWait = defaultListenWait
	}
	if cfg.After == nil {
		cfg.After = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	m := &Manager{cfg: cfg, byAddr: map[cache.Address]*place{}}
	m.ending, m.end = context.WithCancel(context.Background())
	return m
}

// affordable is how many clients the limit of open files allows.
func affordable() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil || lim.Cur > 2*mostConns+spareFiles {
		return mostConns
	}
	return max(int(lim.Cur)-spareFiles, 100) / 2
}

// Set makes connections to at go to the nodes in to, in turn, and cuts off those
// whose node is not among them any more. The order of to does not matter. Saying the
// same again changes nothing.
func (m *Manager) Set(ctx context.Context, at cache.Address, to []cache.Address) error {
	nodes := make([]target, len(to))
	for i := range to {
		nodes[i].plain = to[i]
	}
	return m.setNodes(ctx, at, "", nodes)
}

// setNodes is Set; unit as in SetLogin, "" for none.
func (m *Manager) setNodes(ctx context.Context, at cache.Address, unit string, to []target) error {
	if err := m.set(ctx, at, unit, to); err != nil {
		return fmt.Errorf("cannot forward %s: %w", hostPort(at), err)
	}
	return nil
}

func (m *Manager) set(ctx context.Context, at cache.Address, unit string, to []target) error {
	if at.IsZero() || at.Port <= 0 || len(to) == 0 {
		return fmt.Errorf("%w: it needs an address to listen at and nodes to forward to", cache.ErrPermanent)
	}
	for _, n := range to {
		if a := n.plain; a == at || a.IsZero() || a.Port <= 0 || n.secure == at {
			return fmt.Errorf("%w: it cannot go to %q", cache.ErrPermanent, hostPort(a))
		}
	}
	p, release, err := m.take(ctx, at)
	if err != nil {
		return err
	}
	defer release()
	if p.f != nil {
		return p.f.retarget(ctx, unit, to)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ending, cancel)()
	l, err := listen(ctx, at, m.cfg.ListenWait)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errors.Join(ErrClosed, l.Close())
	}
	p.f = newForwarder(m, at, l, unit, to)
	p.f.run()
	return nil
}

// Remove stops listening and cuts every connection off. An address that is not
// forwarded is left alone.
func (m *Manager) Remove(ctx context.Context, at cache.Address) error {
	p, release, err := m.take(ctx, at)
	if err != nil {
		return fmt.Errorf("cannot stop forwarding %s: %w", hostPort(at), err)
	}
	defer release()
	m.mu.Lock()
	f := p.f
	p.f = nil
	m.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f.close(); err != nil {
		return fmt.Errorf("cannot stop forwarding %s: %w", hostPort(at), err)
	}
	return nil
}

// take waits for the turn of an address.
func (m *Manager) take(ctx context.Context, at cache.Address) (*place, func(), error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, nil, ErrClosed
	}
	p := m.byAddr[at]
	if p == nil {
		p = &place{turn: make(chan struct{}, 1)}
		m.byAddr[at] = p
	}
	m.mu.Unlock()
	select {
	case p.turn <- struct{}{}:
		return p, func() { <-p.turn }, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// Forwards tells what is forwarded at present, and where to.
func (m *Manager) Forwards() map[cache.Address][]cache.Address {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[cache.Address][]cache.Address{}
	for at, p := range m.byAddr {
		if p.f != nil {
			out[at] = p.f.targets()
		}
	}
	return out
}

// Close ends everything and waits for it. Later calls of Set and Remove fail.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	var all []*place
	for _, p := range m.byAddr {
		all = append(all, p)
	}
	m.mu.Unlock()
	m.end()
	var errs []error
	for _, p := range all {
		p.turn <- struct{}{} // whoever has it is about to give up
		m.mu.Lock()
		f := p.f
		p.f = nil
		m.mu.Unlock()
		if f != nil {
			errs = append(errs, f.close())
		}
		<-p.turn
	}
	return errors.Join(errs...)
}

// listenAgain is how often an address that is taken is tried.
const listenAgain = 5 * time.Millisecond

// listen waits for the kernel to give the address out: the engine that held it
// may be about to let go.
func listen(ctx context.Context, at cache.Address, wait time.Duration) (*net.TCPListener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // both ends are on this machine
	give := time.Now().Add(wait)
	for {
		l, err := lc.Listen(ctx, "tcp", hostPort(at))
		if err == nil {
			return l.(*net.TCPListener), nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(give) {
			return nil, err
		}
		t := time.NewTimer(listenAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

func hostPort(a cache.Address) string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// unique sorts nodes and drops doubles.
func unique(to []target) []target {
	out := slices.Clone(to)
	slices.SortFunc(out, func(a, b target) int {
		return cmp.Or(strings.Compare(a.plain.Host, b.plain.Host), a.plain.Port-b.plain.Port)
	})
	return slices.CompactFunc(out, func(a, b target) bool { return a.plain == b.plain })
}
