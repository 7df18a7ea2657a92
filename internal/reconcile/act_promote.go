package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// promote hands the lead of a shard to a replica: it makes sure that the old primary
// is dead, so that no write it might still take is acknowledged and lost, chooses,
// writes the choice down, and tells the chosen one. All of it is one action, for
// writes wait meanwhile. Cut short after the choice, telling it is what is due next;
// the other replicas are told, and the old primary is started, after that.
func (r *Runner) promote(ctx context.Context, unit string, v *View, target string) (outcome, error) {
	s, ok := v.shardByTarget(target)
	if !ok || !v.orphaned(s) {
		return nil, nil // the primary has come back since this was planned
	}
	best, err := r.chooseLeader(ctx, v, s)
	if err != nil {
		return nil, err
	}
	if r.outdoes(ctx, v, s, best) {
		return r.succeedBy(s.Primary), nil
	}
	if best.m == nil {
		return r.leaveToPrimary(v, s), nil
	}
	if err := r.DB.Update(ctx, func(tx *store.Tx) error { return r.appoint(tx, v, s, best) }); err != nil {
		return nil, err
	}
	failpoint("chosen", actPromote)
	out, err := r.tellLeader(ctx, unit, best.m.ID)
	if err != nil {
		// It is chosen, and is told by an action that knows of attempts.
		r.Log.Warn("a new primary could not be told yet", "node", best.m.Key(), "error", err)
		return nil, nil
	}
	return out, nil
}

// appoint writes down who leads.
func (r *Runner) appoint(tx *store.Tx, v *View, s shard, best candidate) error {
	if c, ok, err := records.Clusters.Get(tx, best.m.Key()); err != nil || !ok || c.Departed {
		return errors.Join(err, fmt.Errorf("%s has left its group", best.m.ID))
	}
	if err := changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) { g.SetPrimary(s.ID, best.m.ID) }); err != nil {
		return err
	}
	if best.stale == 0 {
		return nil
	}
	return r.unitEvent(tx, v,
		"Replica node %s takes over though its link to the primary had been down for %s: writes of that time may be lost", best.m.ID, best.stale)
}

// tellLeader makes the chosen node lead, with those of its endpoints that are free.
func (r *Runner) tellLeader(ctx context.Context, unit, id string) (outcome, error) {
	v, err := r.view(ctx, unit)
	if err != nil {
		return nil, err
	}
	m := v.member(id)
	if m == nil || m.Node.Process == nil || !v.isPrimary(m) {
		return nil, nil // planning sees what has become of it
	}
	w := v.attainable(m, v.wants(v.endpoints())[id])
	return r.configure(ctx, v, m, v.spec(m, w), w)
}

// failedOver tells that a replica leads now, and that its predecessor is being recovered.
func (r *Runner) failedOver(tx *store.Tx, v *View, m *cache.CacheCluster) error {
	said := fmt.Sprintf("Failover to replica node %s completed", m.ID)
	s := v.shardOf(m)
	for _, o := range s.Members {
		if o.ID != m.ID && o.Node.Role == cache.RolePrimary {
			said = fmt.Sprintf("Failover from primary node %s to replica node %s completed", o.ID, m.ID)
		}
	}
	if err := r.event(tx, m.Region, cache.EventCluster, m.ID, "%s", said); err != nil {
		return err
	}
	if err := r.unitEvent(tx, v, "%s", said); err != nil {
		return err
	}
	for _, o := range s.Members {
		if err := r.tellRecovery(tx, o.Key()); err != nil {
			return err
		}
	}
	return nil
}

// tellRecovery tells, once, that a node is being recovered.
func (r *Runner) tellRecovery(tx *store.Tx, key string) error {
	c, ok, err := records.Clusters.Get(tx, key)
	if err != nil || !ok || !c.Node.Recovering || c.Node.RecoveryTold {
		return err
	}
	c.Node.RecoveryTold = true
	if err := records.Clusters.Put(tx, key, c); err != nil {
		return err
	}
	return r.event(tx, c.Region, cache.EventCluster, c.ID, "Recovering cache nodes %s", cache.NodeID)
}

// candidate is a replica that may lead.
type candidate struct {
	m *cache.CacheCluster
	h cache.Health
	// stale is for how long it had heard nothing of a primary that lived.
	stale time.Duration
}

// How long a replica may take to answer, and by how much the times at which links
// went down may differ: engines tell them in seconds.
const (
	answerWait = time.Second
	linkSlack  = 2 * time.Second
)

// chooseLeader makes sure that the old primary is dead and finds the replica that has seen
// the most. None, without an error, means that the primary's own files have more.
func (r *Runner) chooseLeader(ctx context.Context, v *View, s shard) (candidate, error) {
	var fenced error
	var work sync.WaitGroup
	work.Go(func() { fenced = r.fenceOld(ctx, v, s) })
	all, silent, err := r.askReplicas(ctx, v, s)
	work.Wait()
	if err = errors.Join(fenced, err); err != nil || len(all) == 0 {
		return candidate{}, err
	}
	best := freshest(all)
	if to := v.handedTo(s); to != nil {
		if best, err = handed(to, all, best, silent); err != nil {
			return candidate{}, err
		}
	}
	if s.Primary == nil {
		return best, nil
	}
	if silent != nil && best.h.LinkDown > r.deadFor(s.Primary)+linkSlack {
		// One that does not answer may have what this one lacks. It does, or it ends.
		return candidate{}, silent
	}
	best.stale = r.staleness(s.Primary, best.h)
	lacks := best.stale > 0 || best.h.LinkDown >= cache.NeverLinked
	if lacks && v.asTold(s.Primary).Parameters["appendonly"] == "yes" {
		return candidate{}, nil
	}
	return best, nil
}

func (r *Runner) fenceOld(ctx context.Context, v *View, s shard) error {
	old := s.Primary
	if old == nil {
		return nil
	}
	if err := r.Engines.Fence(ctx, v.spec(old, want{}), old.Node.Process); err != nil {
		return fmt.Errorf("cannot make sure that %s is dead: %w", old.ID, err)
	}
	return nil
}

// askReplicas asks all replicas at once how far they are, and returns those that have
// data, and why others could not be asked. That there is none is no error, that it cannot
// be told is one.
func (r *Runner) askReplicas(ctx context.Context, v *View, s shard) (all []candidate, silent, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	heirs := s.heirs()
	if awake := slices.DeleteFunc(slices.Clone(heirs), func(m *cache.CacheCluster) bool { return m.Node.Silent }); len(awake) > 0 {
		heirs = awake
	}
	all = make([]candidate, len(heirs))
	errs := make([]error, len(heirs))
	var work sync.WaitGroup
	for i, m := range heirs {
		work.Go(func() { all[i], errs[i] = r.askReplica(ctx, v, m) })
	}
	work.Wait()
	all = slices.DeleteFunc(all, func(c candidate) bool { return c.m == nil })
	if silent = errors.Join(errs...); len(all) > 0 {
		return all, silent, nil
	}
	return nil, nil, silent
}

// askReplica is nobody for a replica that has no data: one that never was ready and
// that has had no link to its primary, or is just started.
func (r *Runner) askReplica(ctx context.Context, v *View, m *cache.CacheCluster) (candidate, error) {
	h, err := r.Engines.Probe(ctx, v.asTold(m))
	switch {
	case err != nil:
		return candidate{}, fmt.Errorf("the replica %s does not answer: %w: %w", m.ID, err, cache.ErrAmbiguous)
	case h.Loading:
		return candidate{}, fmt.Errorf("the replica %s reads its data still: %w", m.ID, cache.ErrAmbiguous)
	case !m.Node.Ready && h.LinkDown >= cache.NeverLinked:
		return candidate{}, nil
	}
	return candidate{m: m, h: h}, nil
}

// handed prefers the replica to which a primary was handing over when it died: if it leads
// already it has taken writes that nobody else may have. While it does not say whether it
// does, nobody is chosen.
func handed(to *cache.CacheCluster, all []candidate, best candidate, silent error) (candidate, error) {
	i := slices.IndexFunc(all, func(c candidate) bool { return c.m.ID == to.ID })
	switch {
	case i >= 0 && all[i].h.Role == cache.RolePrimary:
		return all[i], nil
	case i < 0 && to.Node.Process != nil:
		return best, errors.Join(silent, fmt.Errorf("%s, which was about to lead, does not answer: %w", to.ID, cache.ErrAmbiguous))
	}
	return best, nil
}

// freshest is the one that has seen the most, of those that lost their primary last:
// one whose link has been down for longer may count another history, and further.
func freshest(all []candidate) candidate {
	last := all[0].h.LinkDown
	for _, c := range all {
		last = min(last, c.h.LinkDown)
	}
	best := candidate{h: cache.Health{Offset: -1}}
	for _, c := range all {
		if c.h.LinkDown <= last+linkSlack && c.h.Offset > best.h.Offset {
			best = c
		}
	}
	return best
}

// staleness is for how long a replica had been without a primary that lived; 0 where
// that is not known, because this run of the service did not see it live.
func (r *Runner) staleness(old *cache.CacheCluster, h cache.Health) time.Duration {
	dead := r.deadFor(old)
	if h.LinkDown <= dead+linkSlack || r.Now().Sub(r.began) <= h.LinkDown+linkSlack {
		return 0
	}
	return (h.LinkDown - dead).Round(time.Second)
}

// deadFor is for how long a primary is known to be dead.
func (r *Runner) deadFor(old *cache.CacheCluster) time.Duration {
	return max(r.Now().Sub(old.Node.ExitedAt), 0)
}

// leaveToPrimary has the old primary come back from its own files: the replicas are
// not ready for anything until they have followed it again.
func (r *Runner) leaveToPrimary(v *View, s shard) outcome {
	return func(tx *store.Tx) error {
		ready := s.readyReplicas()
		for _, m := range ready {
			err := changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
				if sameProcess(c.Node.Process, m.Node.Process) {
					c.Node.Ready = false
				}
			})
			if err != nil {
				return err
			}
		}
		if s.Primary == nil {
			return nil
		}
		err := changeCluster(tx, s.Primary.Key(), func(c *cache.CacheCluster) { c.Node.Heirless = c.Node.Process == nil })
		if err != nil || len(ready) == 0 {
			return err
		}
		return r.unitEvent(tx, v, "Primary node %s is started again from its own files: no replica has all of its data", s.Primary.ID)
	}
}
