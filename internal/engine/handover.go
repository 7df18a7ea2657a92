package engine

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// HoldWrites has a primary take no more writes for a while, so that a replica can
// come to have all that was acknowledged. Redis 6.0, which cannot make writes wait,
// refuses them (NOREPLICAS), and goes on doing so until Reconfigure.
func (e *Engines) HoldWrites(ctx context.Context, spec cache.NodeSpec, d time.Duration) error {
	cmds := [][]string{{"CLIENT", "PAUSE", strconv.FormatInt(d.Milliseconds(), 10), "WRITE"}}
	return e.aboutWrites(ctx, spec, "hold writes at", cmds, [][]string{
		{"CONFIG", "SET", "min-replicas-max-lag", "10"}, // 0 would turn the other off
		{"CONFIG", "SET", "min-replicas-to-write", "1000000"},
	})
}

// FreeWrites ends what HoldWrites began, where that would not end with Reconfigure.
func (e *Engines) FreeWrites(ctx context.Context, spec cache.NodeSpec) error {
	return e.aboutWrites(ctx, spec, "let writes go on at", [][]string{{"CLIENT", "UNPAUSE"}}, nil)
}

// aboutWrites sends commands to an engine that can pause writes, or others to one that cannot.
func (e *Engines) aboutWrites(ctx context.Context, spec cache.NodeSpec, what string, able, unable [][]string) error {
	_, d, err := e.build(spec)
	if err != nil {
		return fmt.Errorf("cannot %s %s: %w", what, spec.Key, err)
	}
	n, err := e.node(spec)
	if err != nil {
		return fmt.Errorf("cannot %s %s: %w", what, spec.Key, err)
	}
	cmds := unable
	if d.has(since62) {
		cmds = able
	}
	err = n.link.use(ctx, spec, func(c *resp.Conn) error {
		for _, cmd := range cmds {
			if _, err := c.Do(ctx, cmd...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot %s %s: %w", what, spec.Key, err)
	}
	return nil
}
