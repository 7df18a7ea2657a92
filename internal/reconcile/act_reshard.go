package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// actOnShards does what changes the node groups of a group that serves.
func (r *Runner) actOnShards(ctx context.Context, unit string, v *View, a Action) (outcome, error) {
	switch {
	case v.Group == nil || v.Group.Resharding == nil:
		return nil, nil
	case a.Kind == actReshard:
		return r.reshard(ctx, v)
	case a.Kind == actMove:
		return r.move(ctx, unit, v, a)
	}
	return r.conclude(ctx, unit, v, a.Reason)
}

// reshard works out which slots are to go where, from those that the nodes have, and
// writes that down: from then on each node that is started keeps what it has of them.
// New node groups have got the functions of the others before.
func (r *Runner) reshard(ctx context.Context, v *View) (outcome, error) {
	x := v.Group.Resharding
	if x.Planned {
		return nil, nil
	}
	owned, err := r.ownedSlots(ctx, v)
	if err != nil {
		return nil, err
	}
	groups := slices.Clone(v.Group.NodeGroups)
	for i := range groups {
		groups[i].Slots = owned[groups[i].ID]
	}
	reason, err := r.tooMuch(ctx, v)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		return func(tx *store.Tx) error {
			return changeResharding(tx, v, func(_ *cache.ReplicationGroup, x *cache.Resharding) { x.Failed = reason })
		}, nil
	}
	if err := r.bringFunctions(ctx, v, owned); err != nil {
		return nil, err
	}
	moves := cache.PlanSlots(groups, x.Want)
	return func(tx *store.Tx) error {
		return changeResharding(tx, v, func(g *cache.ReplicationGroup, x *cache.Resharding) {
			for i := range g.NodeGroups {
				g.NodeGroups[i].Slots = owned[g.NodeGroups[i].ID]
			}
			x.Planned, x.Moves, x.Total = true, moves, 0
			for _, t := range moves {
				x.Total += t.Slots.Count()
			}
		})
	}, nil
}

func changeResharding(tx *store.Tx, v *View, change func(*cache.ReplicationGroup, *cache.Resharding)) error {
	return changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) {
		if g.Resharding != nil {
			change(g, g.Resharding)
		}
	})
}

// ownedSlots asks each primary for its slots, by node group. Together they have to be
// all there are, each once.
func (r *Runner) ownedSlots(ctx context.Context, v *View) (map[string]cache.Slots, error) {
	shards := v.shards()
	owned := make([]cache.Slots, len(shards))
	work, wctx := errgroup.WithContext(ctx)
	for i, s := range shards {
		if s.Primary == nil {
			return nil, fmt.Errorf("node group %s has no primary: %w", s.ID, cache.ErrAmbiguous)
		}
		work.Go(func() error {
			all, err := r.Engines.SlotOwners(wctx, v.asTold(s.Primary))
			if err != nil {
				return fmt.Errorf("cannot ask %s which slots it has: %w", s.Primary.ID, err)
			}
			owned[i] = all[v.busID(s.Primary.ID)]
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	out := map[string]cache.Slots{}
	var union cache.Slots
	sum := 0
	for i, s := range shards {
		out[s.ID] = owned[i]
		union, sum = union.Plus(owned[i]), sum+owned[i].Count()
	}
	if sum != cache.SlotCount || union.Count() != cache.SlotCount {
		return nil, fmt.Errorf("the primaries do not agree yet about their slots: they have %d, and %d different ones, of %d",
			sum, union.Count(), cache.SlotCount)
	}
	return out, nil
}

// roomFactor is how much free memory the node groups that stay must have for each byte
// that those that go hold. ElastiCache asks for as much.
const roomFactor = 1.5

// tooMuch says why the data of the node groups that are to go does not fit those that
// stay; "" if it does.
func (r *Runner) tooMuch(ctx context.Context, v *View) (string, error) {
	var moved, free int64
	for _, s := range v.shards() {
		h, err := r.Engines.Probe(ctx, v.asTold(s.Primary))
		if err != nil {
			return "", fmt.Errorf("cannot ask %s for its memory: %w", s.Primary.ID, err)
		}
		_, limit := limits(s.Primary)
		switch stays := slices.Contains(v.Group.Resharding.Want, s.ID); {
		case !stays:
			moved += h.UsedMemory
		case limit > 0:
			free += max(limit-h.UsedMemory, 0)
		default:
			free += max(r.Memory.Available(), 0)
		}
	}
	if need := int64(roomFactor * float64(moved)); need > free {
		return fmt.Sprintf("the node groups to remove hold %s and those that stay have %s free, which must be %s (%g times as much): nothing was moved",
			size(moved), size(free), size(need), roomFactor), nil
	}
	return "", nil
}

// bringFunctions copies the functions of one node group to those that have no slots yet.
func (r *Runner) bringFunctions(ctx context.Context, v *View, owned map[string]cache.Slots) error {
	shards := v.shards()
	i := slices.IndexFunc(shards, func(s shard) bool { return len(owned[s.ID]) > 0 })
	if i < 0 {
		return nil
	}
	for _, s := range shards {
		if len(owned[s.ID]) > 0 || !slices.Contains(v.Group.Resharding.Want, s.ID) {
			continue
		}
		if err := r.Engines.CopyFunctions(ctx, v.asTold(shards[i].Primary), v.asTold(s.Primary)); err != nil {
			return fmt.Errorf("cannot copy functions from %s to %s: %w", shards[i].Primary.ID, s.Primary.ID, err)
		}
	}
	return nil
}

// move moves the slots of one pair of node groups, and writes each part down as soon as
// it is done. An attempt that got somewhere and was broken off is none that failed:
// what is left is due again.
func (r *Runner) move(ctx context.Context, unit string, v *View, a Action) (outcome, error) {
	t, open := v.transferByTarget(a.Target)
	from, ok := v.shardByID(t.From)
	to, found := v.shardByID(t.To)
	switch {
	case !open:
		return nil, nil
	case !ok || !found || !v.movable(from) || !v.movable(to):
		return nil, errNotYet
	}
	order := cache.SlotMove{Source: v.asTold(from.Primary), Target: v.asTold(to.Primary), Slots: t.Slots}
	for _, o := range v.others(from.Primary) {
		if o.ID != to.Primary.ID {
			order.Others = append(order.Others, v.asTold(o))
		}
	}
	note := func(change func(*cache.ReplicationGroup)) error {
		return r.DB.Update(ctx, func(tx *store.Tx) error { return changeGroup(tx, v.Group.Key(), change) })
	}
	if err := note(func(g *cache.ReplicationGroup) { g.NoteBegun(t) }); err != nil {
		return nil, err
	}
	err := r.Engines.MoveSlots(ctx, order, func(p cache.SlotProgress) error {
		failpoint("moved", actMove)
		err := note(func(g *cache.ReplicationGroup) { g.NoteMoved(t.From, t.To, p) })
		failpoint("told", actMove)
		return err
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	now, failed := r.view(ctx, unit)
	if failed != nil {
		return nil, failed
	}
	left, open := now.transferByTarget(a.Target)
	switch {
	case errors.Is(err, cache.ErrPermanent):
		reason := plainly(err)
		return func(tx *store.Tx) error {
			return changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) { g.NoteClosed(t, reason) })
		}, nil
	case err != nil && open && left.Slots.Count() < t.Slots.Count():
		r.Log.Warn("moving slots was broken off and goes on", "from", from.Primary.Key(), "to", to.Primary.Key(), "left", left.Slots.Count(), "error", err)
		return nil, nil
	case err != nil && open:
		return nil, fmt.Errorf("cannot move slots from node group %s to %s: %w", t.From, t.To, err)
	case open:
		return nil, fmt.Errorf("cannot move slots from node group %s to %s: nothing was heard of %s", t.From, t.To, left.Slots)
	}
	return nil, nil
}

// forgetReshardSteps deletes what is written down of the actions of a resharding: the
// next one begins anew.
func forgetReshardSteps(tx *store.Tx, unit string) error {
	steps, err := records.Steps.List(tx, "")
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.Unit == unit && slices.Contains([]Kind{actReshard, actMove, actConclude}, Kind(s.Kind)) {
			if err := records.Steps.Delete(tx, s.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
