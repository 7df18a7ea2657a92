package cache

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// anyMap draws node groups that share all slots, or most of them, in runs.
func anyMap(t *rapid.T) []NodeGroup {
	n := rapid.IntRange(1, 12).Draw(t, "groups")
	lists := make([][]int, n)
	whole := rapid.Bool().Draw(t, "whole")
	for slot := 0; slot < SlotCount; {
		run := min(rapid.IntRange(1, 3000).Draw(t, "run"), SlotCount-slot)
		g := rapid.IntRange(0, n-1).Draw(t, "group")
		if whole || rapid.IntRange(0, 9).Draw(t, "hole") > 0 {
			for i := range run {
				lists[g] = append(lists[g], slot+i)
			}
		}
		slot += run
	}
	out := make([]NodeGroup, n)
	for i := range out {
		out[i] = NodeGroup{ID: NodeGroupName(i + 1), Slots: SlotsOf(lists[i]...)}
	}
	return out
}

func TestAPlanOfSlotsIsEvenWholeAndShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := anyMap(t)
		ids := make([]string, 14) // some of them new
		for i := range ids {
			ids[i] = NodeGroupName(i + 1)
		}
		want := rapid.Permutation(ids).Draw(t, "order")[:rapid.IntRange(1, len(ids)).Draw(t, "wanted")]

		plan := PlanSlots(now, want)
		held, before := map[string]Slots{}, Slots(nil)
		counts := map[string]int{}
		for _, g := range now {
			held[g.ID], counts[g.ID] = g.Slots, g.Slots.Count()
			before = before.Plus(g.Slots)
		}
		moved := 0
		for _, p := range plan {
			if p.Slots.Count() == 0 || p.Slots.Common(held[p.From]) != p.Slots.Count() {
				t.Fatalf("%s gives %s and has %s", p.From, p.Slots, held[p.From])
			}
			held[p.From], held[p.To] = held[p.From].Minus(p.Slots), held[p.To].Plus(p.Slots)
			moved += p.Slots.Count()
		}
		checkEven(t, held, before, want)
		if least := leastMoves(counts, want); moved != least {
			t.Fatalf("%d slots move where %d would do", moved, least)
		}
		slices.Reverse(now)
		if again := PlanSlots(now, want); !reflect.DeepEqual(plan, again) {
			t.Fatalf("another order gives another plan: %v and %v", plan, again)
		}
	})
}

func checkEven(t *rapid.T, held map[string]Slots, before Slots, want []string) {
	fewest, most, after := SlotCount, 0, Slots(nil)
	for id, s := range held {
		if after.Common(s) > 0 {
			t.Fatalf("slots of %s have two owners", id)
		}
		after = after.Plus(s)
		if !slices.Contains(want, id) && s.Count() > 0 {
			t.Fatalf("%s still has %s", id, s)
		}
	}
	for _, id := range want {
		fewest, most = min(fewest, held[id].Count()), max(most, held[id].Count())
	}
	if most-fewest > 1 {
		t.Fatalf("it is uneven: from %d to %d", fewest, most)
	}
	if after.String() != before.String() {
		t.Fatalf("the slots were %s and are %s", before, after)
	}
}

// leastMoves finds by itself how few moves there can be: each wanted one keeps what it
// has up to its share, and the larger shares are best with those who have more.
func leastMoves(counts map[string]int, want []string) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	share, odd := total/len(want), total%len(want)
	kept, above := 0, 0
	for _, id := range want {
		kept += min(counts[id], share)
		if counts[id] > share {
			above++
		}
	}
	return total - kept - min(above, odd)
}

func TestAPlanOfSlots(t *testing.T) {
	even := func(n int) (out []NodeGroup) {
		for i, s := range EvenSlots(n) {
			out = append(out, NodeGroup{ID: NodeGroupName(i + 1), Slots: s})
		}
		return out
	}
	for _, c := range []struct {
		now  []NodeGroup
		want []string
		plan string
	}{
		{even(3), []string{"0001", "0002", "0003"}, ""},
		{even(2), []string{"0001", "0002", "0003", "0004"}, "[{0001 0003 4096-8191} {0002 0004 12288-16383}]"},
		{even(2), []string{"0002"}, "[{0001 0002 0-8191}]"},
		{even(3), []string{"0001", "0003"}, "[{0002 0001 8191-10921} {0002 0003 5461-8190}]"},
		{even(2), nil, ""},
	} {
		got := ""
		if plan := PlanSlots(c.now, c.want); plan != nil {
			got = fmt.Sprint(plan)
		}
		if got != c.plan {
			t.Errorf("to %v: %s, want %s", c.want, got, c.plan)
		}
	}
}
