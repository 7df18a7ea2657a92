package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/proc"
)

// Start makes the node's process run, or finds the one that does, which it
// leaves as it is: what has changed since is told to it by Reconfigure. It
// returns when the process exists; AwaitReady waits for it to serve.
func (e *Engines) Start(ctx context.Context, spec cache.NodeSpec) (cache.Process, error) {
	p, err := e.start(ctx, spec)
	if err != nil {
		return p, fmt.Errorf("cannot start %s: %w", spec.Key, err)
	}
	return p, nil
}

func (e *Engines) start(ctx context.Context, spec cache.NodeSpec) (cache.Process, error) {
	b, d, err := e.build(spec)
	if err != nil {
		return cache.Process{}, err
	}
	n, err := e.node(spec)
	if err != nil {
		return cache.Process{}, err
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return cache.Process{}, err
	}
	defer unlock()
	if p, ok, err := e.find(ctx, n); ok || err != nil {
		return p, err
	}
	// A child that saves may have outlived its server; it must not finish.
	if err := e.cfg.Supervisor.Stop(ctx, proc.Ref{ID: n.id}, 0); err != nil {
		return cache.Process{}, err
	}
	if err := n.prepare(d, spec); err != nil {
		return cache.Process{}, err
	}
	if err := n.certify(e.cfg.Authority, spec); err != nil {
		return cache.Process{}, err
	}
	return e.launch(ctx, n, b)
}

// prepare writes the directory's files and removes what is stale.
func (n *node) prepare(d dialect, spec cache.NodeSpec) error {
	if spec.Cluster != nil && len(hosts(spec)) > 1 {
		return fmt.Errorf("%w: a node in cluster mode is not started with an endpoint: its bus would hold it for life", cache.ErrPermanent)
	}
	if err := checkAccess(d, spec.Access); err != nil {
		return err
	}
	if err := n.makeDir(); err != nil {
		return err
	}
	if spec.Seeded {
		if err := n.checkSeed(); err != nil {
			return err
		}
	}
	if err := n.sweep(spec); err != nil {
		return err
	}
	if err := n.writeNodes(d, spec); err != nil {
		return err
	}
	return n.writeConf(configuration(d, n.dir, spec))
}

func (e *Engines) launch(ctx context.Context, n *node, b catalog.Build) (cache.Process, error) {
	var logFrom int64
	if fi, err := os.Stat(n.log()); err == nil {
		logFrom = fi.Size()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return cache.Process{}, fmt.Errorf("cannot look at the log: %w", err)
	}
	ref, err := e.cfg.Supervisor.Start(ctx, proc.Spec{
		ID: n.id, Path: b.Server, Args: []string{filepath.Join(n.dir, confFile)}, Env: b.Env, Dir: n.dir, Log: n.log(),
	})
	if err != nil {
		return cache.Process{}, err
	}
	e.cfg.Log.Info("a node was started", "node", n.key, "build", b.Name, "pid", ref.PID)
	return e.run(n, ref, logFrom), nil
}

// find takes up the node's process if there is one.
func (e *Engines) find(ctx context.Context, n *node) (cache.Process, bool, error) {
	ref, ok, err := e.cfg.Supervisor.Find(ctx, n.id)
	if !ok || err != nil {
		return cache.Process{}, false, err
	}
	if alive, err := e.cfg.Supervisor.Adopt(ctx, ref); !alive || err != nil {
		return cache.Process{}, false, err
	}
	return e.run(n, ref, -1), true, nil
}

// Running finds the node's process, whether anybody knows of it or not, and takes over
// its watch.
func (e *Engines) Running(ctx context.Context, spec cache.NodeSpec) (cache.Process, bool, error) {
	n, err := e.node(spec)
	if err != nil {
		return cache.Process{}, false, fmt.Errorf("cannot look for %s: %w", spec.Key, err)
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return cache.Process{}, false, fmt.Errorf("cannot look for %s: %w", spec.Key, err)
	}
	defer unlock()
	p, ok, err := e.find(ctx, n)
	if err != nil {
		return p, false, fmt.Errorf("cannot look for %s: %w", spec.Key, err)
	}
	return p, ok, nil
}

// Adopt takes over the watch of a process of an earlier run of the service, and
// tells whether it still lives. Its exit is noticed at once, like that of a child.
func (e *Engines) Adopt(ctx context.Context, spec cache.NodeSpec, p cache.Process) (bool, error) {
	n, err := e.node(spec)
	if err != nil {
		return false, fmt.Errorf("cannot adopt %s: %w", spec.Key, err)
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return false, fmt.Errorf("cannot adopt %s: %w", spec.Key, err)
	}
	defer unlock()
	ref := proc.Ref{ID: n.id, PID: p.PID, StartTime: p.StartTime, BootID: p.BootID, Log: n.log()}
	ok, err := e.cfg.Supervisor.Adopt(ctx, ref)
	if err != nil {
		return false, fmt.Errorf("cannot adopt %s: %w", spec.Key, err)
	}
	if ok {
		e.run(n, ref, -1)
	}
	return ok, nil
}

// Exited is closed when the process has ended; at once for one that neither
// Start nor Adopt has returned.
func (e *Engines) Exited(p cache.Process) <-chan struct{} {
	e.mu.Lock()
	ref := e.runs[p]
	e.mu.Unlock()
	return e.cfg.Supervisor.Done(ref)
}

// Stop ends whatever runs as the node, whether p names it or not, and all that
// descends from it. Data is not saved on the way, except what the persistence
// parameters ask for. It returns when nothing is left.
func (e *Engines) Stop(ctx context.Context, spec cache.NodeSpec, p *cache.Process) error {
	n, err := e.node(spec)
	if err != nil {
		return fmt.Errorf("cannot stop %s: %w", spec.Key, err)
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return fmt.Errorf("cannot stop %s: %w", spec.Key, err)
	}
	defer unlock()
	ref, ok, err := e.cfg.Supervisor.Find(ctx, n.id)
	if err != nil {
		return fmt.Errorf("cannot stop %s: %w", spec.Key, err)
	}
	if !ok {
		ref = proc.Ref{ID: n.id} // descendants may be left
		if p != nil {
			ref.PID, ref.StartTime, ref.BootID = p.PID, p.StartTime, p.BootID
		}
	}
	if err := e.cfg.Supervisor.Stop(ctx, ref, e.cfg.StopGrace); err != nil {
		return fmt.Errorf("cannot stop %s: %w", spec.Key, err)
	}
	return nil
}

// Remove deletes the directory of a node that has been stopped.
func (e *Engines) Remove(ctx context.Context, spec cache.NodeSpec) error {
	n, err := e.node(spec)
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", spec.Key, err)
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", spec.Key, err)
	}
	defer unlock()
	ref, ok, err := e.cfg.Supervisor.Find(ctx, n.id)
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", spec.Key, err)
	}
	if ok {
		return fmt.Errorf("cannot remove %s: its process %d is running", spec.Key, ref.PID)
	}
	if err := errors.Join(n.link.close(), os.RemoveAll(n.dir)); err != nil {
		return fmt.Errorf("cannot remove %s: %w", spec.Key, err)
	}
	e.forget(n)
	return nil
}
