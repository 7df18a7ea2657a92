package main

import (
	"context"
	"errors"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/reconcile"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
	"holdfast.dev/internal/transfer"
)

// stopping is a shard of a replication group, or a cluster that stands alone, on
// its way down.
type stopping struct {
	group   *cache.ReplicationGroup // nil for a cluster that stands alone
	nodes   []cache.CacheCluster    // the primary first
	secret  string
	reseeds bool // its primary starts from its seed again, which is still there
}

// stopNodes stops every engine. A shard whose data cannot be kept goes on running
// as a whole and is reported; the others are stopped.
func (in *installation) stopNodes(ctx context.Context, o downOptions) error {
	units, err := in.toStop(ctx)
	if err != nil {
		return err
	}
	mover := in.mover(nil)
	var errs []error
	for _, u := range units {
		if len(u.nodes) > 0 && u.nodes[0].Memcached != nil {
			errs = append(errs, in.stopMemcacheds(ctx, &u.nodes[0], o))
			continue
		}
		errs = append(errs, in.stopUnit(ctx, mover, u, o))
	}
	return errors.Join(errs...)
}

func (in *installation) toStop(ctx context.Context) ([]stopping, error) {
	var out []stopping
	err := in.db.View(ctx, func(tx *store.Tx) error {
		clusters, err := records.Clusters.List(tx, "")
		if err != nil {
			return err
		}
		members := map[string][]cache.CacheCluster{} // by the group's key and the shard
		for i := range clusters {
			c := &clusters[i]
			if c.GroupID == "" {
				out = append(out, stopping{nodes: clusters[i : i+1], secret: c.Secret, reseeds: unproved(c.Seed)})
				continue
			}
			shard := cache.Key(c.Region, c.GroupID) + " " + c.ShardID()
			members[shard] = append(members[shard], *c)
		}
		groups, err := records.Groups.List(tx, "")
		for i := range groups {
			g := &groups[i]
			for _, n := range g.Shards() {
				u := stopping{group: g, secret: g.Secret, reseeds: unproved(g.Seed)}
				for _, c := range members[g.Key()+" "+n.ID] {
					if c.ID == n.Primary {
						u.nodes = append([]cache.CacheCluster{c}, u.nodes...)
					} else {
						u.nodes = append(u.nodes, c)
					}
				}
				out = append(out, u)
			}
		}
		return err
	})
	return out, err
}

// unproved tells whether a node was not yet compared with its seed, which
// therefore is in place and is to be loaded and compared again.
func unproved(s *cache.Seed) bool { return s != nil && !s.Verified }

// stopUnit stops the nodes of a unit once its data are safe: the primary first,
// as a replica that outlives its primary loses nothing.
func (in *installation) stopUnit(ctx context.Context, mover *transfer.Mover, u stopping, o downOptions) error {
	if !o.discard && len(u.nodes) > 0 {
		if err := in.keepData(ctx, mover, u, o); err != nil {
			return err
		}
	}
	var errs []error
	for i := range u.nodes {
		errs = append(errs, in.stopNode(ctx, u, &u.nodes[i], o))
	}
	return errors.Join(errs...)
}

// keepData parks the primary, if it serves. Where it does not and a replica has
// the data nothing may be stopped: the primary would come back empty.
func (in *installation) keepData(ctx context.Context, mover *transfer.Mover, u stopping, o downOptions) error {
	lead := &u.nodes[0]
	serves, err := in.serves(ctx, u, lead)
	switch {
	case err != nil:
		return err
	case serves && !u.reseeds:
		return in.park(ctx, mover, u, lead, o)
	case serves, lead.Node.Parked, lead.Status == cache.StatusCreating:
		return nil // its next start loads its seed file
	}
	if n := lead.Node.Next; n != nil && n.Process != nil && (n.Ready || n.TakingOver) {
		next := lead.Replacement()
		alive, err := in.engines.Adopt(ctx, nodeSpec(u, &next), *n.Process)
		if err != nil {
			return err
		}
		if alive {
			return fmt.Errorf("cannot keep the data of %s, whose new node has to take over first: start the service for that (--discard stops it without)", lead.Key())
		}
	}
	for i := range u.nodes[1:] {
		replica := &u.nodes[i+1]
		serves, err := in.serves(ctx, u, replica)
		if err != nil {
			return err
		}
		if serves {
			return fmt.Errorf("cannot keep the data of %s, which has to take over from the primary %s first: start the service for that (--discard stops them without)",
				replica.Key(), lead.Key())
		}
	}
	return nil
}

// serves tells whether a node was ready and its process still lives.
func (in *installation) serves(ctx context.Context, u stopping, c *cache.CacheCluster) (bool, error) {
	if c.Node.Process == nil || !c.Node.Ready {
		return false, nil
	}
	return in.engines.Adopt(ctx, nodeSpec(u, c), *c.Node.Process)
}

func nodeSpec(u stopping, c *cache.CacheCluster) cache.NodeSpec {
	spec := cache.NodeSpec{Key: c.NodeKey(), Build: c.Node.Build, Address: c.Node.Address, Secret: u.secret}
	if u.group != nil {
		spec.Transit = u.group.NodeTransit(&c.Node)
	}
	return spec
}

// park writes the data of a primary, which takes no writes from then on, to where
// its next start loads it from. The records are ahead of what is done, so that a
// service that is started after this was cut short makes the node take writes
// again, or loads what was kept.
func (in *installation) park(ctx context.Context, mover *transfer.Mover, u stopping, c *cache.CacheCluster, o downOptions) error {
	if err := in.db.Update(ctx, func(tx *store.Tx) error { return reconcile.TellAgain(tx, c) }); err != nil {
		return err
	}
	spec := nodeSpec(u, c)
	m, err := mover.Park(ctx, in.engines.Admin(spec), in.engines.SeedPath(spec))
	if err != nil {
		return fmt.Errorf("cannot keep the data of %s, which goes on running (--discard stops it without): %w", c.Key(), err)
	}
	fmt.Fprintf(o.out, "%s: %d keys kept\n", c.Key(), m.Keys)
	return in.db.Update(ctx, func(tx *store.Tx) error { return reconcile.NoteParked(tx, c.Key()) })
}

func (in *installation) stopNode(ctx context.Context, u stopping, c *cache.CacheCluster, o downOptions) error {
	if err := in.engines.Stop(ctx, nodeSpec(u, c), c.Node.Process); err != nil {
		return err
	}
	if c.Node.Next != nil {
		next := c.Replacement()
		if err := in.engines.Stop(ctx, nodeSpec(u, &next), next.Node.Process); err != nil {
			return err
		}
	}
	for _, key := range c.DiscardKeys() {
		if err := in.engines.Fence(ctx, cache.NodeSpec{Key: key}, nil); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.out, "%s: stopped\n", c.Key())
	return in.db.Update(ctx, func(tx *store.Tx) error { return reconcile.NoteStopped(tx, c.Key()) })
}
