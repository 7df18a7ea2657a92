package monitor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"holdfast.dev/internal/cache"
)

// Node is one engine process to watch.
type Node struct {
	Key string
	// Engine is the key of its process and directory, which is another one once the node
	// has been replaced.
	Engine  string
	Process cache.Process
	Login   cache.Login
	// Spec is for Hands alone: as much of it as they need.
	Spec cache.NodeSpec
	// Leads: it is a primary. Follows is the key of the one that a replica should
	// follow; "" for a primary.
	Leads   bool
	Follows string
	// Ready: it has been ready, with its data. One that is not has nothing to lose.
	Ready bool
}

// Sight is what the process table shows; the zero Sight is a process that has ended.
type Sight struct {
	State byte
	// CPU is the processor time that it has used; CPUKnown that it is told.
	CPU      time.Duration
	CPUKnown bool
}

// Hands are what the monitor reaches the rest by.
type Hands interface {
	// Nodes are those to watch at present.
	Nodes(ctx context.Context) ([]Node, error)
	// Look asks the process table.
	Look(p cache.Process) (Sight, error)
	// Link asks a replica how far it is, and whether its link to its primary stands.
	Link(ctx context.Context, n Node) (up bool, offset int64, err error)
	// Fence kills the very process that n names.
	Fence(ctx context.Context, n Node) error
	// Silence writes down that n hangs, so that no reader is sent to it, or that it
	// answers again.
	Silence(ctx context.Context, n Node, silent bool) error
	// Tell adds an event about n.
	Tell(ctx context.Context, n Node, message string) error
}

// Config of a Monitor; all fields are needed.
type Config struct {
	Hands Hands
	// Changed receives when Nodes may have changed.
	Changed <-chan struct{}
	Log     *slog.Logger
}

const (
	// beat is how often owed answers are looked for.
	beat = 25 * time.Millisecond
	// primaries and replicas are how many beats lie between two questions.
	primaries = 7
	replicas  = 20
	// lateBy: a beat that comes so much late says that this process stood still.
	lateBy = 100 * time.Millisecond
	// refresh is how often at most the nodes are read.
	refresh = 250 * time.Millisecond
	// redial is how often a node that takes no connection is tried.
	redial = 500 * time.Millisecond
	// tellAfter is how long something goes on before an event tells of it, fenceReplica
	// and fenceUseless before a replica, or a node that has no data yet, is started again.
	tellAfter    = 3 * time.Second
	fenceReplica = 5 * time.Second
	fenceUseless = 20 * time.Second
	// again is how long after an attempt to end a process the next one follows.
	again = 10 * time.Second
)

// Monitor watches engines. Make one with New and call Run once.
type Monitor struct {
	Config
	work  sync.WaitGroup
	nodes []*watched
	byKey map[string]*watched
	// late: the beat that is under way came late.
	late bool
	// done takes what goroutines have found out, for the one that owns everything else.
	done chan func()
}

// New makes a monitor that does nothing yet.
func New(c Config) *Monitor {
	return &Monitor{Config: c, byKey: map[string]*watched{}, done: make(chan func(), 64)}
}

// Run watches until the context ends.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.end()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	last, count, read := time.Now(), 0, time.Time{}
	stale := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-m.done:
			f()
			continue
		case <-m.Changed:
			stale = true
			continue
		case <-tick.C:
		}
		now := time.Now()
		if stale && now.Sub(read) >= refresh {
			stale, read = !m.refresh(ctx), now
		}
		if m.late = now.Sub(last) > beat+lateBy; m.late {
			m.forgive(now, now.Sub(last))
		}
		last = now
		count++
		for i, w := range m.nodes {
			m.visit(ctx, w, count+i, now)
		}
	}
}

// refresh takes the nodes over as they are now.
func (m *Monitor) refresh(ctx context.Context) bool {
	nodes, err := m.Hands.Nodes(ctx)
	if err != nil {
		if ctx.Err() == nil {
			m.Log.Error("cannot read which nodes are to be watched", "error", err)
		}
		return false
	}
	seen := make(map[string]*watched, len(nodes))
	m.nodes = m.nodes[:0]
	for _, n := range nodes {
		w := m.byKey[n.Key]
		if w == nil || w.Process != n.Process || w.Login != n.Login {
			if w != nil {
				w.close()
			}
			w = &watched{line: line{fd: -1}, since: time.Now()}
		}
		w.Node = n
		seen[n.Key] = w
		m.nodes = append(m.nodes, w)
	}
	for key, w := range m.byKey {
		if seen[key] == nil {
			w.close()
		}
	}
	m.byKey = seen
	return true
}

// forgive begins to count anew for all: what was owed may have come meanwhile, and
// those who owe it may have stood still as we did. An episode goes on, without the time
// that was missed: the end of one is that the node answers.
func (m *Monitor) forgive(now time.Time, missed time.Duration) {
	for _, w := range m.nodes {
		w.forgive(now, missed)
	}
}

func (m *Monitor) end() {
	stop := make(chan struct{})
	go func() { m.work.Wait(); close(stop) }()
	for {
		select {
		case f := <-m.done:
			f()
			continue
		case <-stop:
		}
		break
	}
	for len(m.done) > 0 {
		(<-m.done)()
	}
	for _, w := range m.byKey {
		w.close()
	}
}

// later does something that takes time in a goroutine, and what follows from it here.
func (m *Monitor) later(f func() (then func())) {
	m.work.Go(func() { m.done <- f() })
}
