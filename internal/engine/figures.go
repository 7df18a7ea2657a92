package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// Meter asks nodes for all that they say of themselves, over connections of its own: whoever
// changes a node never waits for one that is asked and does not answer. They are kept, so
// that asking makes no new connections. Its methods may be called from any goroutine.
type Meter struct {
	e *Engines

	mu    sync.Mutex
	links map[string]*metered
}

// metered is the connection to one node, and when it was last used.
type metered struct {
	link link
	used time.Time
}

// meterIdle is how long a connection stays that nobody uses: its node has gone.
const meterIdle = 10 * time.Minute

// NewMeter makes a Meter.
func (e *Engines) NewMeter() *Meter { return &Meter{e: e, links: map[string]*metered{}} }

// Close hangs up on every node.
func (m *Meter) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, l := range m.links {
		errs = append(errs, l.link.close())
	}
	clear(m.links)
	return errors.Join(errs...)
}

// Read is what a running node says of itself, by the names of INFO.
func (m *Meter) Read(ctx context.Context, spec cache.NodeSpec) (map[string]string, error) {
	n, err := m.e.node(spec)
	if err != nil {
		return nil, err
	}
	var in info
	err = m.linkTo(spec).use(ctx, spec, func(c *resp.Conn) error {
		r, err := c.Do(ctx, "INFO", "all")
		if err != nil {
			return err
		}
		in = make(info, 256)
		in.read(string(r.Bytes))
		return n.isOurs(in)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for its figures: %w", spec.Key, err)
	}
	return in, nil
}

func (m *Meter) linkTo(spec cache.NodeSpec) *link {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for key, l := range m.links {
		if now.Sub(l.used) > meterIdle && l.link.leave() {
			delete(m.links, key)
		}
	}
	l := m.links[spec.Key]
	if l == nil {
		l = &metered{link: link{turn: newSem(), ways: m.e.admin}}
		m.links[spec.Key] = l
	}
	l.used = now
	return &l.link
}

// leave hangs up, unless somebody asks at this moment.
func (l *link) leave() bool {
	select {
	case l.turn <- struct{}{}:
		l.drop()
		<-l.turn
		return true
	default:
		return false
	}
}
