package memcached

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
)

// The memory file, and what memcached writes beside it when it is asked to end
// and to keep its items.
const (
	itemsFile = "items"
	metaFile  = itemsFile + ".meta"
)

// ErrCannotKeep: there is no file system in memory for the node's items.
var ErrCannotKeep = errors.New("there is no room in memory for a file of the node's items")

// keepArguments has memcached hold its items in the memory file. One that an earlier
// run has closed is taken up again.
func (at node) keepArguments(ctx context.Context) ([]string, error) {
	if at.memory == "" {
		return nil, fmt.Errorf("%w: %w", cache.ErrPermanent, ErrCannotKeep)
	}
	if err := os.MkdirAll(at.memory, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the node's items: %w", err)
	}
	if err := nextSecond(ctx, filepath.Join(at.memory, metaFile)); err != nil {
		return nil, err
	}
	return []string{"-e", filepath.Join(at.memory, itemsFile)}, nil
}

// nextSecond waits until it is not the second any more in which a file was written; see the package's comment.
func nextSecond(ctx context.Context, path string) error {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at the description of the node's items: %w", err)
	}
	next := fi.ModTime().Truncate(time.Second).Add(time.Second)
	left := time.Until(next)
	if left <= 0 || left > 2*time.Second { // a clock that was put back does not hold up anything
		return nil
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// StopKeeping ends a node that was started with Keep so that its next start has all
// its items, and tells whether it will: one that does not end by itself is killed.
func (n *Nodes) StopKeeping(ctx context.Context, s cache.MemcachedSpec) (kept bool, err error) {
	at, err := n.node(s)
	if err != nil {
		return false, err
	}
	if at.memory == "" {
		return false, n.Stop(ctx, s, nil)
	}
	ref, ok, err := n.cfg.Supervisor.Find(ctx, at.id)
	if err != nil {
		return false, fmt.Errorf("cannot stop %s: %w", s.Key(), err)
	}
	if ok {
		if err := n.close(ctx, ref); err != nil {
			return false, fmt.Errorf("cannot stop %s: %w", s.Key(), err)
		}
	}
	if err := n.Stop(ctx, s, nil); err != nil { // what is left of it
		return false, err
	}
	_, err = os.Stat(filepath.Join(at.memory, metaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// close asks memcached to end and to describe its items, and waits until it has.
func (n *Nodes) close(ctx context.Context, ref proc.Ref) error {
	if alive, err := n.cfg.Supervisor.Adopt(ctx, ref); !alive || err != nil {
		return err
	}
	if err := n.cfg.Supervisor.Signal(ref, syscall.SIGUSR1); err != nil {
		return err
	}
	t := time.NewTimer(stopGrace)
	defer t.Stop()
	select {
	case <-n.cfg.Supervisor.Done(ref):
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
