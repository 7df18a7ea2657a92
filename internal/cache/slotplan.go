package cache

import (
	"cmp"
	"slices"
)

// SlotTransfer is a part of a plan: slots that one node group gives to another.
type SlotTransfer struct {
	// From and To are ids of node groups.
	From, To string
	Slots    Slots
}

// PlanSlots is the way with the fewest moves from the present map to one that is even
// over the node groups of want: counts differ by one at most, and node groups that
// are not in want end up without slots. A node group of want that is not among now
// is new and has none. Slots that nobody has are nobody's afterwards. There is one
// transfer at most for each pair, in the order of the ids; the same question always
// gets the same answer.
func PlanSlots(now []NodeGroup, want []string) []SlotTransfer {
	held := map[string]Slots{}
	total := 0
	for _, g := range now {
		held[g.ID] = held[g.ID].Plus(g.Slots)
		total += g.Slots.Count()
	}
	share := evenShares(held, total, want)
	if len(share) == 0 {
		return nil
	}
	// Those who have too many give the highest of theirs, so that what is left hangs
	// together, and those who lack some take them in turn.
	var out []SlotTransfer
	var givers, takers []string
	for id, s := range held {
		if s.Count() > share[id] {
			givers = append(givers, id)
		}
	}
	for id, n := range share {
		if n > held[id].Count() {
			takers = append(takers, id)
		}
	}
	slices.Sort(givers)
	slices.Sort(takers)
	for _, to := range takers {
		for lack := share[to] - held[to].Count(); lack > 0; {
			from := givers[0]
			n := min(lack, held[from].Count()-share[from])
			given := held[from].last(n)
			out = append(out, SlotTransfer{From: from, To: to, Slots: given})
			held[from] = held[from].Minus(given)
			lack -= n
			if held[from].Count() == share[from] {
				givers = givers[1:]
			}
		}
	}
	slices.SortFunc(out, func(a, b SlotTransfer) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}

// evenShares is how many slots each node group of want is to have. The odd ones stay
// with those who have the most, which spares moving them.
func evenShares(held map[string]Slots, total int, want []string) map[string]int {
	ids := slices.Compact(slices.Sorted(slices.Values(want)))
	slices.SortStableFunc(ids, func(a, b string) int {
		return cmp.Compare(held[b].Count(), held[a].Count())
	})
	share := make(map[string]int, len(ids))
	for i, id := range ids {
		share[id] = total / len(ids)
		if i < total%len(ids) {
			share[id]++
		}
	}
	return share
}
