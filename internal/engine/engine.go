package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
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

// Config is what Engines need. Log may be nil.
type Config struct {
	// DataDir holds the directories of the nodes.
	DataDir    string
	Supervisor *proc.Supervisor
	Catalog    Catalog
	Log        *slog.Logger
	// Authority signs the certificates of nodes that speak TLS. Without it none does.
	Authority Authority
	// StopGrace is how long a node may take to stop before it is killed; 0 means
	// 15 s, which is more than an engine waits for its replicas.
	StopGrace time.Duration
}

// Engines makes nodes be what their specs say. Its methods may be called from
// any goroutine. Close lets go of the connections and leaves every node running.
type Engines struct {
	cfg Config

	mu    sync.Mutex
	nodes map[string]*node
	// runs finds the reference of a process that was handed out.
	runs map[cache.Process]proc.Ref
	// trusted is what bundle says, both for trust alone.
	trusted *tls.Config
	bundle  string
	// speaks tells, by program, which builds have TLS. asking is held while one is asked.
	asking sync.Mutex
	speaks map[string]bool
}

// Errors of a node that cannot be asked. A node that is busy or does not answer
// is not a dead one: whether its process lives is what Exited tells.
var (
	// ErrRefused: nobody, or a stranger, answers at the node's address.
	ErrRefused = errors.New("the node does not take connections")
	// ErrBusy: the engine lives and is at work on something else, such as a long script.
	ErrBusy = errors.New("the node is busy")
	// ErrNoAnswer: the connection stands and nothing came back in time.
	ErrNoAnswer = errors.New("the node does not answer")
	// ErrLogin: the engine does not know the administrator or the password.
	ErrLogin = errors.New("the node does not let the administrator in")
	// ErrNotRunning: the node's process is not there.
	ErrNotRunning = errors.New("the node is not running")
)

const defaultGrace = 15 * time.Second

// New makes Engines.
func New(cfg Config) *Engines {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.StopGrace <= 0 {
		cfg.StopGrace = defaultGrace
	}
	return &Engines{cfg: cfg, nodes: map[string]*node{}, runs: map[cache.Process]proc.Ref{}, speaks: map[string]bool{}}
}

// Close hangs up on every node.
func (e *Engines) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, n := range e.nodes {
		errs = append(errs, n.link.close())
	}
	return errors.Join(errs...)
}

// node is what is remembered of one node between calls. None of it is needed: a
// new Engines finds out everything again.
type node struct {
	key, id, dir string
	// turn is held while the node is changed.
	turn sem
	link link

	mu  sync.Mutex
	ref proc.Ref
	// logFrom is where the log of the present run begins, -1 if that is not known.
	logFrom int64
	// refused are the parameters that the running engine would not take.
	refused map[string]bool
}

func (e *Engines) node(spec cache.NodeSpec) (*node, error) {
	region, id := cache.SplitKey(spec.Key)
	for _, part := range []string{region, id} {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "/\\\x00") {
			return nil, fmt.Errorf("%w: %q does not name a node", cache.ErrPermanent, spec.Key)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[spec.Key]
	if n == nil {
		n = &node{
			key: spec.Key, id: "node " + spec.Key, turn: newSem(), link: link{turn: newSem(), ways: e.admin},
			dir: filepath.Join(e.cfg.DataDir, "nodes", region, id), logFrom: -1,
		}
		e.nodes[spec.Key] = n
	}
	return n, nil
}

func (n *node) log() string { return filepath.Join(n.dir, logFile) }

// run remembers which process is the node's.
func (e *Engines) run(n *node, ref proc.Ref, logFrom int64) cache.Process {
	p := cache.Process{PID: ref.PID, StartTime: ref.StartTime, BootID: ref.BootID}
	e.mu.Lock()
	defer e.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(e.runs, cache.Process{PID: n.ref.PID, StartTime: n.ref.StartTime, BootID: n.ref.BootID})
	if n.ref != ref {
		n.logFrom = logFrom
		n.refused = nil
	}
	n.ref = ref
	e.runs[p] = ref
	return p
}

func (e *Engines) forget(n *node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(e.runs, cache.Process{PID: n.ref.PID, StartTime: n.ref.StartTime, BootID: n.ref.BootID})
	n.ref = proc.Ref{}
}

// build finds the installed engine and its dialect, and refuses a spec that it cannot fulfil.
func (e *Engines) build(spec cache.NodeSpec) (catalog.Build, dialect, error) {
	b, ok := e.cfg.Catalog.Build(spec.Build)
	if !ok {
		return b, dialect{}, fmt.Errorf("the engine %s is not installed", spec.Build)
	}
	if b.Engine != cache.Redis && b.Engine != cache.Valkey {
		return b, dialect{}, fmt.Errorf("%w: %s is %s, neither Redis nor Valkey", cache.ErrPermanent, b.Name, b.Engine)
	}
	v, err := parseVersion(b.Version)
	if err != nil {
		return b, dialect{}, fmt.Errorf("%w: %w", cache.ErrPermanent, err)
	}
	if !b.ACL {
		return b, dialect{}, fmt.Errorf("%w: %s has no users, so nothing could be withheld from anybody", cache.ErrPermanent, b.Name)
	}
	d := dialect{engine: b.Engine, version: v}
	return b, d, check(d, spec)
}

func check(d dialect, spec cache.NodeSpec) error {
	switch {
	case spec.Address.IsZero() || spec.Address.Port <= 0:
		return fmt.Errorf("%w: the node has no address", cache.ErrPermanent)
	case spec.Secret == "":
		return fmt.Errorf("%w: the node's administrator has no password", cache.ErrPermanent)
	case !d.canRebind() && len(hosts(spec)) > 1:
		return fmt.Errorf("%w: %s %d.%d cannot hold an endpoint: it cannot change its addresses while it runs",
			cache.ErrPermanent, d.engine, d.version[0], d.version[1])
	}
	if err := checkCluster(d, spec); err != nil {
		return err
	}
	if err := checkTLS(d, spec); err != nil {
		return err
	}
	for _, h := range append(hosts(spec), spec.Primary.Host) {
		if h != "" && net.ParseIP(h) == nil {
			return fmt.Errorf("%w: %q is not an IP address", cache.ErrPermanent, h)
		}
	}
	return nil
}

// CanRebind tells whether a build can change its addresses while it runs; false
// also for one that is not installed.
func (e *Engines) CanRebind(build string) bool {
	b, ok := e.cfg.Catalog.Build(build)
	return ok && b.Rebind
}

// Admin is Holdfast's own login on the node.
func (e *Engines) Admin(spec cache.NodeSpec) cache.Login {
	l := cache.Login{User: AdminUser, Password: spec.Secret}
	for i, d := range cache.Doors(spec.Address, spec.Transit.Mode, spec.Transit.Told) {
		if i > 0 {
			l.Also = d.Address
			continue
		}
		if l.Address = d.Address; d.TLS {
			l.TLS = e.trust()
		}
	}
	return l
}

// Unapplied names the parameters, as the spec does, whose values the node's build
// cannot honour, or that the running engine refuses. It asks the engine, since what
// that has refused before may have been said to an earlier run of the service.
func (e *Engines) Unapplied(ctx context.Context, spec cache.NodeSpec) ([]string, error) {
	_, d, err := e.build(spec)
	if err != nil {
		return nil, err
	}
	n, err := e.node(spec)
	if err != nil {
		return nil, err
	}
	if err := e.tryOut(ctx, n, spec); err != nil {
		return nil, fmt.Errorf("cannot ask %s for its parameters: %w", spec.Key, err)
	}
	_, names := translate(d, spec)
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range spec.Parameters {
		if n.refused[spelled(d, modern(name))] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func hostPort(a cache.Address) string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// sem is a mutex that can be waited for with a context.
type sem chan struct{}

func newSem() sem { return make(sem, 1) }

func (s sem) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
