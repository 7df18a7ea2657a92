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

const (
	// yieldFor is for how long a primary in cluster mode may take no writes while another
	// one comes to lead in its place. It ends by itself where nobody is left to end it.
	yieldFor = 10 * time.Second
	// reachWait is how long that one may take to come to have all of its data: far more
	// than a replica needs that was in step, and what clients wait at the worst.
	reachWait = time.Second
	// failoverWait is more than an engine takes to give up a failover that it was asked for.
	failoverWait = 6 * time.Second
	// turnWait is how long a former primary may take to hear who leads.
	turnWait = 5 * time.Second
)

// HandOver makes to, a replica of from in cluster mode, lead in its place, and returns
// for how long writes waited, which is 0 if it leads already. All that from acknowledged
// is with it, and from takes no writes any more. Without cache.ErrAmbiguous an error
// means that from leads as before; with it, that HandOver has to be called again to know.
//
// The writes of from are held until to has all of them, and to takes the slots at once.
// Redis 6.0, which cannot hold writes, is asked to fail over by itself, for which the
// other primaries have to agree; there reads wait as well.
func (e *Engines) HandOver(ctx context.Context, from, to cache.NodeSpec) (time.Duration, error) {
	pause, err := e.handOver(ctx, from, to)
	if err != nil {
		return pause, fmt.Errorf("cannot hand the lead from %s over to %s: %w", from.Key, to.Key, err)
	}
	return pause, nil
}

func (e *Engines) handOver(ctx context.Context, from, to cache.NodeSpec) (time.Duration, error) {
	if from.Cluster == nil || to.Cluster == nil {
		return 0, fmt.Errorf("%w: they are in no cluster", cache.ErrPermanent)
	}
	_, d, err := e.build(from)
	if err != nil {
		return 0, err
	}
	in, err := e.info(ctx, to)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", cache.ErrAmbiguous, err)
	case in["role"] == "master":
		return 0, e.turned(ctx, from)
	case in["master_link_status"] != "up" || in.follows() != from.Address:
		return 0, errors.New("it does not follow it at present")
	}
	both := false
	if err := e.ask(ctx, to, func(c *resp.Conn) (err error) {
		both, err = torn(ctx, c, to.Cluster.Self)
		return err
	}); both || err != nil {
		return 0, errors.Join(err, errors.New("it takes itself for a primary and for a replica at once"))
	}
	began := time.Now()
	if d.has(since62) {
		err = e.takeLead(ctx, from, to)
	} else {
		err = e.askForLead(ctx, to)
	}
	if err == nil {
		err = e.turned(ctx, from)
	}
	return time.Since(began), err
}

// takeLead makes a replica lead that has all that its primary acknowledged.
func (e *Engines) takeLead(ctx context.Context, from, to cache.NodeSpec) (err error) {
	defer func() {
		if err == nil || errors.Is(err, cache.ErrAmbiguous) {
			return
		}
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
		defer cancel()
		err = errors.Join(err, e.FreeWrites(free, from))
	}()
	offset, err := e.Freeze(ctx, from, yieldFor)
	if err != nil {
		return err
	}
	if err := e.reaches(ctx, to, offset); err != nil {
		return err
	}
	err = e.takeSlots(ctx, to)
	place, perr := e.place(ctx, to)
	switch {
	case perr == nil && place.leads:
		return nil // whoever else has told it to
	case perr == nil && resp.IsServerError(err):
		return err
	}
	return fmt.Errorf("%w: %w", cache.ErrAmbiguous, errors.Join(err, perr))
}

// takeSlots has a replica lead with all slots of its primary, without asking anybody.
func (e *Engines) takeSlots(ctx context.Context, spec cache.NodeSpec) error {
	n, err := e.node(spec)
	if err != nil {
		return err
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := e.learn(ctx, spec); err != nil {
		return err
	}
	return n.link.use(ctx, spec, func(c *resp.Conn) error {
		_, err := c.Do(ctx, "CLUSTER", "FAILOVER", "TAKEOVER")
		return err
	})
}

// askForLead has a replica and its primary do all of it by themselves.
func (e *Engines) askForLead(ctx context.Context, to cache.NodeSpec) error {
	err := e.ask(ctx, to, func(c *resp.Conn) error {
		_, err := c.Do(ctx, "CLUSTER", "FAILOVER")
		return err
	})
	if err != nil && !resp.IsServerError(err) {
		return fmt.Errorf("%w: %w", cache.ErrAmbiguous, err)
	}
	if err != nil {
		return err
	}
	leads, err := e.until(ctx, to, failoverWait, func(p place) bool { return p.leads })
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", cache.ErrAmbiguous, err)
	case !leads:
		return errors.New("the engines have given up")
	}
	return nil
}

// reaches waits until a replica has come to an offset.
func (e *Engines) reaches(ctx context.Context, spec cache.NodeSpec, offset int64) error {
	there, err := e.until(ctx, spec, reachWait, func(p place) bool { return !p.leads && p.offset >= offset })
	if err == nil && !there {
		err = errors.New("it does not come to have all of its data")
	}
	return err
}

// turned waits until a former primary knows that it is none any more, or leads without
// slots, as one may that does not take the new one for a node of its own shard. One that
// does not come to know it, and lives, is killed: it would go on taking writes.
func (e *Engines) turned(ctx context.Context, from cache.NodeSpec) error {
	knows, err := e.until(ctx, from, turnWait, func(p place) bool { return !p.leads || e.slotless(ctx, from) })
	if err == nil && knows {
		err = e.FreeWrites(ctx, from)
	} else {
		err = e.Fence(ctx, from, nil)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", cache.ErrAmbiguous, err)
	}
	return nil
}

// slotless tells whether a node says that it has no slots.
func (e *Engines) slotless(ctx context.Context, spec cache.NodeSpec) bool {
	owners, err := e.SlotOwners(ctx, spec)
	return err == nil && len(owners[spec.Cluster.Self]) == 0
}

// until asks a node again and again until it says what is waited for.
func (e *Engines) until(ctx context.Context, spec cache.NodeSpec, limit time.Duration, there func(place) bool) (bool, error) {
	give := time.Now().Add(limit)
	// One that makes all clients wait lets its administrator wait too.
	ctx, cancel := context.WithTimeout(ctx, limit+time.Second)
	defer cancel()
	for {
		p, err := e.place(ctx, spec)
		if err != nil || there(p) || time.Now().After(give) {
			return err == nil && there(p), err
		}
		t := time.NewTimer(yieldLook)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false, ctx.Err()
		}
	}
}

// yieldLook is how often a node is looked at that clients wait for.
const yieldLook = time.Millisecond

// place is what ROLE says: whether a node leads, and how far it is.
type place struct {
	leads  bool
	offset int64
}

// place asks a node for the little that is looked at while clients wait.
func (e *Engines) place(ctx context.Context, spec cache.NodeSpec) (place, error) {
	var p place
	err := e.ask(ctx, spec, func(c *resp.Conn) error {
		r, err := c.Do(ctx, "ROLE")
		if err != nil {
			return err
		}
		switch {
		case len(r.Elems) >= 2 && string(r.Elems[0].Bytes) == "master":
			p = place{leads: true, offset: r.Elems[1].Int}
		case len(r.Elems) >= 5 && string(r.Elems[0].Bytes) == "slave":
			p = place{offset: r.Elems[4].Int}
		default:
			return fmt.Errorf("%w: ROLE gives %d elements", errReply, len(r.Elems))
		}
		return nil
	})
	return p, err
}
