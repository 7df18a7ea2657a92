package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
	"holdfast.dev/internal/resp"
)

// releasedFile names the process that was asked to let go. It has to outlive the service
// and not the machine, with which the process would end too: nobody waits for the disk.
const releasedFile = "released"

// Release has a node's process let go of all its addresses and all its clients, and then
// ends it by SIGKILL, without waiting for its end: that takes the longer the more it holds,
// and its addresses are free at once. In between whole is told how far its stream is by
// then, beyond which nothing is acknowledged any more. If it fails, the node listens again
// and lives, unless that fails too. After any other error it may have let go or not, and
// lives unless it was about to end.
func (e *Engines) Release(ctx context.Context, spec cache.NodeSpec, p cache.Process, whole func(offset int64) error) error {
	if err := e.release(ctx, spec, p, whole); err != nil {
		return fmt.Errorf("cannot have %s let go of its addresses: %w", spec.Key, err)
	}
	return nil
}

func (e *Engines) release(ctx context.Context, spec cache.NodeSpec, p cache.Process, whole func(offset int64) error) error {
	_, d, err := e.build(spec)
	if err != nil {
		return err
	}
	if !d.canRebind() {
		return fmt.Errorf("%w: %s %d.%d cannot change its addresses while it runs", cache.ErrPermanent, d.engine, d.version[0], d.version[1])
	}
	n, err := e.node(spec)
	if err != nil {
		return err
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	c := change{e: e, n: n, d: d, spec: spec, has: map[string]string{}}
	return n.link.use(ctx, spec, func(conn *resp.Conn) error {
		c.conn = conn
		if err := n.answers(ctx, conn); err != nil {
			return err
		}
		if err := n.writeWhole(releasedFile, marked(p)); err != nil {
			return err
		}
		offset, err := letGo(ctx, conn)
		if err != nil {
			return err
		}
		if err := whole(offset); err != nil {
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
			defer cancel()
			return errors.Join(err, c.bind(back), n.unmark())
		}
		return e.cfg.Supervisor.Signal(proc.Ref{ID: n.id, PID: p.PID, StartTime: p.StartTime, BootID: p.BootID}, syscall.SIGKILL)
	})
}

// letGo is one transaction: an engine that still had clients, or got new ones, could
// acknowledge writes that come after the offset.
func letGo(ctx context.Context, c *resp.Conn) (int64, error) {
	in, err := gather(ctx, c, [][]string{
		{"MULTI"},
		{"CONFIG", "SET", "bind", ""},
		{"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"},
		{"CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"},
		{"INFO", "replication"},
		{"EXEC"},
	})
	if err != nil {
		return 0, err
	}
	return in.number("master_repl_offset")
}

// Released tells whether a process that lives has let go of its addresses in a Release
// that was cut short. That it refuses connections would not tell by itself: an engine may
// lose its addresses and keep its clients.
func (e *Engines) Released(ctx context.Context, spec cache.NodeSpec, p cache.Process) (bool, error) {
	n, err := e.node(spec)
	if err != nil {
		return false, fmt.Errorf("cannot tell whether %s has let go of its addresses: %w", spec.Key, err)
	}
	said, err := os.ReadFile(filepath.Join(n.dir, releasedFile))
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(said) != marked(p) {
		return false, nil
	}
	if err == nil {
		err = n.link.use(ctx, spec, func(c *resp.Conn) error { return n.answers(ctx, c) })
		switch {
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, errStranger):
			return true, nil
		case err == nil:
			err = n.unmark() // it was not asked any more, or has them again
		}
	}
	if err != nil {
		return false, fmt.Errorf("cannot tell whether %s has let go of its addresses: %w", spec.Key, err)
	}
	return false, nil
}

// answers makes sure that the other end of a connection is the node.
func (n *node) answers(ctx context.Context, c *resp.Conn) error {
	in, err := askInfo(ctx, c)
	if err != nil {
		return err
	}
	return n.isOurs(in)
}

func (n *node) unmark() error { return remove(filepath.Join(n.dir, releasedFile)) }

func marked(p cache.Process) string { return fmt.Sprintln(p.PID, p.StartTime, p.BootID) }
