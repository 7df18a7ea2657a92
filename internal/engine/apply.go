package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// Apply gives a running node the parameters that can change while it runs, and looks
// whether it has them. Its role and its addresses stay what they are. It returns the
// names of those that the node does not have, as Unapplied does; that is no error.
//
// With appendonly it returns once the append-only file holds everything: before that a
// node that ends loses what it held.
func (e *Engines) Apply(ctx context.Context, spec cache.NodeSpec) ([]string, error) {
	if err := e.apply(ctx, spec); err != nil {
		return nil, fmt.Errorf("cannot give %s its parameters: %w", spec.Key, err)
	}
	return e.Unapplied(ctx, spec)
}

func (e *Engines) apply(ctx context.Context, spec cache.NodeSpec) error {
	_, d, err := e.build(spec)
	if err != nil {
		return err
	}
	n, err := e.node(spec)
	if err != nil {
		return err
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return err
	}
	c := change{e: e, n: n, d: d, spec: spec}
	err = n.link.use(ctx, spec, func(conn *resp.Conn) error {
		c.conn = conn
		return c.onlyParameters(ctx)
	})
	unlock() // a failover must not wait for the log
	if err != nil || spec.Seeded || spec.Parameters["appendonly"] != "yes" {
		return err
	}
	return e.logged(ctx, spec)
}

func (c *change) onlyParameters(ctx context.Context) error {
	in, err := askInfo(ctx, c.conn)
	if err != nil {
		return err
	}
	if err := c.n.isOurs(in); err != nil {
		return err
	}
	if c.has, err = configGet(ctx, c.conn); err != nil {
		return err
	}
	if err := c.parameters(ctx); err != nil {
		return err
	}
	return c.look(ctx)
}

// look notes as refused what the engine has otherwise than it was told, though it
// agreed.
func (c *change) look(ctx context.Context) error {
	has, err := configGet(ctx, c.conn)
	if err != nil {
		return err
	}
	set, _ := translate(c.d, c.spec)
	if c.spec.Seeded {
		delete(set, "appendonly")
	}
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for name, value := range set {
		have, known := has[name]
		if !known || parameters[modern(name)].fixedAt || sameValue(name, have, value) {
			continue
		}
		if c.n.refused == nil {
			c.n.refused = map[string]bool{}
		}
		c.n.refused[name] = true
	}
	return nil
}

// sameValue tells whether an engine's way to print a value means what was set.
func sameValue(name, have, value string) bool {
	if name != "notify-keyspace-events" {
		return have == value
	}
	// The letters come back in an order of their own, with A for most of them.
	letters := func(s string) string {
		b := []byte(strings.ReplaceAll(s, "A", "g$lshzxetd"))
		slices.Sort(b)
		return string(slices.Compact(b))
	}
	if letters(have) == letters(value) {
		return true
	}
	return !strings.ContainsAny(value, "KE") && have == "" // nothing would be published
}

// logged waits until the append-only file holds everything.
func (e *Engines) logged(ctx context.Context, spec cache.NodeSpec) error {
	for wait := firstLook; ; wait = min(2*wait, slowLook) {
		in, err := e.info(ctx, spec)
		if err != nil {
			return err
		}
		switch {
		case in["aof_enabled"] != "1":
			return nil // the engine refused; Unapplied tells
		case in["aof_rewrite_in_progress"] == "0" && in["aof_rewrite_scheduled"] == "0":
			if in["aof_last_bgrewrite_status"] != "ok" {
				return errors.New("cannot turn the append-only file on: writing it failed")
			}
			return nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// Unhonoured names, in order, the parameters whose values an installed build cannot
// have, whatever its engine says; nil also for a build that is not installed.
func (e *Engines) Unhonoured(build string, values map[string]string) []string {
	b, ok := e.cfg.Catalog.Build(build)
	if !ok {
		return nil
	}
	v, err := parseVersion(b.Version)
	if err != nil {
		return nil
	}
	_, bad := translate(dialect{engine: b.Engine, version: v}, cache.NodeSpec{Parameters: values})
	return bad
}
