package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// Freeze has a primary take no writes for a while, at the longest, and returns how far
// its replication stream is: a replica that has come to there has everything that was
// acknowledged. It ends by itself, or with FreeWrites, or with the process. Redis 6.0
// cannot make writes alone wait: there reads wait as well, and nothing ends it early.
func (e *Engines) Freeze(ctx context.Context, spec cache.NodeSpec, d time.Duration) (int64, error) {
	_, dial, err := e.build(spec)
	if err != nil {
		return 0, fmt.Errorf("cannot hold writes at %s: %w", spec.Key, err)
	}
	n, err := e.node(spec)
	if err != nil {
		return 0, fmt.Errorf("cannot hold writes at %s: %w", spec.Key, err)
	}
	pause := []string{"CLIENT", "PAUSE", strconv.FormatInt(d.Milliseconds(), 10)}
	if dial.has(since62) {
		pause = append(pause, "WRITE")
	}
	var offset int64
	err = n.link.use(ctx, spec, func(c *resp.Conn) error {
		offset, err = pauseAt(ctx, c, n, pause)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot hold writes at %s: %w", spec.Key, err)
	}
	return offset, nil
}

// pauseAt asks for the offset in the transaction that pauses: an engine that makes
// everybody wait makes its administrator wait too.
func pauseAt(ctx context.Context, c *resp.Conn, n *node, pause []string) (int64, error) {
	in, err := gather(ctx, c, [][]string{{"MULTI"}, {"INFO", "server"}, pause, {"INFO", "replication"}, {"EXEC"}})
	if err != nil {
		return 0, err
	}
	if err := n.isOurs(in); err != nil {
		return 0, err
	}
	return in.number("master_repl_offset")
}

// gather sends a transaction in one write and returns what INFO says in it.
func gather(ctx context.Context, c *resp.Conn, cmds [][]string) (info, error) {
	release := c.Guard(ctx)
	defer release()
	var b []byte
	for _, cmd := range cmds {
		b = resp.AppendCommand(b, cmd...)
	}
	if err := c.Send(b); err != nil {
		return nil, err
	}
	in := info{}
	var refused error
	for range cmds {
		r, err := c.Receive()
		if err != nil {
			return nil, err
		}
		refused = errors.Join(refused, r.Err())
		for i := range r.Elems {
			refused = errors.Join(refused, r.Elems[i].Err())
			in.read(string(r.Elems[i].Bytes))
		}
	}
	return in, refused
}

// TakeOver has a running node, which was started at another address, be what its spec
// says at the address of the node that it replaces, and at all endpoints of that: as a
// primary it accepts writes before it answers there, as a replica it goes on where it
// is in its primary's stream. The former holder of these addresses has to be dead, or to
// have let go of them. It returns when the node first answered there.
func (e *Engines) TakeOver(ctx context.Context, spec cache.NodeSpec, from cache.Address) (time.Time, error) {
	at, err := e.takeOver(ctx, spec, from)
	if err != nil {
		return at, fmt.Errorf("%s cannot take over %s: %w", spec.Key, hostPort(spec.Address), err)
	}
	return at, nil
}

func (e *Engines) takeOver(ctx context.Context, spec cache.NodeSpec, from cache.Address) (at time.Time, err error) {
	_, d, err := e.build(spec)
	if err != nil {
		return at, err
	}
	if !d.canRebind() {
		return at, fmt.Errorf("%w: %s %d.%d cannot change its addresses while it runs", cache.ErrPermanent, d.engine, d.version[0], d.version[1])
	}
	n, err := e.node(spec)
	if err != nil {
		return at, err
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return at, err
	}
	defer unlock()
	c := change{e: e, n: n, d: d, spec: spec}
	do := func(conn *resp.Conn) error {
		c.conn = conn
		return c.takeOver(ctx)
	}
	there := spec
	there.Address = from
	err = n.link.use(ctx, there, do)
	if errors.Is(err, ErrRefused) {
		// It may have left that address in an attempt that was cut short.
		if again := n.link.use(ctx, spec, do); !errors.Is(again, ErrRefused) {
			err = again
		}
	}
	if err != nil {
		return at, err
	}
	return c.bound, n.writeConf(configuration(d, n.dir, spec))
}

func (c *change) takeOver(ctx context.Context) error {
	if err := c.all(ctx); err != nil {
		return err
	}
	own := c.spec.Address.Host
	for _, name := range []string{"replica-announce-ip", "bind-source-addr"} {
		if c.has[name] == own {
			continue
		}
		if _, err := c.conn.Do(ctx, "CONFIG", "SET", name, own); err != nil {
			return fmt.Errorf("cannot set %s: %w", name, err)
		}
	}
	if c.spec.Primary.IsZero() {
		return nil
	}
	// Its primary knows it by the address from which it came. It comes again, and goes
	// on where it was. Whether an attempt that was cut short has seen to that cannot be
	// told, and coming once more costs nothing.
	_, err := c.conn.Do(ctx, "CLIENT", "KILL", "TYPE", "master")
	if err != nil {
		return fmt.Errorf("cannot make it introduce itself anew: %w", err)
	}
	return nil
}
