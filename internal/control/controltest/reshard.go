package controltest

import (
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// reshard makes the slots of a group be where a resharding wants them. The members of
// node groups that go are marked, to go like any others.
func (w *World) reshard(tx *store.Tx, g *cache.ReplicationGroup) error {
	x := g.Resharding
	if x == nil {
		return nil
	}
	x.Planned, x.Moves = true, cache.PlanSlots(g.NodeGroups, x.Want)
	for _, t := range slices.Clone(x.Moves) {
		g.NoteMoved(t.From, t.To, cache.SlotProgress{Done: t.Slots})
	}
	g.Resharding = nil
	for _, n := range slices.Clone(g.NodeGroups) {
		if slices.Contains(x.Want, n.ID) {
			continue
		}
		for _, id := range n.Members {
			k, _, err := records.Clusters.Get(tx, cache.Key(g.Region, id))
			if err != nil {
				return err
			}
			k.Status, k.Deletion = cache.StatusDeleting, &cache.Deletion{RequestedAt: w.Now()}
			if err := records.Clusters.Put(tx, k.Key(), k); err != nil {
				return err
			}
		}
		g.RemoveShards([]string{n.ID})
	}
	return nil
}
