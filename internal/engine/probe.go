package engine

import (
	"context"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// Probe asks the node how it is, over a connection that is kept. It waits no
// longer than ctx allows. A node that reads its data answers, with Loading set;
// one that cannot be asked gives ErrRefused, ErrBusy, ErrNoAnswer or ErrLogin.
func (e *Engines) Probe(ctx context.Context, spec cache.NodeSpec) (cache.Health, error) {
	in, err := e.info(ctx, spec)
	if err != nil {
		return cache.Health{}, fmt.Errorf("cannot probe %s: %w", spec.Key, err)
	}
	h, err := in.health()
	if err != nil {
		return h, fmt.Errorf("cannot probe %s: %w", spec.Key, err)
	}
	return h, nil
}

func (e *Engines) info(ctx context.Context, spec cache.NodeSpec) (info, error) {
	n, err := e.node(spec)
	if err != nil {
		return nil, err
	}
	var in info
	err = n.link.use(ctx, spec, func(c *resp.Conn) error {
		var err error
		if in, err = askInfo(ctx, c); err != nil {
			return err
		}
		return n.isOurs(in)
	})
	return in, err
}

// isOurs makes sure that it is the node's own process that answers: another that
// knows the password (a sibling, one of an earlier run) might hold the address.
func (n *node) isOurs(in info) error {
	n.mu.Lock()
	want := n.ref.PID
	n.mu.Unlock()
	if want == 0 {
		return nil
	}
	pid, err := in.number("process_id")
	if err != nil {
		return err
	}
	if int(pid) != want {
		return fmt.Errorf("%w: process %d answers at its address and not %d", errStranger, pid, want)
	}
	return nil
}
