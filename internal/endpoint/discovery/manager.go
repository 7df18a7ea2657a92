package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	defaultListenWait = 5 * time.Second
	// listenAgain is how often an address that is taken is tried.
	listenAgain = 5 * time.Millisecond
	// mostConns is how many clients one address takes where descriptors allow it: what
	// memcached itself takes. spareFiles are left to the rest of the process.
	mostConns  = 65000
	spareFiles = 1000
)

// ErrClosed: the Manager has been closed.
var ErrClosed = errors.New("the fronts are closed")

// Dial connects to one memcached.
type Dial func(ctx context.Context) (net.Conn, error)

// Door is one address of a cluster.
type Door struct {
	Host string
	Port int
	// To are the nodes behind it. Clients go to them in turn, past those that take no connection.
	To []Dial
	// TLS that clients are to speak; nil for none. It is that of the first Set for good.
	TLS *tls.Config
}

func (d Door) address() string { return net.JoinHostPort(d.Host, strconv.Itoa(d.Port)) }

// ManagerConfig of a Manager. Zero values have defaults.
type ManagerConfig struct {
	// Log gets what no caller is there to be told; nil discards it.
	Log *slog.Logger
	// ListenWait is how long Set waits for an address that somebody else holds; 0 means 5 s.
	ListenWait time.Duration
}

// Manager owns the fronts of clusters. Its methods may be called from any goroutine;
// calls for one cluster wait for each other.
type Manager struct {
	cfg ManagerConfig
	// ending is done once Close has been called.
	ending context.Context
	end    context.CancelFunc

	mu       sync.Mutex
	closed   bool
	clusters map[string]*cluster
}

// cluster is one that was spoken of; turn is held while it is changed, and doors, by
// address, belong to whoever holds it.
type cluster struct {
	turn  chan struct{}
	doors map[string]*door
}

type door struct {
	front *Front
	to    atomic.Pointer[[]Dial]
	next  atomic.Uint64
}

// NewManager makes a Manager with no fronts.
func NewManager(cfg ManagerConfig) *Manager {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.ListenWait <= 0 {
		cfg.ListenWait = defaultListenWait
	}
	m := &Manager{cfg: cfg, clusters: map[string]*cluster{}}
	m.ending, m.end = context.WithCancel(context.Background())
	return m
}

// Set makes exactly these doors of a cluster stand, and all of them answer the list:
// those that stay are told it first and at once, then those that are not among them are
// closed, with their clients cut off, and then new ones open. A door that cannot be opened
// does not keep the others from it. Saying the same again changes nothing.
func (m *Manager) Set(ctx context.Context, name string, doors []Door, list List) error {
	c, release, err := m.take(ctx, name)
	if err != nil {
		return fmt.Errorf("cannot stand before %s: %w", name, err)
	}
	defer release()
	if err := m.set(ctx, c, doors, list); err != nil {
		return fmt.Errorf("cannot stand before %s: %w", name, err)
	}
	return nil
}

func (m *Manager) set(ctx context.Context, c *cluster, doors []Door, list List) error {
	wanted := make(map[string]Door, len(doors))
	for _, d := range doors {
		wanted[d.address()] = d
	}
	for at, d := range c.doors {
		if w, stays := wanted[at]; stays {
			d.to.Store(&w.To)
			d.front.SetList(list)
			delete(wanted, at)
		}
	}
	var errs []error
	for at, d := range c.doors {
		if !contains(doors, at) {
			errs = append(errs, d.front.Close())
			delete(c.doors, at)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ending, cancel)()
	var mu sync.Mutex
	var opening sync.WaitGroup
	for at, w := range wanted {
		opening.Go(func() {
			d, err := m.open(ctx, at, w, list)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			c.doors[at] = d
		})
	}
	opening.Wait()
	return errors.Join(errs...)
}

func contains(doors []Door, at string) bool {
	for _, d := range doors {
		if d.address() == at {
			return true
		}
	}
	return false
}

func (m *Manager) open(ctx context.Context, at string, w Door, list List) (*door, error) {
	l, err := listen(ctx, at, m.cfg.ListenWait)
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w", at, err)
	}
	if w.TLS != nil {
		l = tls.NewListener(l, w.TLS)
	}
	d := &door{}
	d.to.Store(&w.To)
	d.front, err = New(Config{Listener: l, Dial: d.dial, MaxConns: affordable(), Log: m.cfg.Log}, list)
	return d, err
}

// dial connects to the node whose turn it is, or to the next that can be reached.
func (d *door) dial(ctx context.Context) (net.Conn, error) {
	to := *d.to.Load()
	turn := d.next.Add(1) - 1
	errs := []error{errors.New("no node can be reached")}
	for i := range uint64(len(to)) {
		c, err := to[(turn+i)%uint64(len(to))](ctx)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Remove closes every door of a cluster. One that has none is left alone.
func (m *Manager) Remove(ctx context.Context, name string) error {
	c, release, err := m.take(ctx, name)
	if err == nil {
		defer release()
		err = c.close()
	}
	if err != nil {
		return fmt.Errorf("cannot close the doors of %s: %w", name, err)
	}
	return nil
}

func (c *cluster) close() error {
	var errs []error
	for at, d := range c.doors {
		errs = append(errs, d.front.Close())
		delete(c.doors, at)
	}
	return errors.Join(errs...)
}

// Close ends everything and waits for it. Later calls of Set and Remove fail.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	all := make([]*cluster, 0, len(m.clusters))
	for _, c := range m.clusters {
		all = append(all, c)
	}
	m.mu.Unlock()
	m.end()
	var errs []error
	for _, c := range all {
		c.turn <- struct{}{} // whoever has it is about to give up
		errs = append(errs, c.close())
		<-c.turn
	}
	return errors.Join(errs...)
}

// take waits for the turn of a cluster.
func (m *Manager) take(ctx context.Context, name string) (*cluster, func(), error) {
	m.mu.Lock()
	c := m.clusters[name]
	if c == nil {
		c = &cluster{turn: make(chan struct{}, 1), doors: map[string]*door{}}
		m.clusters[name] = c
	}
	m.mu.Unlock()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		<-c.turn
		return nil, nil, ErrClosed
	}
	return c, func() { <-c.turn }, nil
}

// listen waits for the kernel to give the address out.
func listen(ctx context.Context, at string, wait time.Duration) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // both ends are on this machine
	give := time.Now().Add(wait)
	for {
		l, err := lc.Listen(ctx, "tcp", at)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(give) {
			return l, err
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

// affordable is how many clients the limit of open files allows one address.
func affordable() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil || lim.Cur > 2*mostConns+spareFiles {
		return mostConns
	}
	return max(int(lim.Cur)-spareFiles, 100) / 2
}
