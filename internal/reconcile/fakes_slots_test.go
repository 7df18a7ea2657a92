package reconcile

import (
	"context"
	"fmt"
	"slices"

	"holdfast.dev/internal/cache"
)

// fakeSlots are the slots of the primaries of a cluster, by node id, as the nodes have
// them: they outlive a runner, and a failover hands them on.
type fakeSlots struct {
	// of is by shard id as the engines know it.
	of map[string]cache.Slots
	// portion is how many slots go at once; 0 for all.
	portion int
	// keep are slots that cannot be moved.
	keep map[int]string
	// functions has the shards that got functions.
	functions map[string]string
}

// shardOfSpec is the shard of the node that a spec is of.
func shardOfSpec(spec cache.NodeSpec) string {
	n, _ := spec.Cluster.Find(spec.Address)
	return n.Shard
}

// learn takes over the slots of a cluster that was never moved.
func (f *fakeMachine) learn(spec cache.NodeSpec) {
	if f.slots.of == nil {
		f.slots.of = map[string]cache.Slots{}
	}
	for _, n := range spec.Cluster.Nodes {
		if _, known := f.slots.of[n.Shard]; !known && n.Primary == "" {
			f.slots.of[n.Shard] = n.Slots
		}
	}
}

func (f *fakeMachine) SlotOwners(ctx context.Context, spec cache.NodeSpec) (map[string]cache.Slots, error) {
	out := map[string]cache.Slots{}
	return out, f.tell(ctx, "owners", spec, func(*fakeProcess) {
		f.learn(spec)
		out[spec.Cluster.Self] = slices.Clone(f.slots.of[shardOfSpec(spec)])
	})
}

func (f *fakeMachine) MoveSlots(ctx context.Context, m cache.SlotMove, told func(cache.SlotProgress) error) error {
	from, to := shardOfSpec(m.Source), shardOfSpec(m.Target)
	p := cache.SlotProgress{Kept: map[int]string{}}
	for rest := slices.Collect(m.Slots.All()); len(rest) > 0; {
		n := len(rest)
		if f.slots.portion > 0 {
			n = min(n, f.slots.portion)
		}
		err := f.tell(ctx, "move", m.Target, func(*fakeProcess) {
			f.learn(m.Source)
			var leave []int
			for _, s := range rest[:n] {
				if why, kept := f.slots.keep[s]; kept {
					p.Kept[s] = why
					continue
				}
				leave = append(leave, s)
			}
			part := cache.SlotsOf(leave...)
			f.slots.of[from], f.slots.of[to] = f.slots.of[from].Minus(part), f.slots.of[to].Plus(part)
			p.Done = p.Done.Plus(part)
		})
		if err != nil {
			return err
		}
		rest = rest[n:]
		if err := f.enter(ctx, "moved"); err != nil { // a crash between the nodes and the records
			return err
		}
		if err := told(p); err != nil {
			return fmt.Errorf("told: %w", err)
		}
	}
	return nil
}

func (f *fakeMachine) CopyFunctions(ctx context.Context, from, to cache.NodeSpec) error {
	return f.tell(ctx, "functions", to, func(*fakeProcess) {
		if f.slots.functions == nil {
			f.slots.functions = map[string]string{}
		}
		f.slots.functions[to.Key] = from.Key
	})
}
