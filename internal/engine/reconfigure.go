package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// Reconfigure brings a running node in line with its spec: role, addresses,
// memory limit and the parameters that can change while it runs. The order is
// such that an endpoint is never held by a node that should not answer there: a
// node to be demoted lets go of its endpoints first, and one to be promoted
// accepts writes before it takes them. Clients that came through an endpoint that
// the node lost are cut off, so that they find its new holder.
//
// What the engine refuses among the parameters is told by Unapplied and stops nothing.
func (e *Engines) Reconfigure(ctx context.Context, spec cache.NodeSpec) error {
	if err := e.reconfigure(ctx, spec); err != nil {
		return fmt.Errorf("cannot reconfigure %s: %w", spec.Key, err)
	}
	return nil
}

func (e *Engines) reconfigure(ctx context.Context, spec cache.NodeSpec) error {
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
	defer unlock()
	c := change{e: e, n: n, d: d, spec: spec}
	if err := n.link.use(ctx, spec, func(conn *resp.Conn) error {
		c.conn = conn
		return c.all(ctx)
	}); err != nil {
		return err
	}
	return n.writeConf(configuration(d, n.dir, spec))
}

// change is one Reconfigure over one connection.
type change struct {
	e    *Engines
	n    *node
	d    dialect
	spec cache.NodeSpec
	conn *resp.Conn
	has  map[string]string // what CONFIG GET says
	// bound is when it listened where it should.
	bound time.Time
}

func (c *change) all(ctx context.Context) error {
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
	toReplica := !c.spec.Primary.IsZero()
	if !toReplica {
		if err := c.promote(ctx, in); err != nil {
			return err
		}
	}
	if err := c.bind(ctx); err != nil {
		return err
	}
	c.bound = time.Now()
	if err := c.transit(ctx); err != nil {
		return err
	}
	if toReplica {
		if err := c.follow(ctx, in); err != nil {
			return err
		}
	}
	return c.parameters(ctx)
}

// promote makes the node a primary and makes sure that it is one.
func (c *change) promote(ctx context.Context, in info) error {
	if in["role"] == "master" {
		return nil
	}
	if in["loading"] == "1" {
		return fmt.Errorf("%w: it is reading its data and cannot be promoted", ErrBusy)
	}
	cmd := []string{"REPLICAOF", "NO", "ONE"}
	if c.spec.Cluster != nil {
		if both, err := torn(ctx, c.conn, c.spec.Cluster.Self); both || err != nil {
			return errors.Join(err, cache.ErrTorn)
		}
		if err := c.e.learn(ctx, c.spec); err != nil {
			return fmt.Errorf("cannot promote it: %w", err)
		}
		// At once and with all the slots: nobody else is asked, since who leads has
		// been decided already.
		cmd = []string{"CLUSTER", "FAILOVER", "TAKEOVER"}
	}
	if _, err := c.conn.Do(ctx, cmd...); err != nil {
		return fmt.Errorf("cannot promote it: %w", err)
	}
	now, err := askInfo(ctx, c.conn)
	if err != nil {
		return err
	}
	if now["role"] != "master" {
		return fmt.Errorf("%w: it says role:%q after it was promoted", cache.ErrAmbiguous, now["role"])
	}
	return nil
}

func (c *change) follow(ctx context.Context, in info) error {
	if in.follows() == c.spec.Primary {
		return nil
	}
	cmd := []string{"REPLICAOF", c.spec.Primary.Host, strconv.Itoa(c.spec.Primary.Port)}
	if c.spec.Cluster != nil {
		lead, _ := c.spec.Cluster.Find(c.spec.Primary)
		cmd = []string{"CLUSTER", "REPLICATE", lead.ID}
	}
	if _, err := c.conn.Do(ctx, cmd...); err != nil {
		return fmt.Errorf("cannot make it follow %s: %w", hostPort(c.spec.Primary), err)
	}
	// What it said about its former primary is no reason to give this one up.
	if err := c.n.turnPage(); err != nil {
		return err
	}
	if in["role"] != "master" || c.spec.Parameters["close-on-replica-write"] == "no" {
		return nil
	}
	// Its writers have to look for the new primary. ElastiCache cuts each off at
	// its first write; an engine cannot, so all are cut off here.
	if _, err := c.conn.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"); err != nil {
		return fmt.Errorf("cannot cut off the clients of a former primary: %w", err)
	}
	return nil
}

// bind makes the node listen at its own address and its endpoints, and nowhere else.
func (c *change) bind(ctx context.Context) error {
	if !c.d.canRebind() {
		return nil // check has made sure that there is nothing to bind
	}
	want, have := hosts(c.spec), strings.Fields(c.has["bind"])
	if slices.Equal(want, have) {
		if c.listens(ctx) {
			return nil
		}
		// See insist: somebody was killed over it. Only a value that differs makes
		// the engine listen again; "-" allows the address to be missing.
		again := "-" + strings.Join(want, " -")
		if err := c.insist(ctx, [][]string{{"CONFIG", "SET", "bind", again}}); err != nil {
			return fmt.Errorf("cannot make it listen again at %s: %w", strings.Join(want, ", "), err)
		}
	}
	// In one transaction, so that nobody can die between letting go of an
	// address and cutting off those who came in through it.
	cmds := [][]string{{"MULTI"}, {"CONFIG", "SET", "bind", strings.Join(want, " ")}}
	for _, host := range have {
		if !slices.Contains(want, host) {
			at := hostPort(cache.Address{Host: host, Port: c.spec.Address.Port})
			cmds = append(cmds, []string{"CLIENT", "KILL", "LADDR", at})
		}
	}
	if err := c.insist(ctx, append(cmds, []string{"EXEC"})); err != nil {
		return fmt.Errorf("cannot make it listen at %s: %w", strings.Join(want, ", "), err)
	}
	return nil
}

// How long, and how often, an address is asked for that is not to be had.
const (
	bindWait  = 500 * time.Millisecond
	bindAgain = 10 * time.Millisecond
)

// insist tries for a moment: an engine that forks has a child which, until it
// closes what it inherited, holds the same addresses, and not even the engine
// itself gets them again meanwhile, nor those that it goes back to. It would be left
// with no address at all; so there is no giving up before it has its own.
func (c *change) insist(ctx context.Context, cmds [][]string) error {
	give := time.Now().Add(bindWait)
	for {
		err := transact(ctx, c.conn, cmds)
		if err == nil || !resp.IsServerError(err) {
			return err
		}
		if time.Now().After(give) && c.listens(ctx) {
			return err
		}
		t := time.NewTimer(bindAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}

// listens tells whether the node answers new connections at its own address. That
// it takes them says nothing: the child takes them too, and never answers.
func (c *change) listens(ctx context.Context) bool {
	ways := c.e.admin(c.spec)
	for i := range ways {
		ways[i].DialTimeout = time.Second
	}
	conn, _, err := reach(ctx, ways)
	if err != nil {
		return false
	}
	// It was only to see; that it cannot be closed changes nothing.
	_ = conn.Close()
	return true
}

// transact sends commands in one write and returns the first error among the
// replies, those inside EXEC's included.
func transact(ctx context.Context, c *resp.Conn, cmds [][]string) error {
	release := c.Guard(ctx)
	defer release()
	var b []byte
	for _, cmd := range cmds {
		b = resp.AppendCommand(b, cmd...)
	}
	if err := c.Send(b); err != nil {
		return err
	}
	var first error
	for range cmds {
		r, err := c.Receive()
		if err != nil {
			return err
		}
		errs := []error{first, r.Err()}
		for i := range r.Elems {
			errs = append(errs, r.Elems[i].Err())
		}
		for _, err := range errs {
			if err != nil {
				first = err
				break
			}
		}
	}
	return first
}

// parameters sets what differs.
func (c *change) parameters(ctx context.Context) error {
	set, _ := translate(c.d, c.spec)
	if c.spec.Seeded {
		delete(set, "appendonly") // see configuration
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		value := set[name]
		if key, class, ok := strings.Cut(name, " "); ok {
			name, value = key, class+" "+value
		}
		if parameters[modern(name)].fixedAt || c.has[name] == value {
			continue
		}
		if err := c.set(ctx, name, value); err != nil {
			return err
		}
	}
	return c.tryOut(ctx)
}

// set sets one parameter; that the engine refuses it is noted and no error.
func (c *change) set(ctx context.Context, name, value string) error {
	_, err := c.conn.Do(ctx, "CONFIG", "SET", name, value)
	if err != nil && !resp.IsServerError(err) {
		return err
	}
	if err != nil && resp.IsServerError(err, "BUSY", "LOADING", "NOPERM") {
		return fmt.Errorf("cannot set %s: %w", name, err)
	}
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.n.refused == nil {
		c.n.refused = map[string]bool{}
	}
	c.n.refused[name] = err != nil
	return nil
}

// tryOut sets the parameters that not every build of a version takes.
func (c *change) tryOut(ctx context.Context) error {
	for name, value := range tried(c.spec) {
		if c.has[name] == value {
			continue
		}
		if err := c.set(ctx, name, value); err != nil {
			return err
		}
	}
	return nil
}

// tryOut is the same for a node that has just become ready.
func (e *Engines) tryOut(ctx context.Context, n *node, spec cache.NodeSpec) error {
	if len(tried(spec)) == 0 {
		return nil
	}
	return n.link.use(ctx, spec, func(conn *resp.Conn) error {
		has, err := configGet(ctx, conn)
		if err != nil {
			return err
		}
		c := change{e: e, n: n, spec: spec, conn: conn, has: has}
		return c.tryOut(ctx)
	})
}

// configGet reads the whole configuration. What is in it besides parameters, the
// password of masterauth, goes no further.
func configGet(ctx context.Context, c *resp.Conn) (map[string]string, error) {
	r, err := c.Do(ctx, "CONFIG", "GET", "*")
	if err != nil {
		return nil, fmt.Errorf("cannot read its configuration: %w", err)
	}
	if len(r.Elems)%2 != 0 {
		return nil, fmt.Errorf("%w: CONFIG GET gives %d elements", errReply, len(r.Elems))
	}
	out := make(map[string]string, len(r.Elems)/2)
	for i := 0; i < len(r.Elems); i += 2 {
		out[string(r.Elems[i].Bytes)] = string(r.Elems[i+1].Bytes)
	}
	delete(out, "masterauth")
	delete(out, "requirepass")
	return out, nil
}

// ClearSeed deletes the seed file of a node that has loaded it, and turns the
// append-only file on if the parameters ask for it: from then on the data on disk is the
// node's own. It may be called with Seeded still set. A node that is not running loses its file all the same.
func (e *Engines) ClearSeed(ctx context.Context, spec cache.NodeSpec) error {
	if err := e.clearSeed(ctx, spec); err != nil {
		return fmt.Errorf("cannot clear the seed of %s: %w", spec.Key, err)
	}
	return nil
}

func (e *Engines) clearSeed(ctx context.Context, spec cache.NodeSpec) error {
	n, err := e.node(spec)
	if err != nil {
		return err
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if spec.Parameters["appendonly"] == "yes" {
		if err := e.startLog(ctx, n, spec); err != nil && !errors.Is(err, ErrRefused) {
			return err
		}
	}
	return remove(e.SeedPath(spec))
}

// startLog turns the append-only file on and waits until it holds everything.
func (e *Engines) startLog(ctx context.Context, n *node, spec cache.NodeSpec) error {
	if err := n.link.use(ctx, spec, func(c *resp.Conn) error {
		_, err := c.Do(ctx, "CONFIG", "SET", "appendonly", "yes")
		return err
	}); err != nil {
		return fmt.Errorf("cannot turn the append-only file on: %w", err)
	}
	for {
		in, err := e.info(ctx, spec)
		if err != nil {
			return err
		}
		if in["aof_rewrite_in_progress"] == "0" && in["aof_rewrite_scheduled"] == "0" {
			if in["aof_last_bgrewrite_status"] != "ok" {
				return errors.New("cannot turn the append-only file on: writing it failed")
			}
			return nil
		}
		t := time.NewTimer(slowLook)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}
