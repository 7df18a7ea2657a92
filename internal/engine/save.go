package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
)

// How long a child that saves may take to end by itself once its reader has gone,
// and after each signal, and how often one looks.
const (
	saveLook   = 25 * time.Millisecond
	saveGrace  = 2 * time.Second
	saveSignal = 5 * time.Second
)

// ErrShared: the child that saves feeds a replica as well, so it was let live.
var ErrShared = errors.New("a replica is fed by the same save")

// EndSave sees to it that no child of the node writes the data any more whose
// reader has gone. An engine ends such a child when it notices; one that does not is
// helped by the signal that the engine itself would use, and then by SIGKILL. A
// child that also feeds a replica goes on: that is ErrShared.
func (e *Engines) EndSave(ctx context.Context, spec cache.NodeSpec) error {
	if err := e.endSave(ctx, spec); err != nil {
		return fmt.Errorf("cannot end the save of %s: %w", spec.Key, err)
	}
	return nil
}

func (e *Engines) endSave(ctx context.Context, spec cache.NodeSpec) error {
	n, err := e.node(spec)
	if err != nil {
		return err
	}
	over, err := e.saveEnds(ctx, spec, saveGrace)
	if over || err != nil {
		return err
	}
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGKILL} {
		n.mu.Lock()
		ref := n.ref
		n.mu.Unlock()
		if err := e.signalSave(ref, sig); err != nil {
			return err
		}
		if over, err = e.saveEnds(ctx, spec, saveSignal); over || err != nil {
			return err
		}
	}
	return errors.New("the child is there still")
}

func (e *Engines) signalSave(ref proc.Ref, sig syscall.Signal) error {
	if ref.IsZero() {
		return ErrNotRunning
	}
	_, err := e.cfg.Supervisor.SignalChildren(ref, sig)
	return err
}

// saveEnds waits for a while for the child to end.
func (e *Engines) saveEnds(ctx context.Context, spec cache.NodeSpec, limit time.Duration) (bool, error) {
	tick := time.NewTicker(saveLook)
	defer tick.Stop()
	var in info
	for until := time.Now().Add(limit); ; {
		var err error
		if in, err = e.info(ctx, spec); err != nil {
			return false, err
		}
		if in["rdb_bgsave_in_progress"] == "0" {
			return true, nil
		}
		if time.Now().After(until) {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	if in.synchronizing() {
		return false, ErrShared
	}
	return false, nil
}

// synchronizing tells whether a replica waits for a save or is being sent one. A
// reader of ours, which takes a snapshot and goes, has announced no port.
func (in info) synchronizing() bool {
	for name, value := range in {
		rest, ok := strings.CutPrefix(name, "slave")
		if !ok || !isDigits(rest) {
			continue
		}
		f := fields(value)
		if f["port"] == "0" {
			continue
		}
		if state := f["state"]; state == "wait_bgsave" || state == "send_bulk" || state == "bg_transfer" {
			return true
		}
	}
	return false
}
