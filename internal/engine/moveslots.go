package engine

import (
	"context"
	"errors"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/slots"
	"holdfast.dev/internal/resp"
)

// MoveSlots moves slots from one shard of a running cluster to another while both
// serve, by the engines' own way where both have one. told is called each time that
// some are the target's for good, or stay where they are; an error of it ends the
// moving. It may be cut short anywhere and called again, after a failover with the new
// primaries: what an earlier call left in the nodes is found and gone on with.
//
// An error that wraps cache.ErrPermanent says that the target has no room: then all
// slots that are not done are the source's, wholly. After any other error a few of
// them may be open still, and clients find their keys at either end.
func (e *Engines) MoveSlots(ctx context.Context, m cache.SlotMove, told func(cache.SlotProgress) error) error {
	err := e.moveSlots(ctx, m, told)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, slots.ErrNoRoom):
		err = fmt.Errorf("%w: %w", cache.ErrPermanent, err)
	default:
		err = classify(err)
	}
	return fmt.Errorf("cannot move slots from %s to %s: %w", m.Source.Key, m.Target.Key, err)
}

func (e *Engines) moveSlots(ctx context.Context, m cache.SlotMove, told func(cache.SlotProgress) error) error {
	order := slots.Move{Slots: m.Slots, Atomic: true}
	var err error
	for _, end := range []struct {
		spec cache.NodeSpec
		node *slots.Node
	}{{m.Source, &order.Source}, {m.Target, &order.Target}} {
		_, d, berr := e.build(end.spec)
		if berr != nil {
			return berr
		}
		order.Atomic = order.Atomic && d.has(valkey9)
		if *end.node, err = e.slotNode(end.spec); err != nil {
			return err
		}
	}
	for _, spec := range m.Others {
		n, err := e.slotNode(spec)
		if err != nil {
			return err
		}
		order.Others = append(order.Others, n)
	}
	return slots.Run(ctx, order, told)
}

// learn makes a replica that is about to lead know who has been given slots lately.
func (e *Engines) learn(ctx context.Context, spec cache.NodeSpec) error {
	if len(spec.Cluster.Moving) == 0 {
		return nil
	}
	self, err := e.slotNode(spec)
	if err != nil {
		return err
	}
	var primaries []slots.Node
	for _, n := range spec.Cluster.Nodes {
		if n.Primary == "" && n.ID != spec.Cluster.Self {
			primaries = append(primaries, slots.Node{ID: n.ID, At: e.peer(n.Address, spec)})
		}
	}
	return slots.Learn(ctx, self, primaries, spec.Cluster.Moving)
}

func (e *Engines) slotNode(spec cache.NodeSpec) (slots.Node, error) {
	if spec.Cluster == nil {
		return slots.Node{}, fmt.Errorf("%w: %s is in no cluster", cache.ErrPermanent, spec.Key)
	}
	return slots.Node{ID: spec.Cluster.Self, At: e.peer(spec.Address, spec)}, nil
}

// SlotOwners tells which slots each primary of a cluster has, by the primaries' node
// ids, as one node sees it. A primary without slots is among them.
func (e *Engines) SlotOwners(ctx context.Context, spec cache.NodeSpec) (map[string]cache.Slots, error) {
	n, err := e.node(spec)
	if err != nil {
		return nil, err
	}
	var out map[string]cache.Slots
	err = n.link.use(ctx, spec, func(c *resp.Conn) (err error) {
		out, err = slots.Owners(ctx, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s whose the slots are: %w", spec.Key, err)
	}
	return out, nil
}
