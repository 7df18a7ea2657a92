package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

func nextStart(n *cache.Node, now time.Time) time.Time {
	return proc.DefaultBackoff.Next(n.Failures, n.ExitedAt, now)
}

// nextSpec is the spec of the node that is to replace a member's: a replica of the
// primary, which may be the one that it replaces.
func (v *View) nextSpec(m *cache.CacheCluster, primary cache.Address) cache.NodeSpec {
	next := m.Replacement()
	return v.spec(&next, want{Role: cache.RoleReplica, Primary: primary})
}

// changeNext changes the replacement of a member, if it is the one that is known here.
func changeNext(tx *store.Tx, m *cache.CacheCluster, change func(c *cache.CacheCluster, n *cache.Node)) error {
	return changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
		if n := c.Node.Next; n != nil && n.Generation == m.Node.Next.Generation {
			change(c, n)
		}
	})
}

// prepare writes down which node is to replace a member's, with an address for the time
// until it does.
func (r *Runner) prepare(v *View, m *cache.CacheCluster) outcome {
	return func(tx *store.Tx) error {
		now, err := v.reread(tx)
		if err != nil || now == nil || now.upgrade() == nil || now.upgrade().Failed != "" {
			return err
		}
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || c.Node.Next != nil || len(c.Node.Discard) > 0 || c.Deletion != nil {
			return err
		}
		at, err := lendAddress(tx, &c)
		if err != nil {
			return err
		}
		to := now.upgrade().To
		c.Node.Next = &cache.Node{Address: at, Build: to.Build, Generation: c.Node.Generation + 1, Becomes: &to}
		return records.Clusters.Put(tx, c.Key(), c)
	}
}

// lendAddress claims an address for the node that is to replace a cluster's.
func lendAddress(tx *store.Tx, c *cache.CacheCluster) (cache.Address, error) {
	p, _, err := records.Pools.Get(tx, records.PoolKey)
	if err != nil {
		return cache.Address{}, err
	}
	if p.Base == "" {
		return cache.Address{}, fmt.Errorf("nodes have no addresses of their own on this platform, so that none can take one over from another: %w", cache.ErrPermanent)
	}
	for place := range p.Size() {
		// From the far end: at this one creations look for theirs.
		at := p.At(p.Next+p.Size()-1-place, c.Node.Address.Port)
		free, err := records.ClaimAddress(tx, p, at, records.NextOwner(c.Key()))
		if free || err != nil {
			return at, err
		}
	}
	return cache.Address{}, errors.New("no address is left")
}

// launchNext starts the node that is to replace a member's. One that is started has
// nothing, so that it takes over from nobody until it has caught up.
func (r *Runner) launchNext(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	s := v.shardOf(m)
	if s.Primary == nil || m.Node.Next.Process != nil {
		return nil, nil
	}
	if m.Node.Next.TakingOver {
		if err := r.mustLive(ctx, v, m); err != nil {
			return nil, err
		}
	}
	primary := s.Primary.Node.Address
	next := m.Replacement()
	spec := v.nextSpec(m, primary)
	_, found, err := r.Engines.Running(ctx, spec) // of a start whose end was not seen
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", spec.Key, err)
	}
	p, err := r.Engines.Start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", spec.Key, err)
	}
	told := next.StartedParameters()
	return func(tx *store.Tx) error {
		return changeNext(tx, m, func(_ *cache.CacheCluster, n *cache.Node) {
			n.Process, n.Ready, n.StartedAt = &p, false, r.Now()
			n.Role, n.Primary, n.Transit = cache.RoleReplica, primary, spec.Transit.Mode
			n.Compared, n.TakingOver = false, false
			n.Parameters = told
			noteAccess(n, spec, found)
		})
	}, nil
}

// catchUp waits until a replacement has its primary's data, of the primary that there is
// now.
func (r *Runner) catchUp(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	s, next := v.shardOf(m), m.Node.Next
	if s.Primary == nil || next.Process == nil {
		return nil, nil
	}
	primary := s.Primary.Node.Address
	spec := v.nextSpec(m, primary)
	if next.Primary != primary {
		if err := r.Engines.Reconfigure(ctx, spec); err != nil {
			return nil, fmt.Errorf("cannot have %s follow another primary: %w", spec.Key, err)
		}
	}
	_, err := r.Engines.AwaitReady(ctx, spec)
	if errors.Is(err, cache.ErrAmbiguous) {
		if err = r.Engines.Reconfigure(ctx, spec); err == nil {
			_, err = r.Engines.AwaitReady(ctx, spec)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s does not become ready: %w", spec.Key, err)
	}
	return func(tx *store.Tx) error {
		return changeNext(tx, m, func(_ *cache.CacheCluster, n *cache.Node) {
			if sameProcess(n.Process, next.Process) {
				n.Ready, n.Primary, n.Compared, n.Failures = true, primary, false, 0
			}
		})
	}, nil
}

// compare makes sure that a replacement holds what its primary holds.
func (r *Runner) compare(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	s, next := v.shardOf(m), m.Node.Next
	if s.Primary == nil || next.Process == nil || !next.Ready {
		return nil, nil
	}
	job := cache.CompareJob{From: r.Engines.Admin(v.asTold(s.Primary)), To: r.Engines.Admin(v.nextSpec(m, next.Primary))}
	c, err := r.Transfers.Compare(ctx, job)
	if err != nil {
		return nil, fmt.Errorf("cannot compare the new node of %s with its primary: %w", m.ID, err)
	}
	if c.Different > 0 {
		return nil, fmt.Errorf("%w: %d of %d keys differ: %w", errDiffers, c.Different, c.Keys, cache.ErrPermanent)
	}
	return func(tx *store.Tx) error {
		err := changeNext(tx, m, func(_ *cache.CacheCluster, n *cache.Node) {
			n.Compared = sameProcess(n.Process, next.Process) && n.Ready
		})
		if err != nil {
			return err
		}
		return changeUpgrade(tx, v, func(u *cache.Upgrade) { u.Compared += c.Keys })
	}, nil
}

// askNext looks, before a primary is started that may come up empty, whether the node that
// was to replace it runs and has data, whatever is written down of that. Nil means no.
func (r *Runner) askNext(ctx context.Context, v *View, m *cache.CacheCluster, spec cache.NodeSpec) (outcome, error) {
	if m.Node.Next == nil || m.Node.Parked || spec.Parameters["appendonly"] == "yes" || v.status() == cache.StatusCreating {
		return nil, nil
	}
	next := v.nextSpec(m, m.Node.Address)
	p, runs, err := r.Engines.Running(ctx, next)
	if err != nil {
		return nil, fmt.Errorf("cannot tell whether %s runs: %w", next.Key, err)
	}
	if !runs {
		return nil, nil
	}
	h, err := r.Engines.Probe(ctx, next)
	if err != nil || h.Loading {
		return nil, fmt.Errorf("cannot tell what %s has: %w", next.Key, errors.Join(err, cache.ErrAmbiguous))
	}
	if h.LinkDown >= cache.NeverLinked {
		return nil, nil
	}
	return func(tx *store.Tx) error {
		return changeNext(tx, m, func(_ *cache.CacheCluster, n *cache.Node) { n.Process, n.Ready = &p, true })
	}, nil
}

// outdoes tells whether the replacement of a dead primary has at least what the best of its
// replicas has. Then it is its successor.
func (r *Runner) outdoes(ctx context.Context, v *View, s shard, best candidate) bool {
	if s.Primary == nil || s.Primary.Node.Next == nil {
		return false
	}
	next := s.Primary.Node.Next
	if next.Process == nil || !next.Ready || next.Primary != s.Primary.Node.Address {
		return false
	}
	if best.m == nil && v.keepsOnDisk(s.Primary) {
		return false // its own files have more
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	h, err := r.Engines.Probe(ctx, v.nextSpec(s.Primary, next.Primary))
	return err == nil && !h.Loading && (best.m == nil || h.Offset >= best.h.Offset && h.LinkDown <= best.h.LinkDown+linkSlack)
}

// keepsOnDisk tells whether what a node's own files hold is all that it acknowledged.
func (v *View) keepsOnDisk(m *cache.CacheCluster) bool {
	return v.asTold(m).Parameters["appendonly"] == "yes"
}

// succeedBy has the replacement of a dead primary take over in place of a replica.
func (r *Runner) succeedBy(m *cache.CacheCluster) outcome {
	return func(tx *store.Tx) error {
		return changeNext(tx, m, func(c *cache.CacheCluster, n *cache.Node) {
			n.TakingOver = c.Node.Process == nil && sameProcess(n.Process, m.Node.Next.Process)
		})
	}
}
