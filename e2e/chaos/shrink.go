package chaos

import "slices"

// minimal takes items out, in ever smaller parts, as long as what is left fails;
// of the rest none can be taken out alone. It is asked with its own result last of
// all that failed.
func minimal[T any](items []T, fails func([]T) bool) []T {
	for size := (len(items) + 1) / 2; size > 0; {
		taken := false
		for from := 0; from < len(items); {
			to := min(from+size, len(items))
			rest := slices.Concat(items[:from], items[to:])
			if fails(rest) {
				items, taken = rest, true
			} else {
				from = to
			}
		}
		switch {
		case size > 1:
			size = (size + 1) / 2
		case !taken:
			return items
		}
	}
	return items
}

// Shrink is the smallest part of a history that still has a violation of the same
// kind about the same key or shard.
func Shrink(h *History, v Violation) *History {
	has := func(part *History) bool { return breaks(part, v) }
	best := ofOneKey(h, v)
	if !has(best) {
		best = h
	}
	// A write goes with all reads of its value, else reads of values that nobody
	// wrote would be left over.
	values := distinct(best.Ops)
	values = minimal(values, func(keep []string) bool {
		return has(best.filter(oneOf(keep, func(o Op) string { return o.Value })))
	})
	best = best.filter(oneOf(values, func(o Op) string { return o.Value }))
	reads := minimal(ids(best.Ops, Read), func(keep []int) bool {
		in := oneOf(keep, func(o Op) int { return o.ID })
		return has(best.filter(func(o Op) bool { return o.Kind == Write || in(o) }))
	})
	in := oneOf(reads, func(o Op) int { return o.ID })
	best = best.filter(func(o Op) bool { return o.Kind == Write || in(o) })
	looks := minimal(best.Looks, func(keep []Look) bool {
		part := *best
		part.Looks = keep
		return has(&part)
	})
	part := *best
	part.Looks = looks
	// What may be lost depends on the faults of the same episode alone.
	part.Faults = slices.DeleteFunc(slices.Clone(h.Faults), func(a Applied) bool {
		return !slices.ContainsFunc(part.Ops, func(o Op) bool { return o.Episode == a.Episode }) &&
			!slices.ContainsFunc(looks, func(l Look) bool { return l.Episode == a.Episode })
	})
	return &part
}

// ofOneKey leaves out what cannot matter. Faults stay: they say what may be lost.
func ofOneKey(h *History, v Violation) *History {
	part := h.filter(func(o Op) bool { return o.Key == v.About || o.Shard == v.About })
	part.Looks = slices.DeleteFunc(slices.Clone(h.Looks), func(l Look) bool { return l.Key != v.About })
	return part
}

func (h *History) filter(keep func(Op) bool) *History {
	part := *h
	part.Ops = slices.DeleteFunc(slices.Clone(h.Ops), func(o Op) bool { return !keep(o) })
	return &part
}

// oneOf tells of which operations something is among those to be kept.
func oneOf[T comparable](keep []T, of func(Op) T) func(Op) bool {
	set := make(map[T]bool, len(keep))
	for _, k := range keep {
		set[k] = true
	}
	return func(o Op) bool { return set[of(o)] }
}

func distinct(ops []Op) []string {
	seen := map[string]bool{}
	var out []string
	for _, o := range ops {
		if !seen[o.Value] {
			seen[o.Value] = true
			out = append(out, o.Value)
		}
	}
	return out
}

func ids(ops []Op, kind OpKind) []int {
	var out []int
	for _, o := range ops {
		if o.Kind == kind {
			out = append(out, o.ID)
		}
	}
	return out
}

// ShrinkFaults is the schedule with the fewest faults that still fails; fails plays it.
func ShrinkFaults(s Schedule, fails func(Schedule) bool) Schedule {
	var all []int
	for _, f := range s.Faults {
		all = append(all, f.ID)
	}
	return s.Only(minimal(all, func(keep []int) bool { return fails(s.Only(keep...)) })...)
}
