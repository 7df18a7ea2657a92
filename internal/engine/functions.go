package engine

import (
	"context"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// CopyFunctions gives a primary the functions of another one of its cluster: slots
// move without them. Such as it has under the same names are replaced. Engines that
// have no functions have none to copy.
func (e *Engines) CopyFunctions(ctx context.Context, from, to cache.NodeSpec) error {
	_, d, err := e.build(from)
	if err != nil {
		return err
	}
	if !d.has(since70) {
		return nil
	}
	var dump string
	err = e.ask(ctx, from, func(c *resp.Conn) error {
		r, err := c.Do(ctx, "FUNCTION", "DUMP")
		if err == nil {
			dump = string(r.Bytes)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot read the functions of %s: %w", from.Key, err)
	}
	err = e.ask(ctx, to, func(c *resp.Conn) error {
		_, err := c.Do(ctx, "FUNCTION", "RESTORE", dump, "REPLACE")
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot give %s the functions of %s: %w", to.Key, from.Key, err)
	}
	return nil
}

// ask calls f with the administrator's connection to a node; f must bear being called twice.
func (e *Engines) ask(ctx context.Context, spec cache.NodeSpec, f func(*resp.Conn) error) error {
	n, err := e.node(spec)
	if err != nil {
		return err
	}
	return n.link.use(ctx, spec, f)
}
