package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// actOnClusterUpgrade does the actions of an upgrade in cluster mode.
func (r *Runner) actOnClusterUpgrade(ctx context.Context, v *View, a Action) (outcome, error) {
	if !v.clustered() || v.Group.Upgrade == nil {
		return nil, nil
	}
	switch a.Kind {
	case actRecruit:
		return r.recruit(ctx, v, a.Target)
	case actHandOver:
		return r.handOver(ctx, v, a.Target)
	}
	_, id := cache.SplitKey(a.Target)
	m := v.member(id)
	if m == nil || m.Departed {
		return nil, nil
	}
	switch a.Kind {
	case actProve:
		return r.proveNode(ctx, v, m)
	case actExchange:
		return r.exchange(ctx, v, m)
	}
	return r.dismissStandIn(v, m), nil
}

// errTaken: an address was taken between the look and the claim.
var errTaken = errors.New("an address was taken meanwhile")

// recruit writes down that a node group has a stand-in, like its primary but of the new kind.
func (r *Runner) recruit(ctx context.Context, v *View, target string) (outcome, error) {
	s, ok := v.shardByTarget(target)
	if !ok || s.Primary == nil || v.standIn(s) != nil || v.Group.Upgrade.Failed != "" {
		return nil, nil
	}
	lead := s.Primary
	at, bus, err := r.freePlace(ctx, lead.Node.Address.Port, lead.Node.BusPort)
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		now, err := v.afresh(tx)
		if err != nil || now == nil || now.Group.Upgrade == nil || now.Group.Upgrade.Failed != "" || now.standIn(s) != nil {
			return err
		}
		g := now.Group
		c := cache.CacheCluster{
			Region: g.Region, ID: cache.StandInID(g.ID, s.ID), GroupID: g.ID, NodeGroupID: s.ID, Settings: g.Settings,
			Zone: lead.Zone, CreatedAt: r.Now(), Status: cache.StatusCreating, StandIn: true,
			Node: cache.Node{Address: at, BusPort: bus, Build: g.Upgrade.To.Build, Role: cache.RoleReplica},
		}
		c.Become(g.Upgrade.To)
		c.Parameters, c.Tags, c.Pending = maps.Clone(c.Parameters), nil, nil
		if err := claim(tx, &c, lead.Node.BusPort); err != nil {
			return err
		}
		g.Upgrade.StandIns = append(g.Upgrade.StandIns, c.ID)
		if err := records.Groups.Put(tx, g.Key(), *g); err != nil {
			return err
		}
		return records.Clusters.Put(tx, c.Key(), c)
	}, nil
}

// claim takes the addresses of a new node. Where all nodes share one host its bus has one
// of its own, which is told by its not being that of the others.
func claim(tx *store.Tx, c *cache.CacheCluster, usual int) error {
	pool, _, err := records.Pools.Get(tx, records.PoolKey)
	if err != nil {
		return err
	}
	all := []cache.Address{c.Node.Address}
	if c.Node.BusPort != usual {
		all = append(all, cache.Address{Host: c.Node.Address.Host, Port: c.Node.BusPort})
	}
	for _, a := range all {
		free, err := records.ClaimAddress(tx, pool, a, records.ClusterOwner(c.Key()))
		if err != nil {
			return err
		}
		if !free {
			return errTaken
		}
	}
	return nil
}

// freePlace finds an address that nobody claims and nobody holds, and a bus port there.
func (r *Runner) freePlace(ctx context.Context, port, bus int) (cache.Address, int, error) {
	var found []cache.Address
	err := r.DB.View(ctx, func(tx *store.Tx) error {
		pool, _, err := records.Pools.Get(tx, records.PoolKey)
		if err != nil {
			return err
		}
		need := 1
		if pool.Base == "" {
			need = 2
		}
		for i := 0; i < pool.Size() && len(found) < need; i++ {
			a := pool.At(pool.Next+i, port)
			taken, err := pool.Claimed(tx, a)
			if err != nil {
				return err
			}
			if !taken && isFree(a.Host, a.Port) && (need == 2 || isFree(a.Host, bus)) {
				found = append(found, a)
			}
		}
		if len(found) < need {
			return errors.New("no address is left for a further node")
		}
		return nil
	})
	if err != nil {
		return cache.Address{}, 0, err
	}
	if len(found) == 2 {
		bus = found[1].Port
	}
	return found[0], bus, nil
}

// isFree tells whether nobody holds an address at present.
func isFree(host string, port int) bool {
	ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	return err == nil && ln.Close() == nil
}

// proveNode compares what a node holds with what its primary holds.
func (r *Runner) proveNode(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	s := v.shardOf(m)
	if s.Primary == nil || s.leads(m) || !isReady(m) || !isReady(s.Primary) {
		return nil, errNotYet
	}
	c, err := r.Transfers.Compare(ctx, cache.CompareJob{
		From: r.Engines.Admin(v.asTold(s.Primary)), To: r.Engines.Admin(v.asTold(m)),
	})
	if err != nil {
		return nil, fmt.Errorf("cannot compare %s with its primary: %w", m.ID, err)
	}
	if c.Different > 0 {
		return nil, fmt.Errorf("%s does not hold what its primary holds: %d of %d keys differ: %s: %w",
			m.ID, c.Different, c.Keys, strings.Join(c.Names, ", "), cache.ErrPermanent) // each was looked at again
	}
	return func(tx *store.Tx) error {
		err := changeCluster(tx, m.Key(), func(o *cache.CacheCluster) { o.Node.Proved = m.Node.Process })
		if err != nil {
			return err
		}
		return changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) {
			if g.Upgrade != nil {
				g.Upgrade.Compared += c.Keys
			}
		})
	}, nil
}

// exchange stops a replica that is to be started as another kind, and writes down that it
// is of that kind. Its end is no failure: it is not ready any more before it is stopped.
func (r *Runner) exchange(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	s := v.shardOf(m)
	to := v.destined(s)
	if s.Primary == nil || s.leads(m) || m.StandIn || m.Node.Build == to.Build || v.handing(s) != nil || v.staysMixed(s) {
		return nil, nil
	}
	if m.Node.Process != nil {
		if err := r.spared(ctx, v, s, m); err != nil {
			return nil, err
		}
		err := r.DB.Update(ctx, func(tx *store.Tx) error {
			now, err := v.afresh(tx)
			if err != nil || now == nil || now.Group.Leads(m.ID) {
				return errors.Join(err, errNotYet)
			}
			return changeCluster(tx, m.Key(), func(c *cache.CacheCluster) { c.Node.Ready = false })
		})
		if err != nil {
			return nil, err
		}
	}
	// Also one of which nobody knows that it runs: it would be taken for the new one.
	if err := r.Engines.Stop(ctx, v.asTold(m), m.Node.Process); err != nil {
		return nil, fmt.Errorf("cannot stop %s: %w", m.ID, err)
	}
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || c.Node.Process != nil && !sameProcess(c.Node.Process, m.Node.Process) {
			return err
		}
		c.Become(to)
		c.Parameters = maps.Clone(to.Parameters)
		n := &c.Node
		n.Build, n.Process, n.Ready, n.Failures = to.Build, nil, false, 0
		n.ExitedAt = r.Now()
		if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
			return err
		}
		return forgetStepsOf(tx, c.Key())
	}, nil
}

// spared makes sure that another replica follows the primary at this moment, whatever was
// once written down: with this one stopped it is what there is should the primary die. One
// that cannot follow its primary is spared anyway.
func (r *Runner) spared(ctx context.Context, v *View, s shard, m *cache.CacheCluster) error {
	if v.Group.Upgrade.Failed != "" || v.stranded(s, m) {
		return nil
	}
	for _, o := range s.readyReplicas() {
		if o.ID == m.ID {
			continue
		}
		if h, err := r.Engines.Probe(ctx, v.asTold(o)); err == nil && h.LinkUp {
			return nil
		}
	}
	return fmt.Errorf("%s cannot be stopped: no other node follows its primary", m.ID)
}

// dismissStandIn writes down that a stand-in is none any more, unless it leads or may have to.
func (r *Runner) dismissStandIn(v *View, m *cache.CacheCluster) outcome {
	return func(tx *store.Tx) error {
		now, err := v.afresh(tx)
		if err != nil || now == nil || now.Group.Leads(m.ID) || now.needed(m) {
			return err
		}
		return changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
			c.Status, c.Departed = cache.StatusDeleting, c.StandIn
			c.Node.Ready, c.Node.Recovering = false, false
		})
	}
}

// handOver has the primary of a node group hand over to a replica. That it is about to is
// written down first, for from then on only the two themselves know which of them leads;
// whoever finds it written down asks them.
func (r *Runner) handOver(ctx context.Context, v *View, target string) (outcome, error) {
	s, ok := v.shardByTarget(target)
	if !ok || s.Primary == nil || v.orphaned(s) || s.Primary.Node.Process == nil {
		return nil, nil // it has died meanwhile, which is a failover
	}
	h := v.handing(s)
	if h == nil {
		to := v.successor(s)
		if to == nil || !v.led(s) || !isReady(s.Primary) {
			return nil, nil
		}
		h = &cache.Handover{NodeGroup: s.ID, From: s.Primary.ID, To: to.ID}
		if err := r.DB.Update(ctx, func(tx *store.Tx) error { return r.noteHandover(tx, v, s, h) }); err != nil {
			return nil, err
		}
		failpoint("chosen", actHandOver)
	}
	to := v.member(h.To)
	if to == nil || to.Node.Process == nil {
		return r.afterDeath(ctx, v, s, to)
	}
	pause, err := r.Engines.HandOver(ctx, v.asTold(s.Primary), v.asTold(to))
	if errors.Is(err, cache.ErrAmbiguous) {
		return nil, fmt.Errorf("it is not known who leads node group %s: %s", s.ID, plainly(err)) // to be asked again
	}
	if err != nil {
		// Redis 6.0 makes its clients wait for seconds before it gives up.
		waited := func(tx *store.Tx) error {
			return errors.Join(r.noteHandover(tx, v, s, nil), notePause(tx, v, pause))
		}
		return nil, errors.Join(err, r.DB.Update(ctx, waited))
	}
	r.Log.Info("a primary has handed over", "from", s.Primary.Key(), "to", to.Key(), "writes waited", pause.Round(time.Microsecond))
	return r.handedOver(v, s, to, pause), nil
}

// notePause writes down for how long writes waited.
func notePause(tx *store.Tx, v *View, pause time.Duration) error {
	if pause <= 0 {
		return nil
	}
	return changeUpgrade(tx, v, func(u *cache.Upgrade) { u.Pauses = append(slices.Clone(u.Pauses), pause) })
}

// noteHandover writes down that a primary is about to hand over, or that it is not.
func (r *Runner) noteHandover(tx *store.Tx, v *View, s shard, h *cache.Handover) error {
	g, ok, err := records.Groups.Get(tx, v.Group.Key())
	if err != nil || !ok || g.Upgrade == nil || !g.Leads(s.Primary.ID) {
		return errors.Join(err, errNotYet)
	}
	if h != nil {
		c, ok, err := records.Clusters.Get(tx, cache.Key(g.Region, h.To))
		if err != nil || !ok || c.Departed || !isReady(&c) {
			return errors.Join(err, errNotYet)
		}
	}
	g.Upgrade.Handing = h
	return records.Groups.Put(tx, g.Key(), g)
}

// afterDeath finds out who leads a node group whose primary was handing over to a node
// that is dead: the primary itself, if it says so, for nobody can have heard from the other
// one what it has not. Otherwise the dead one was it, and a failover is what is due.
func (r *Runner) afterDeath(ctx context.Context, v *View, s shard, to *cache.CacheCluster) (outcome, error) {
	h, err := r.Engines.Probe(ctx, v.asTold(s.Primary))
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s whether it leads: %w", s.Primary.ID, err)
	}
	if h.Role == cache.RoleReplica && to != nil {
		return r.handedOver(v, s, to, 0), nil
	}
	if err := r.Engines.FreeWrites(ctx, v.asTold(s.Primary)); err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error { return r.noteHandover(tx, v, s, nil) }, nil
}

// handedOver writes down that another node leads. The former primary is ready for nothing
// if it is of an older kind: it follows the new one only until that has to send it everything.
func (r *Runner) handedOver(v *View, s shard, to *cache.CacheCluster, pause time.Duration) outcome {
	from := s.Primary
	return func(tx *store.Tx) error {
		g, ok, err := records.Groups.Get(tx, v.Group.Key())
		if err != nil || !ok || g.Upgrade == nil || !g.Leads(from.ID) {
			return err
		}
		g.SetPrimary(s.ID, to.ID)
		if pause > 0 {
			g.Upgrade.Pauses = append(slices.Clone(g.Upgrade.Pauses), pause)
		}
		if err := records.Groups.Put(tx, g.Key(), g); err != nil {
			return err
		}
		err = changeCluster(tx, from.Key(), func(c *cache.CacheCluster) {
			c.Node.Role, c.Node.Primary = cache.RoleReplica, to.Node.Address
			c.Node.Ready = c.Node.Ready && c.Node.Build == to.Node.Build
		})
		if err != nil {
			return err
		}
		err = changeCluster(tx, to.Key(), func(c *cache.CacheCluster) {
			c.Node.Role, c.Node.Primary = cache.RolePrimary, cache.Address{}
		})
		if err != nil || from.StandIn || to.StandIn {
			return err
		}
		said := fmt.Sprintf("Failover from primary node %s to replica node %s completed", from.ID, to.ID)
		if err := r.event(tx, to.Region, cache.EventCluster, to.ID, "%s", said); err != nil {
			return err
		}
		return r.unitEvent(tx, v, "%s", said)
	}
}
