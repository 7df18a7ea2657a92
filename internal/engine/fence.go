package engine

import (
	"context"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
)

// Fence makes sure that a node's process, and all that descends from it, is dead and
// holds no address any more: by SIGKILL, at once. With p it is that process, and one
// that was started later is left alone; without, whatever runs as the node.
func (e *Engines) Fence(ctx context.Context, spec cache.NodeSpec, p *cache.Process) error {
	n, err := e.node(spec)
	if err != nil {
		return fmt.Errorf("cannot kill %s: %w", spec.Key, err)
	}
	ref := proc.Ref{ID: n.id}
	if p != nil {
		ref.PID, ref.StartTime, ref.BootID = p.PID, p.StartTime, p.BootID
	} else if found, ok, err := e.cfg.Supervisor.Find(ctx, n.id); err != nil {
		return fmt.Errorf("cannot kill %s: %w", spec.Key, err)
	} else if ok {
		ref = found
	}
	if err := e.cfg.Supervisor.Kill(ctx, ref); err != nil {
		return fmt.Errorf("cannot kill %s: %w", spec.Key, err)
	}
	return nil
}
