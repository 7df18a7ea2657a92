package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// conclude ends a resharding, with or without success: it says what was reached and has
// node groups that are not needed depart, in two steps, for their endpoints have to let
// go of them first. The group is available when their nodes are gone.
//
// Nothing is taken away that the nodes themselves do not say is empty: a slot may have come
// back with a failover. Then there is more to move.
func (r *Runner) conclude(ctx context.Context, unit string, v *View, reason string) (outcome, error) {
	owned, err := r.ownedAtTheEnd(ctx, v, reason)
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		g, ok, err := records.Groups.Get(tx, v.Group.Key())
		if err != nil || !ok || g.Resharding == nil {
			return err
		}
		x := g.Resharding
		if len(x.Going) > 0 {
			return r.depart(tx, unit, &g)
		}
		for i := range g.NodeGroups {
			if slots, known := owned[g.NodeGroups[i].ID]; known {
				g.NodeGroups[i].Slots = slots
			}
		}
		if reason == "" && leftBehind(&g) {
			x.Planned = false
			return records.Groups.Put(tx, g.Key(), g)
		}
		if err := r.unitEvent(tx, v, "%s", reached(&g, reason)); err != nil {
			return err
		}
		x.Going = superfluous(&g, reason == "")
		g.LeaveOpen()
		if len(x.Going) == 0 {
			g.Resharding = nil
			if err := forgetReshardSteps(tx, unit); err != nil {
				return err
			}
			return records.Groups.Put(tx, g.Key(), g)
		}
		if err := records.Groups.Put(tx, g.Key(), g); err != nil {
			return err
		}
		return r.dismiss(tx, &g)
	}, nil
}

// ownedAtTheEnd asks the nodes for their slots. Of what was left open they alone know how
// far it is; if they cannot be asked then it stays open.
func (r *Runner) ownedAtTheEnd(ctx context.Context, v *View, reason string) (map[string]cache.Slots, error) {
	if len(v.Group.Resharding.Going) > 0 || reason != "" && len(v.Group.Transfers()) == 0 {
		return nil, nil
	}
	owned, err := r.ownedSlots(ctx, v)
	if err != nil && reason == "" {
		return nil, fmt.Errorf("cannot end the resharding of %s: %w", v.Group.ID, err)
	}
	if err != nil {
		r.Log.Warn("which slots the nodes have is not known at the end of a resharding", "group", v.Group.Key(), "error", err)
	}
	return owned, nil
}

// leftBehind tells whether a node group that is to go has slots that could be moved.
func leftBehind(g *cache.ReplicationGroup) bool {
	kept := cache.SlotsOf(slices.Collect(maps.Keys(g.Resharding.Kept))...)
	return slices.ContainsFunc(g.NodeGroups, func(n cache.NodeGroup) bool {
		return !slices.Contains(g.Resharding.Want, n.ID) && len(n.Slots.Minus(kept)) > 0
	})
}

// superfluous are the node groups without slots that are to go: those that were to be
// removed, and, where nothing could be moved at all, new ones. What a move that was
// begun has emptied or not yet filled is there for the same request to go on.
func superfluous(g *cache.ReplicationGroup, done bool) []string {
	x := g.Resharding
	var out []string
	for _, n := range g.NodeGroups {
		gone := done && !slices.Contains(x.Want, n.ID)
		unborn := !done && !x.Planned && !slices.Contains(x.Before, n.ID)
		if len(n.Slots) == 0 && (gone || unborn) {
			out = append(out, n.ID)
		}
	}
	return out
}

// dismiss marks the nodes of the node groups that go.
func (r *Runner) dismiss(tx *store.Tx, g *cache.ReplicationGroup) error {
	for _, id := range g.Resharding.Going {
		for _, m := range g.Shard(id).Members {
			err := changeCluster(tx, cache.Key(g.Region, m), func(c *cache.CacheCluster) {
				c.Status, c.Deletion = cache.StatusDeleting, &cache.Deletion{RequestedAt: r.Now()}
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// depart takes the node groups away. Whoever is told or started from here on knows
// nothing of their nodes, which are stopped and forgotten next.
func (r *Runner) depart(tx *store.Tx, unit string, g *cache.ReplicationGroup) error {
	for _, id := range g.Resharding.Going {
		n := g.Shard(id)
		if n == nil {
			continue
		}
		if err := records.Steps.Delete(tx, Action{Kind: actPromote, Target: g.Key() + " " + id}.ID()); err != nil {
			return err
		}
		for _, m := range n.Members {
			err := changeCluster(tx, cache.Key(g.Region, m), func(c *cache.CacheCluster) {
				c.Departed, c.Node.Ready, c.Node.Recovering = true, false, false
			})
			if err != nil {
				return err
			}
		}
	}
	g.RemoveShards(g.Resharding.Going)
	g.Resharding = nil
	if err := forgetReshardSteps(tx, unit); err != nil {
		return err
	}
	return records.Groups.Put(tx, g.Key(), *g)
}

// reached says what a resharding came to.
func reached(g *cache.ReplicationGroup, reason string) string {
	x := g.Resharding
	what := fmt.Sprintf("Resharding of replication group %s from %d to %d node groups", g.ID, len(x.Before), len(x.Want))
	if slices.Equal(x.Before, x.Want) {
		what = fmt.Sprintf("Rebalancing of the slots of replication group %s", g.ID)
	}
	if reason != "" {
		return fmt.Sprintf("%s ended before its time: %s. All slots are served; the same request goes on", what, reason)
	}
	said := what + " completed"
	if len(x.Kept) > 0 {
		said += fmt.Sprintf(", but for %d slots that stay where they are: %s", len(x.Kept), keptReasons(x.Kept))
	}
	return said
}

// keptReasons names the first few.
func keptReasons(kept map[int]string) string {
	const most = 3
	var out []string
	for n := range cache.AllSlots().All() {
		if why, ok := kept[n]; ok && len(out) < most {
			out = append(out, fmt.Sprintf("slot %d (%s)", n, why))
		}
	}
	if len(kept) > most {
		out = append(out, "and others")
	}
	return strings.Join(out, ", ")
}
