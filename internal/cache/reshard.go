package cache

import (
	"maps"
	"slices"
)

// Resharding is a change of the node groups of a group in cluster mode, under way
// while it serves.
type Resharding struct {
	// Want are the ids of the node groups that are to hold all slots in the end, Before
	// those that there were.
	Want, Before []string
	// Planned says that Moves were worked out, from the slots as they were then, which
	// were Total to be moved. Moves are what of them is still to be done: a slot that
	// stands here may be on its way.
	Planned bool           `json:",omitempty"`
	Moves   []SlotTransfer `json:",omitempty"`
	Total   int            `json:",omitempty"`
	// Begun names those of Moves that the nodes may know of.
	Begun []string `json:",omitempty"`
	// Kept are slots that could not be moved, each with the reason.
	Kept map[int]string `json:",omitempty"`
	// Failed says why nothing more is to be moved; "" while all is well.
	Failed string `json:",omitempty"`
	// Going are the ids of the node groups that have no slots any more and are about to
	// be taken away. Nothing is moved any more.
	Going []string `json:",omitempty"`
}

// Percent is how much of the slots that were to be moved has been.
func (x *Resharding) Percent() float64 {
	switch left := countSlots(x.Moves); {
	case !x.Planned:
		return 0
	case x.Total == 0:
		return 100
	default:
		return 100 * float64(x.Total-left) / float64(x.Total)
	}
}

func countSlots(moves []SlotTransfer) int {
	n := 0
	for _, t := range moves {
		n += t.Slots.Count()
	}
	return n
}

// Transfers are the moves that are under way, or were left open by a resharding that
// could not end: those come first.
func (g *ReplicationGroup) Transfers() []SlotTransfer {
	if x := g.Resharding; x != nil && x.Planned {
		return x.Moves
	}
	return g.Unfinished
}

func (t *SlotTransfer) pair() string { return t.From + " " + t.To }

// NoteBegun writes down that the nodes are about to be told of a move.
func (g *ReplicationGroup) NoteBegun(t SlotTransfer) {
	if x := g.Resharding; x != nil && x.Planned && !slices.Contains(x.Begun, t.pair()) {
		x.Begun = append(x.Begun, t.pair())
	}
}

// NoteClosed writes down that no more is moved from one node group to another: what was
// not moved is where it was. The reason ends the resharding, unless there is nothing to
// end: a move that an earlier one had left open.
func (g *ReplicationGroup) NoteClosed(t SlotTransfer, reason string) {
	is := func(o SlotTransfer) bool { return o.pair() == t.pair() }
	switch x := g.Resharding; {
	case x == nil:
	case x.Planned:
		x.Moves, x.Failed = slices.DeleteFunc(x.Moves, is), reason
	default:
		g.Unfinished = slices.DeleteFunc(g.Unfinished, is)
	}
}

// LeaveOpen ends the moves of a resharding. Those that were begun stay open.
func (g *ReplicationGroup) LeaveOpen() {
	x := g.Resharding
	if x == nil || !x.Planned {
		return
	}
	g.Unfinished = slices.DeleteFunc(x.Moves, func(t SlotTransfer) bool { return !slices.Contains(x.Begun, t.pair()) })
	x.Moves = nil
}

// MovingSlots are those of which the nodes alone know who has them.
func (g *ReplicationGroup) MovingSlots() Slots {
	var out Slots
	for _, t := range g.Transfers() {
		out = out.Plus(t.Slots)
	}
	return out
}

// NoteMoved writes down what has come of moving slots from one node group to another.
// Told again it changes nothing more.
func (g *ReplicationGroup) NoteMoved(from, to string, p SlotProgress) {
	x := g.Resharding
	if x == nil {
		return
	}
	moves := &g.Unfinished
	if x.Planned {
		moves = &x.Moves
	}
	i := slices.IndexFunc(*moves, func(t SlotTransfer) bool { return t.From == from && t.To == to })
	source, target := g.Shard(from), g.Shard(to)
	if i < 0 || source == nil || target == nil {
		return
	}
	open := (*moves)[i].Slots
	done := open.Minus(open.Minus(p.Done))
	kept := open.Minus(open.Minus(SlotsOf(slices.Collect(maps.Keys(p.Kept))...)))
	source.Slots, target.Slots = source.Slots.Minus(done), target.Slots.Plus(done)
	for n := range kept.All() {
		if x.Kept == nil {
			x.Kept = map[int]string{}
		}
		x.Kept[n] = p.Kept[n]
	}
	if (*moves)[i].Slots = open.Minus(done).Minus(kept); len((*moves)[i].Slots) == 0 {
		*moves = slices.Delete(*moves, i, i+1)
	}
}

// RemoveShards takes node groups away. Their members stay members of the group.
func (g *ReplicationGroup) RemoveShards(ids []string) {
	g.NodeGroups = slices.DeleteFunc(g.NodeGroups, func(n NodeGroup) bool { return slices.Contains(ids, n.ID) })
}
