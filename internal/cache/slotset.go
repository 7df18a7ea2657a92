package cache

import "iter"

// SlotsOf are the slots of a list in any order; those named twice count once.
func SlotsOf(list ...int) Slots {
	var set slotSet
	for _, n := range list {
		set[n] = true
	}
	return set.slots()
}

// All yields the slots one by one, in order.
func (s Slots) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, r := range s {
			for n := r.First; n <= r.Last; n++ {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// Plus are the slots that are among either.
func (s Slots) Plus(o Slots) Slots {
	set := s.set()
	for n := range o.All() {
		set[n] = true
	}
	return set.slots()
}

// Minus are the slots that are not among o.
func (s Slots) Minus(o Slots) Slots {
	set := s.set()
	for n := range o.All() {
		set[n] = false
	}
	return set.slots()
}

// last are the highest n.
func (s Slots) last(n int) Slots {
	skip := s.Count() - n
	var out Slots
	for _, r := range s {
		gone := min(skip, r.Last-r.First+1)
		skip -= gone
		if r.First += gone; r.First <= r.Last {
			out = append(out, r)
		}
	}
	return out
}

// slotSet tells for each slot whether it is there.
type slotSet [SlotCount]bool

func (s Slots) set() *slotSet {
	set := &slotSet{}
	for n := range s.All() {
		set[n] = true
	}
	return set
}

func (set *slotSet) slots() Slots {
	var out Slots
	for n, in := range set {
		switch {
		case !in:
		case len(out) > 0 && out[len(out)-1].Last == n-1:
			out[len(out)-1].Last = n
		default:
			out = append(out, SlotRange{n, n})
		}
	}
	return out
}
