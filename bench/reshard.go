package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/engine/slots"
	"holdfast.dev/internal/resp"
)

// reshardKeys are spread over three shards; a third of them moves.
const reshardKeys = 200_000

// benchReshard moves all slots of one shard to another and back, under clients, by us
// and by the engine's own tool in turn.
func benchReshard(ctx context.Context, l *lab) error {
	for _, line := range []string{"redis-7.0", "valkey-8.1", "valkey-9.1"} {
		b, ok := l.engine(line)
		if !ok {
			continue
		}
		if err := l.reshard(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
	}
	return nil
}

// resharding is a cluster of three primaries and its clients.
type resharding struct {
	l     *lab
	build catalog.Build
	nodes fleet
	ids   []string
	keys  int64
	// held is where the slots that move are at present: the first node or the second.
	held int
}

func (l *lab) reshard(ctx context.Context, b catalog.Build) (err error) {
	g := &resharding{l: l, build: b, keys: reshardKeys}
	if l.opt.quick {
		g.keys /= 10
	}
	// An emptied primary must go on being one.
	g.nodes, err = l.fleet(ctx, b, 3, "cluster-enabled yes", "cluster-allow-replica-migration no", "cluster-node-timeout 15000")
	defer func() { err = errors.Join(err, g.nodes.stop()) }()
	if err != nil {
		return err
	}
	if err := formCluster(ctx, g.nodes); err != nil {
		return err
	}
	for _, s := range g.nodes {
		if err := poll(ctx, look, func() (bool, error) {
			text, err := s.do(ctx, "CLUSTER", "INFO")
			return strings.Contains(text, "cluster_state:ok"), err
		}); err != nil {
			return err
		}
		id, err := s.do(ctx, "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		g.ids = append(g.ids, id)
	}
	if err := g.fill(ctx); err != nil {
		return err
	}
	x := row{What: b.Name + ", a shard's slots to another", LimitIs: "the engine's tool", Keys: g.keys / 3}
	worst := row{What: b.Name + ", clients' p99 meanwhile", LimitIs: "the engine's tool"}
	quiet, err := g.under(ctx, func() error { return pauseFor(ctx, 2*time.Second) })
	if err != nil {
		return err
	}
	for range l.opt.rounds {
		for _, side := range []struct {
			move        func(context.Context, int, int) error
			took, p99   *series
			description string
		}{{g.ours, &x.Ours, &worst.Ours, "ours"}, {g.theirs, &x.Limit, &worst.Limit, "the tool's"}} {
			began := time.Now()
			var took time.Duration
			late, err := g.under(ctx, func() error {
				began = time.Now()
				err := side.move(ctx, g.held, 1-g.held)
				took = time.Since(began)
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", side.description, err)
			}
			g.held = 1 - g.held
			*side.took = append(*side.took, took.Seconds())
			*side.p99 = append(*side.p99, late.quantile(0.99).Seconds())
		}
	}
	l.report.add(x)
	l.report.add(worst)
	l.report.note("%s: clients' p99 with no slots on the move: %s", b.Name, short(quiet.quantile(0.99).Seconds()))
	return nil
}

func pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fill writes the keys to their shards.
func (g *resharding) fill(ctx context.Context) error {
	value := string(make([]byte, 100))
	for i, s := range g.nodes {
		c, err := resp.Dial(ctx, s.options())
		if err != nil {
			return err
		}
		pipe := resp.NewPipe(ctx, c, 0)
		var bad error
		next := func() {
			r, err := pipe.Next()
			if err == nil {
				err = r.Err()
			}
			bad = errors.Join(bad, err)
		}
		for k := range g.keys {
			key := fmt.Sprintf("key:%012d", k)
			if slot := resp.Slot([]byte(key)); slot < i*resp.Slots/3 || slot >= (i+1)*resp.Slots/3 {
				continue
			}
			for pipe.Full() && bad == nil {
				next()
			}
			pipe.End(resp.AppendCommand(pipe.Begin(), "SET", key, value))
		}
		for pipe.Len() > 0 && bad == nil {
			next()
		}
		if err := errors.Join(bad, pipe.Close(), c.Close()); err != nil {
			return err
		}
	}
	return nil
}

// ours moves the slots by the code that the service uses.
func (g *resharding) ours(ctx context.Context, from, to int) error {
	node := func(i int) slots.Node { return slots.Node{ID: g.ids[i], At: g.nodes[i].options()} }
	m := slots.Move{
		Source: node(from), Target: node(to), Others: []slots.Node{node(2)},
		Slots: cache.Slots{{First: 0, Last: resp.Slots/3 - 1}}, Atomic: g.build.MultiDBShards,
	}
	return slots.Run(ctx, m, func(cache.SlotProgress) error { return nil })
}

// theirs moves them by the tool that comes with the engine.
func (g *resharding) theirs(ctx context.Context, from, to int) error {
	args := []string{
		"--cluster", "reshard", g.nodes[from].addr(), "--cluster-from", g.ids[from], "--cluster-to", g.ids[to],
		"--cluster-slots", strconv.Itoa(resp.Slots / 3), "--cluster-yes",
	}
	cmd := exec.CommandContext(ctx, g.build.CLI, args...)
	cmd.Stdout = io.Discard
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s reshard: %w", g.build.CLI, err)
	}
	return nil
}

// reshardRate is how many commands a second the clients send, half of them writes.
const reshardRate = 4000

// under runs f while clients read and write keys of all shards at a steady rate, and
// returns their latencies, counted from when each command was due.
func (g *resharding) under(ctx context.Context, f func() error) (latencies, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	const clients = 4
	type outcome struct {
		late latencies
		err  error
	}
	done := make(chan outcome, clients)
	for i := range clients {
		go func() {
			late, err := g.client(ctx, i, time.Second*clients/reshardRate)
			done <- outcome{late, err}
		}()
	}
	err := f()
	stop()
	var all latencies
	for range clients {
		o := <-done
		all, err = append(all, o.late...), errors.Join(err, o.err)
	}
	return all, err
}

// client follows redirections.
func (g *resharding) client(ctx context.Context, seed int, each time.Duration) (late latencies, err error) {
	conns := map[string]*resp.Conn{}
	defer func() {
		for _, c := range conns {
			err = errors.Join(err, c.Close())
		}
	}()
	owner := map[int]string{}
	due := time.Now()
	for i := seed; ctx.Err() == nil; i++ {
		due = due.Add(each)
		if wait := time.Until(due); wait > 0 {
			if pauseFor(ctx, wait) != nil {
				break
			}
		}
		key := fmt.Sprintf("key:%012d", int64(i)*7919%g.keys)
		cmd := []string{"GET", key}
		if i&1 == 0 {
			cmd = []string{"SET", key, "another value"}
		}
		if err := g.send(conns, owner, cmd); err != nil {
			return late, err
		}
		late = append(late, time.Since(due))
	}
	return late, nil
}

func (g *resharding) send(conns map[string]*resp.Conn, owner map[int]string, cmd []string) error {
	// What is under way when the clients are stopped is finished.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	slot := resp.Slot([]byte(cmd[1]))
	at, ask := owner[slot], false
	for {
		if at == "" {
			at = g.nodes[0].addr()
		}
		c := conns[at]
		if c == nil {
			var err error
			if c, err = resp.Dial(ctx, resp.Options{Addr: at}); err != nil {
				return err
			}
			conns[at] = c
		}
		if ask {
			if _, err := c.Do(ctx, "ASKING"); err != nil {
				return err
			}
		}
		_, err := c.Do(ctx, cmd...)
		if err == nil {
			return nil
		}
		to, ok := c.Redirection(err)
		if !ok {
			return err
		}
		if at, ask = to.Addr, to.Ask; !ask {
			owner[slot] = at
		}
	}
}
