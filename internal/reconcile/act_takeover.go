package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Limits of a take-over. While it lasts nobody may write: a primary that is held longer
// than freezeFor takes writes again, whoever is left to tell it so.
const (
	freezeFor  = 3 * time.Second
	freezeUse  = freezeFor * 2 / 3
	freezeLook = time.Millisecond
	relinkWait = 10 * time.Second
)

// takeOver makes the replacement of a member's node its node. That it is about to is
// written down before anything is told or killed, and who is the node follows from that
// and from the processes: as long as the former one lives it is, and after its end the
// replacement is, which accepts no write before. A primary takes no more writes, the
// replacement comes to have all that it acknowledged, and the former dies. A replica
// dies, and the replacement goes on where it is in the same stream.
func (r *Runner) takeOver(ctx context.Context, v *View, m *cache.CacheCluster, unanswered string) (outcome, error) {
	t, ok := r.turnover(v, m)
	if !ok {
		return nil, nil
	}
	if out, err := t.outOfStep(ctx); out != nil || err != nil {
		return out, err
	}
	if err := r.DB.Update(ctx, t.begin); err != nil {
		return nil, err
	}
	failpoint("chosen", actTakeOver)
	if err := t.admit(ctx); err != nil {
		return nil, err
	}
	if err := t.endFormer(ctx); err != nil {
		return nil, fmt.Errorf("cannot hand %s over to its new node: %w", m.ID, errors.Join(err, t.rest.Wait()))
	}
	failpoint("fenced", actTakeOver)
	if m.Node.Next.Process == nil || unanswered != "" {
		// It was about to, so that it may have taken writes already: what it has on
		// disk is what there is.
		err := r.Engines.Fence(ctx, t.there, m.Node.Next.Process)
		return t.succeedDead, errors.Join(err, t.rest.Wait())
	}
	err := t.tell(ctx)
	if err = errors.Join(err, t.rest.Wait()); err != nil {
		return nil, fmt.Errorf("cannot have the new node of %s take over: %w", m.ID, err)
	}
	return t.succeed, nil
}

// turnover is one take-over.
type turnover struct {
	r    *Runner
	v    *View
	m    *cache.CacheCluster
	lead bool
	// there is the replacement as it is, after as it is to be, told w.
	there, after cache.NodeSpec
	w            want
	// stand are the endpoints before which forwarders stand that it is to hold itself.
	stand []cache.Address
	// began is when writes began to wait; by drained the replacement had all, which is up
	// to offset; by away the former was dead, or had let go of its addresses.
	began, drained, away time.Time
	offset               int64
	pause                time.Duration
	// rest is what goes on besides, to be waited for.
	rest errgroup.Group
	// inStep: it follows its primary again under its new address.
	inStep bool
}

// turnover finds out whether a member's replacement is to take over now, and how.
func (r *Runner) turnover(v *View, m *cache.CacheCluster) (*turnover, bool) {
	next, s, u := m.Node.Next, v.shardOf(m), v.upgrade()
	ready := next.Process != nil && next.Ready
	switch {
	case s.Primary == nil:
		return nil, false
	case m.Node.Process == nil && !r.succeeds(v, s, m):
		return nil, false
	case m.Node.Process != nil && (!ready || !next.Compared || u == nil || u.Failed != "" || next.Primary != s.Primary.Node.Address):
		return nil, false
	}
	t := &turnover{r: r, v: v, m: m, lead: s.leads(m), there: v.nextSpec(m, next.Primary), began: time.Now()}
	fv := *v
	fv.Members = slices.Clone(v.Members)
	fv.Forwards = maps.Clone(v.Forwards)
	after := fv.member(m.ID)
	after.Succeed()
	if t.w = fv.wants(fv.endpoints())[m.ID]; !t.lead {
		t.w.Binds = m.Node.Binds // the endpoints of replicas change hands when it serves
	} else {
		for _, host := range t.w.Binds {
			at := cache.Address{Host: host, Port: m.Node.Address.Port}
			if _, stands := fv.Forwards[at]; stands {
				t.stand = append(t.stand, at)
				delete(fv.Forwards, at)
			}
		}
	}
	t.w = fv.attainable(after, t.w)
	t.after = fv.spec(after, t.w)
	return t, true
}

// succeeds tells whether the replacement of a dead node is its successor: it may have died
// after this was planned, and then others may have more.
func (r *Runner) succeeds(v *View, s shard, m *cache.CacheCluster) bool {
	p := planner{v: v, now: r.Now()}
	return p.succession(m) && (!s.leads(m) || !v.orphaned(s))
}

// begin writes down that the replacement is to be the node once the former is dead.
func (t *turnover) begin(tx *store.Tx) error {
	c, ok, err := records.Clusters.Get(tx, t.m.Key())
	if err != nil {
		return err
	}
	same := func(a, b *cache.Process) bool { return a == nil && b == nil || sameProcess(a, b) }
	if !ok || c.Node.Next == nil || c.Node.Next.Generation != t.m.Node.Next.Generation ||
		!same(c.Node.Process, t.m.Node.Process) || !same(c.Node.Next.Process, t.m.Node.Next.Process) {
		return errNotYet // it is another one by now
	}
	if c.Node.Next.TakingOver {
		return nil
	}
	c.Node.Next.TakingOver = true
	return records.Clusters.Put(tx, c.Key(), c)
}

// outOfStep looks, before anything is written down or held, whether the replacement of a
// node that lives follows its primary at this moment: since it was compared it may have
// lost its link, and be reading everything anew. Then it has to catch up first.
func (t *turnover) outOfStep(ctx context.Context) (outcome, error) {
	if t.m.Node.Process == nil || t.m.Node.Next.TakingOver {
		return nil, nil // who succeeds the dead has been decided, and one that was about to may have let go
	}
	h, err := t.r.Engines.Probe(ctx, t.there)
	if err != nil {
		return nil, fmt.Errorf("cannot tell whether the new node of %s is in step: %w", t.m.ID, err)
	}
	if h.LinkUp && !h.Loading || h.Role != cache.RoleReplica {
		return nil, nil
	}
	return func(tx *store.Tx) error {
		return changeNext(tx, t.m, func(_ *cache.CacheCluster, n *cache.Node) {
			if sameProcess(n.Process, t.m.Node.Next.Process) {
				n.Ready, n.Compared = false, false
			}
		})
	}, nil
}

// callOff writes down that the replacement is not about to take over any more. The former
// node lives, or has died by itself only just now, and nobody else was told anything.
func (t *turnover) callOff(tx *store.Tx) error {
	return changeNext(tx, t.m, func(c *cache.CacheCluster, n *cache.Node) {
		if sameProcess(n.Process, t.m.Node.Next.Process) && sameProcess(c.Node.Process, t.m.Node.Process) {
			n.TakingOver = false
		}
	})
}

// admit has the replacement know who may log in, if that has changed since it was started:
// nobody is let in by it who is let in no more.
func (t *turnover) admit(ctx context.Context) error {
	next := t.m.Replacement()
	if next.AccessTold() || next.Node.Process == nil {
		return nil
	}
	return t.r.Engines.Grant(ctx, t.there, ended(&next))
}

// endFormer kills the former node, a primary only once the replacement has everything, and
// returns when nobody is at its addresses: at once if it can let go of them by itself,
// otherwise when it is dead, which takes the longer the more it holds. That nothing is left
// of it either, such as a child that saves, takes a search of the process table, for which
// nobody waits but rest.
func (t *turnover) endFormer(ctx context.Context) error {
	former, p := t.v.asTold(t.m), t.m.Node.Process
	if p == nil {
		return errors.Join(t.r.Engines.Fence(ctx, former, nil), t.free(ctx))
	}
	// Its end is only told to those who watch it.
	if alive, err := t.r.Engines.Adopt(ctx, former, *p); err != nil || !alive {
		return errors.Join(err, errNotYet)
	}
	released, err := t.letGo(ctx, former, *p)
	if err != nil {
		return err
	}
	fenced := make(chan struct{})
	t.rest.Go(func() error {
		defer close(fenced)
		return t.r.Engines.Fence(ctx, former, p)
	})
	if err := t.free(ctx); err != nil {
		return err
	}
	away := t.r.Engines.Exited(*p)
	if released {
		now := make(chan struct{})
		close(now)
		away = now
	}
	select {
	case <-away:
	case <-fenced:
		if err := t.rest.Wait(); err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	t.away = time.Now()
	return nil
}

// letGo drains a primary, and has the former node let go of its addresses if it can. One
// that has already done so, in an attempt that was cut short, was drained before.
func (t *turnover) letGo(ctx context.Context, former cache.NodeSpec, p cache.Process) (bool, error) {
	if t.lead {
		if gone, err := t.r.Engines.Released(ctx, former, p); gone || err != nil {
			t.drained = time.Now()
			return false, err
		}
		if err := t.drain(ctx, former); err != nil {
			// What was decided until then says nothing of who has the most when it dies later.
			return false, errors.Join(err, t.r.DB.Update(context.WithoutCancel(ctx), t.callOff))
		}
	}
	t.drained = time.Now()
	if !t.r.Engines.CanRebind(former.Build) {
		return false, nil
	}
	var behind error
	err := t.r.Engines.Release(ctx, former, p, func(offset int64) error {
		if !t.lead || offset <= t.offset {
			return nil
		}
		// The hold may have ended by itself.
		behind = t.reach(ctx, offset)
		return behind
	})
	if behind != nil {
		return false, errors.Join(err, t.unhold(ctx, former), t.r.DB.Update(context.WithoutCancel(ctx), t.callOff))
	}
	if err != nil && t.lead && time.Since(t.began) > freezeUse {
		return false, errors.Join(err, t.unhold(ctx, former)) // it may have taken writes again
	}
	if err != nil {
		// Its death will do.
		t.r.Log.Warn("a node does not let go of its addresses", "node", t.m.Key(), "error", err)
	}
	return err == nil, nil
}

// free has no forwarder stand where the replacement is to answer itself.
func (t *turnover) free(ctx context.Context) error {
	for _, at := range t.stand {
		if err := t.r.unforward(ctx, Action{At: at}); err != nil {
			return err
		}
	}
	return nil
}

// drain has the former primary take no more writes, until the replacement has all.
func (t *turnover) drain(ctx context.Context, former cache.NodeSpec) error {
	// The replacement is asked once before, so that the first question later is a quick one.
	if _, err := t.r.Engines.Probe(ctx, t.there); err != nil {
		return err
	}
	t.began = time.Now()
	offset, err := t.r.Engines.Freeze(ctx, former, freezeFor)
	if err != nil {
		return err
	}
	held, cancel := context.WithDeadline(ctx, t.began.Add(freezeUse))
	defer cancel()
	if err = errors.Join(t.reach(held, offset), held.Err()); err == nil {
		return nil
	}
	if ferr := t.unhold(ctx, former); ferr != nil {
		return fmt.Errorf("%w; %w", err, ferr)
	}
	return err
}

// unhold has the former primary take writes again.
func (t *turnover) unhold(ctx context.Context, former cache.NodeSpec) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), freezeFor)
	defer cancel()
	return t.r.Engines.FreeWrites(ctx, former)
}

// reach waits until the replacement is at an offset, for no longer than writes are held.
func (t *turnover) reach(ctx context.Context, offset int64) error {
	t.offset = offset
	ctx, cancel := context.WithTimeout(ctx, freezeUse)
	defer cancel()
	return t.r.comesTo(ctx, t.there, offset)
}

// comesTo waits until a node is at an offset of its primary's stream.
func (r *Runner) comesTo(ctx context.Context, spec cache.NodeSpec, offset int64) error {
	tick := time.NewTicker(freezeLook)
	defer tick.Stop()
	for {
		h, err := r.Engines.Probe(ctx, spec)
		switch {
		case err != nil:
			return err
		case h.Role != cache.RoleReplica && h.Role != "":
			return fmt.Errorf("%s follows nobody: %w", spec.Key, cache.ErrAmbiguous)
		case h.Offset >= offset:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("it does not come to have all of its data")
		}
	}
}

// tell has the replacement answer where the former did.
func (t *turnover) tell(ctx context.Context) error {
	at, err := t.r.Engines.TakeOver(ctx, t.after, t.there.Address)
	if err != nil {
		return err
	}
	t.pause = at.Sub(t.began)
	t.r.Log.Info("a node was replaced", "node", t.m.Key(), "leads", t.lead, "build", t.after.Build,
		"drained", t.drained.Sub(t.began), "away", t.away.Sub(t.began), "answers", t.pause)
	if t.lead {
		t.inStep = true
		return nil
	}
	t.inStep = t.relinks(ctx)
	return ctx.Err()
}

// relinks waits until a replica follows its primary again. One that does not come to in that
// time serves nobody until it does; one whose primary has died has the data as before.
func (t *turnover) relinks(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, relinkWait)
	defer cancel()
	lead := t.v.shardOf(t.m).Primary.Node.Process
	if lead == nil {
		return true
	}
	ready := make(chan bool, 1)
	go func() {
		_, err := t.r.Engines.AwaitReady(ctx, t.after)
		ready <- err == nil
	}()
	select {
	case in := <-ready:
		return in
	case <-t.r.Engines.Exited(*lead):
		cancel()
		<-ready
		return true
	}
}

func (t *turnover) succeedDead(tx *store.Tx) error { return t.swap(tx, false) }
func (t *turnover) succeed(tx *store.Tx) error     { return t.swap(tx, true) }

// swap writes down that the replacement is the node.
func (t *turnover) swap(tx *store.Tx, told bool) error {
	c, ok, err := records.Clusters.Get(tx, t.m.Key())
	if err != nil || !ok || c.Node.Next == nil || c.Node.Next.Generation != t.m.Node.Next.Generation {
		return err
	}
	recovering := c.Node.Recovering
	if err := t.r.tellRecovery(tx, c.Key()); err != nil {
		return err
	}
	lives := told && sameProcess(c.Node.Next.Process, t.m.Node.Next.Process)
	c.Succeed()
	n := &c.Node
	n.Role, n.Primary, n.Binds, n.Transit = t.w.Role, t.w.Primary, t.w.Binds, t.after.Transit.Mode
	n.Heirless, n.Silent, n.Parked = false, false, false
	if n.Ready = lives && t.inStep; !lives {
		n.Process = nil
	}
	n.Recovering = recovering && !n.Ready
	if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
		return err
	}
	// Whatever the former was to be told concerns nobody any more.
	for _, k := range []Kind{actConfigure, actStart, actReady} {
		if err := records.Steps.Delete(tx, Action{Kind: k, Target: c.Key()}.ID()); err != nil {
			return err
		}
	}
	if err := forgetReplacing(tx, c.Key()); err != nil {
		return err
	}
	if t.lead && told && t.m.Node.Process != nil {
		if err := changeUpgrade(tx, t.v, func(u *cache.Upgrade) { u.Pauses = append(u.Pauses, t.pause) }); err != nil {
			return err
		}
	}
	if recovering && n.Ready {
		if err := t.r.event(tx, c.Region, cache.EventCluster, c.ID, "Finished recovery for cache nodes %s", cache.NodeID); err != nil {
			return err
		}
	}
	return t.r.event(tx, c.Region, cache.EventCluster, c.ID,
		"Cache node %s replaced: %s %s is served by the installed build %s", cache.NodeID, c.Engine, c.EngineVersion, n.Build)
}
