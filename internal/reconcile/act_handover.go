package reconcile

import (
	"context"
	"fmt"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// holdFor is for how long a primary may take no writes while another one comes to
// have all that it acknowledged. It is far more than that takes, and ends by itself
// where nobody is left to end it.
const holdFor = 30 * time.Second

// holdUse is how much of that may have passed when it is done: what is acknowledged after
// the hold has ended was waited for by nobody.
const holdUse = holdFor * 2 / 3

// demote makes the primary of a group a replica of the member that is to lead: it takes
// no more writes, that member comes to have all that were acknowledged, and the former
// primary lets go of its endpoints and its clients. Only then is it written down who
// leads; telling that one is the next action.
//
// Cut short before that, the former primary leads still, whatever it has been told:
// nobody else has taken a write. So it is noted first that it has to be told again.
func (r *Runner) demote(ctx context.Context, v *View) (outcome, error) {
	c, s := v.Group.Change, v.shards()[0]
	if c == nil || v.clustered() || s.Primary == nil {
		return nil, nil
	}
	from, to := s.Primary, v.member(c.Promote)
	if to == nil || s.leads(to) || !isReady(from) || !isReady(to) || !v.led(s) {
		return nil, nil
	}
	if err := r.DB.Update(ctx, func(tx *store.Tx) error { return TellAgain(tx, from) }); err != nil {
		return nil, err
	}
	w := want{Role: cache.RoleReplica, Primary: to.Node.Address}
	if err := r.yield(ctx, v, from, to, w); err != nil {
		return nil, fmt.Errorf("cannot hand the lead from %s over to %s: %w", from.ID, to.ID, err)
	}
	return func(tx *store.Tx) error {
		f, ok, err := records.Clusters.Get(tx, from.Key())
		if err != nil || !ok || !sameProcess(f.Node.Process, from.Node.Process) {
			return err // it died after all, and a failover is what is due
		}
		g, ok, err := records.Groups.Get(tx, v.Group.Key())
		if err != nil || !ok || g.Primary != from.ID {
			return err
		}
		g.SetPrimary(s.ID, to.ID)
		f.Node.Role, f.Node.Primary, f.Node.Binds = w.Role, w.Primary, w.Binds
		if err := records.Clusters.Put(tx, f.Key(), f); err != nil {
			return err
		}
		if err := records.Steps.Delete(tx, Action{Kind: actConfigure, Target: from.Key()}.ID()); err != nil {
			return err
		}
		return records.Groups.Put(tx, g.Key(), g)
	}, nil
}

// yield takes the lead away from a primary without losing a write.
func (r *Runner) yield(ctx context.Context, v *View, from, to *cache.CacheCluster, w want) (err error) {
	present := v.asTold(from)
	if err := r.Engines.HoldWrites(ctx, present, holdFor); err != nil {
		return err
	}
	defer func() {
		// Also what a replica is sent by its primary would wait.
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), catchUpPatience)
		defer cancel()
		if ferr := r.Engines.FreeWrites(free, present); err == nil {
			err = ferr
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, holdUse)
	defer cancel()
	h, err := r.Engines.Probe(ctx, present)
	if err != nil {
		return err
	}
	if !r.reaches(ctx, v, to, h.Offset) {
		return fmt.Errorf("%s does not come to have all of its data", to.ID)
	}
	return r.Engines.Reconfigure(ctx, v.spec(from, w))
}

// testFailover kills the primary that a test was asked for, as a failure would. What
// follows is what follows every failure.
func (r *Runner) testFailover(ctx context.Context, v *View, target string) (outcome, error) {
	t := v.Group.Test
	s, ok := v.shardByTarget(target)
	if t == nil || t.Done || !ok || s.ID != t.NodeGroupID {
		return nil, nil
	}
	said, err := r.breakPrimary(ctx, v, s, t)
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		err := changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) {
			if g.Test == nil || g.Test.AskedAt != t.AskedAt {
				return
			}
			if g.Test.Done = true; said != "" {
				g.Test = nil
			}
		})
		if err != nil || said == "" {
			return err
		}
		return r.unitEvent(tx, v, "%s", said)
	}, nil
}

// breakPrimary kills the primary of a test, or says why it is called off. One that failed
// by itself meanwhile, or that an attempt has killed that was cut short, has no replica
// in step: whether it lives is asked first.
func (r *Runner) breakPrimary(ctx context.Context, v *View, s shard, t *cache.FailoverTest) (string, error) {
	old := v.member(t.Primary)
	if old == nil || !s.leads(old) || !sameProcess(old.Node.Process, &t.Process) {
		return "", nil
	}
	lives, err := r.Engines.Adopt(ctx, v.asTold(old), t.Process)
	if err != nil || !lives {
		return "", err
	}
	if !r.inStep(ctx, v, s) {
		return fmt.Sprintf("Test failover of node group %s is called off: no replica has its data", s.ID), nil
	}
	return "", r.Engines.Fence(ctx, v.asTold(old), &t.Process)
}

// linkWait is how long a replica may take to follow its primary again that has just been
// given another one, or has been cut off for a moment.
const linkWait = 10 * time.Second

// inStep tells whether a replica of a shard follows its primary at present, or comes to
// within a moment. One that was ready once may have lost its link, or may be reading
// everything anew.
func (r *Runner) inStep(ctx context.Context, v *View, s shard) bool {
	ctx, cancel := context.WithTimeout(ctx, linkWait)
	defer cancel()
	tick := time.NewTicker(catchUpLook)
	defer tick.Stop()
	for {
		for _, m := range s.readyReplicas() {
			if h, err := r.Engines.Probe(ctx, v.asTold(m)); err == nil && h.LinkUp {
				return true
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}
