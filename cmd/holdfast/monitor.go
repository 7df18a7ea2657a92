package main

import (
	"context"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/monitor"
	"holdfast.dev/internal/proc"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// watchNodes ends nodes that hang, until the context ends. What follows the end of a
// node's process is the reconciler's.
func (in *installation) watchNodes(ctx context.Context) error {
	watch := in.db.Watch(records.Groups.Prefix(""), records.Clusters.Prefix(""))
	defer watch.Close()
	return monitor.New(monitor.Config{Hands: hands{in}, Changed: watch.C(), Log: in.log}).Run(ctx)
}

// hands are the installation as the monitor sees it.
type hands struct{ in *installation }

// Nodes are all engines that run and are to stay.
func (h hands) Nodes(ctx context.Context) (out []monitor.Node, err error) {
	err = h.in.db.View(ctx, func(tx *store.Tx) error {
		groups, err := records.Groups.List(tx, "")
		if err != nil {
			return err
		}
		byKey := make(map[string]*cache.ReplicationGroup, len(groups))
		for i := range groups {
			byKey[groups[i].Key()] = &groups[i]
		}
		clusters, err := records.Clusters.List(tx, "")
		for i := range clusters {
			c := &clusters[i]
			if c.Node.Process != nil && (c.Engine == cache.Redis || c.Engine == cache.Valkey) {
				out = append(out, h.node(c, byKey[cache.Key(c.Region, c.GroupID)]))
			}
		}
		return err
	})
	return out, err
}

func (h hands) node(c *cache.CacheCluster, g *cache.ReplicationGroup) monitor.Node {
	n := monitor.Node{Key: c.Key(), Engine: c.NodeKey(), Process: *c.Node.Process, Leads: true, Ready: c.Node.Ready && !created(c, g)}
	spec := cache.NodeSpec{Key: c.NodeKey(), Address: c.Node.Address, Secret: c.Secret}
	if g != nil {
		spec.Secret, spec.Transit = g.Secret, g.NodeTransit(&c.Node)
		n.Leads = g.Leads(c.ID)
		if s := g.Shard(c.ShardID()); s != nil && !n.Leads {
			n.Follows = cache.Key(c.Region, s.Primary)
		}
	}
	n.Login, n.Spec = h.in.engines.Admin(spec), spec
	return n
}

// created tells whether a node belongs to a cache that is still being created: it has
// nothing to lose, whatever it holds.
func created(c *cache.CacheCluster, g *cache.ReplicationGroup) bool {
	if g != nil {
		return g.Status == cache.StatusCreating
	}
	return c.Status == cache.StatusCreating
}

// Look asks the process table.
func (h hands) Look(p cache.Process) (monitor.Sight, error) {
	l, err := proc.LookAt(proc.Ref{PID: p.PID, StartTime: p.StartTime, BootID: p.BootID})
	return monitor.Sight{State: byte(l.State), CPU: l.CPU, CPUKnown: l.CPUKnown}, err
}

// Link asks a replica.
func (h hands) Link(ctx context.Context, n monitor.Node) (up bool, offset int64, err error) {
	seen, err := h.in.engines.Probe(ctx, n.Spec)
	return seen.LinkUp, seen.Offset, err
}

// Fence kills one process.
func (h hands) Fence(ctx context.Context, n monitor.Node) error {
	return h.in.engines.Fence(ctx, n.Spec, &n.Process)
}

// Silence writes down whether a node hangs.
func (h hands) Silence(ctx context.Context, n monitor.Node, silent bool) error {
	return h.in.db.Update(ctx, func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, n.Key)
		if err != nil || !ok || c.Node.Process == nil || *c.Node.Process != n.Process || c.Node.Silent == silent {
			return err
		}
		c.Node.Silent = silent
		return records.Clusters.Put(tx, n.Key, c)
	})
}

// Tell adds an event about a node.
func (h hands) Tell(ctx context.Context, n monitor.Node, message string) error {
	region, id := cache.SplitKey(n.Key)
	return h.in.db.Update(ctx, func(tx *store.Tx) error {
		return records.AddEvent(tx, region, cache.EventCluster, id, message, time.Now())
	})
}
