package memcached

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/proc"
)

// Catalog looks an installed engine up by its name.
type Catalog interface {
	Build(name string) (catalog.Build, bool)
}

// Config is what Nodes need. Log may be nil.
type Config struct {
	// DataDir holds the directories of the nodes. MemoryDir, on a file system in memory, the
	// files of those that keep their items; "" if there is none.
	DataDir, MemoryDir string
	Supervisor         *proc.Supervisor
	Catalog            Catalog
	Log                *slog.Logger
}

// Nodes runs memcacheds. Its methods may be called from any goroutine.
type Nodes struct {
	cfg Config

	mu   sync.Mutex
	refs map[cache.Process]proc.Ref
}

// New makes Nodes.
func New(cfg Config) *Nodes {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Nodes{cfg: cfg, refs: map[cache.Process]proc.Ref{}}
}

// The files of a node's directory.
const (
	socketFile = "socket"
	logFile    = "engine.log"
)

// stopGrace is how long a memcached may take to end, and to write its memory file's
// description, before it is killed.
const stopGrace = 15 * time.Second

// node is where the things of one are.
type node struct{ id, dir, memory string }

func (n *Nodes) node(s cache.MemcachedSpec) (node, error) {
	region, cluster := cache.SplitKey(s.Cluster)
	for _, part := range []string{region, cluster, s.Node} {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "/\\\x00") {
			return node{}, fmt.Errorf("%w: %q does not name a node", cache.ErrPermanent, s.Key())
		}
	}
	at := node{id: "memcached " + s.Key(), dir: filepath.Join(n.cfg.DataDir, "nodes", region, cluster, s.Node)}
	if n.cfg.MemoryDir != "" {
		at.memory = filepath.Join(n.cfg.MemoryDir, region+" "+cluster+" "+s.Node)
	}
	return at, nil
}

// Start makes the node's process run, or finds the one that does.
func (n *Nodes) Start(ctx context.Context, s cache.MemcachedSpec) (cache.Process, error) {
	p, err := n.start(ctx, s)
	if err != nil {
		return p, fmt.Errorf("cannot start %s: %w", s.Key(), err)
	}
	return p, nil
}

func (n *Nodes) start(ctx context.Context, s cache.MemcachedSpec) (cache.Process, error) {
	at, err := n.node(s)
	if err != nil {
		return cache.Process{}, err
	}
	ref, running, err := n.cfg.Supervisor.Find(ctx, at.id)
	if err != nil {
		return cache.Process{}, err
	}
	if running {
		if alive, err := n.cfg.Supervisor.Adopt(ctx, ref); alive || err != nil {
			return n.know(ref), err
		}
	}
	b, ok := n.cfg.Catalog.Build(s.Build)
	if !ok || b.Engine != catalog.Memcached {
		return cache.Process{}, fmt.Errorf("%w: the engine %s is not installed", cache.ErrPermanent, s.Build)
	}
	if err := at.prepare(); err != nil {
		return cache.Process{}, err
	}
	args, _ := arguments(b, s.Parameters)
	if s.Keep {
		more, err := at.keepArguments(ctx)
		if err != nil {
			return cache.Process{}, err
		}
		args = append(args, more...)
	}
	ref, err = n.cfg.Supervisor.Start(ctx, proc.Spec{
		ID: at.id, Path: b.Server, Args: args, Env: b.Env, Dir: at.dir, Log: filepath.Join(at.dir, logFile),
	})
	if err != nil {
		return cache.Process{}, err
	}
	n.cfg.Log.Info("a node was started", "node", s.Key(), "build", b.Name, "pid", ref.PID)
	return n.know(ref), nil
}

// prepare makes the directory, and removes the socket of an earlier run.
func (at node) prepare() error {
	if err := os.MkdirAll(at.dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the node's directory: %w", err)
	}
	if err := os.Remove(filepath.Join(at.dir, socketFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove what an earlier run left: %w", err)
	}
	return nil
}

// know remembers a process that is handed out.
func (n *Nodes) know(ref proc.Ref) cache.Process {
	p := cache.Process{PID: ref.PID, StartTime: ref.StartTime, BootID: ref.BootID}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refs[p] = ref
	return p
}

// Adopt takes over the watch of a process of an earlier run of the service, and
// tells whether it still lives.
func (n *Nodes) Adopt(ctx context.Context, s cache.MemcachedSpec, p cache.Process) (bool, error) {
	at, err := n.node(s)
	if err != nil {
		return false, err
	}
	ref := proc.Ref{ID: at.id, PID: p.PID, StartTime: p.StartTime, BootID: p.BootID, Log: filepath.Join(at.dir, logFile)}
	ok, err := n.cfg.Supervisor.Adopt(ctx, ref)
	if err != nil {
		return false, fmt.Errorf("cannot adopt %s: %w", s.Key(), err)
	}
	if ok {
		n.know(ref)
	}
	return ok, nil
}

// Exited is closed when the process has ended; at once for one that neither
// Start nor Adopt has returned.
func (n *Nodes) Exited(p cache.Process) <-chan struct{} {
	n.mu.Lock()
	ref := n.refs[p]
	n.mu.Unlock()
	return n.cfg.Supervisor.Done(ref)
}

// AwaitReady returns once the node answers, or when it has ended.
func (n *Nodes) AwaitReady(ctx context.Context, s cache.MemcachedSpec, p cache.Process) error {
	exited := n.Exited(p)
	for wait := firstLook; ; wait = min(2*wait, slowLook) {
		err := n.ping(ctx, s)
		if err == nil {
			return nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-exited:
			t.Stop()
			return n.epitaph(s)
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%s is not ready: %w", s.Key(), errors.Join(ctx.Err(), err))
		}
	}
}

// How often a node that is not ready is looked at: at first, and at most.
const (
	firstLook = 2 * time.Millisecond
	slowLook  = 100 * time.Millisecond
)

// epitaph is what a node that has ended said last.
func (n *Nodes) epitaph(s cache.MemcachedSpec) error {
	at, err := n.node(s)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(at.dir, logFile))
	if err != nil {
		return fmt.Errorf("%s has ended: %w", s.Key(), err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Errorf("%s has ended; the last it said: %s", s.Key(), strings.Join(lines[max(0, len(lines)-3):], " / "))
}

// Stop ends whatever runs as the node; its items are gone then.
func (n *Nodes) Stop(ctx context.Context, s cache.MemcachedSpec, p *cache.Process) error {
	at, err := n.node(s)
	if err != nil {
		return err
	}
	ref, ok, err := n.cfg.Supervisor.Find(ctx, at.id)
	if err != nil {
		return fmt.Errorf("cannot stop %s: %w", s.Key(), err)
	}
	if !ok {
		ref = proc.Ref{ID: at.id}
		if p != nil {
			ref.PID, ref.StartTime, ref.BootID = p.PID, p.StartTime, p.BootID
		}
	}
	if err := n.cfg.Supervisor.Stop(ctx, ref, stopGrace); err != nil {
		return fmt.Errorf("cannot stop %s: %w", s.Key(), err)
	}
	return nil
}

// Remove deletes what is left of a node that has been stopped.
func (n *Nodes) Remove(_ context.Context, s cache.MemcachedSpec) error {
	at, err := n.node(s)
	if err != nil {
		return err
	}
	err = os.RemoveAll(at.dir)
	if at.memory != "" {
		err = errors.Join(err, os.RemoveAll(at.memory))
		_ = os.Remove(n.cfg.MemoryDir) // with the last node; it is made anew for the next
	}
	// The cluster's directory goes with its last node.
	if e := os.Remove(filepath.Dir(at.dir)); e != nil && !errors.Is(e, os.ErrNotExist) && !isNotEmpty(e) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", s.Key(), err)
	}
	return nil
}

// Dial connects to the node's socket.
func (n *Nodes) Dial(ctx context.Context, s cache.MemcachedSpec) (net.Conn, error) {
	at, err := n.node(s)
	if err != nil {
		return nil, err
	}
	return dialUnix(ctx, filepath.Join(at.dir, socketFile))
}

// Unapplied names the parameters whose values the node's build cannot honour.
func (n *Nodes) Unapplied(s cache.MemcachedSpec) []string {
	b, ok := n.cfg.Catalog.Build(s.Build)
	if !ok {
		return nil
	}
	_, names := arguments(b, s.Parameters)
	return names
}
