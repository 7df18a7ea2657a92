package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast.dev/internal/cache"
)

// remembered is a cluster as a node is to find it at its start while slots are on the
// move: they are whose the node's own file of the last run says, by their shards'
// primaries of today, so that it neither claims what it gave away nor gives away what it got.
// If it is behind the others, their newer epochs teach it better. The marks of slots
// that it was exporting or importing itself are returned too, as the file has them.
func remembered(c *cache.ClusterSpec, old string) (nodes []cache.ClusterNode, marks []string) {
	nodes = slices.Clone(c.Nodes)
	if len(c.Moving) == 0 {
		return nodes, nil
	}
	held, marked := readSlots(old)
	for id, theirs := range held {
		i := heir(nodes, id)
		if i < 0 {
			continue
		}
		theirs = theirs.Minus(theirs.Minus(c.Moving))
		for j := range nodes {
			nodes[j].Slots = nodes[j].Slots.Minus(theirs)
		}
		nodes[i].Slots = nodes[i].Slots.Plus(theirs)
	}
	for _, m := range marked {
		if i := heir(nodes, m.other); i >= 0 && c.Moving.Common(cache.SlotsOf(m.slot)) == 1 {
			marks = append(marks, fmt.Sprintf("[%d%s%s]", m.slot, m.arrow, nodes[i].ID))
		}
	}
	return nodes, marks
}

// heir is the place of the primary that leads the shard of a node today; -1 for a node
// that is none of the cluster's any more.
func heir(nodes []cache.ClusterNode, id string) int {
	find := func(id string) int {
		return slices.IndexFunc(nodes, func(n cache.ClusterNode) bool { return n.ID == id })
	}
	i := find(id)
	if i >= 0 && nodes[i].Primary != "" {
		return find(nodes[i].Primary)
	}
	return i
}

// mark is what a node writes down of a slot that it exports (->-) or imports (-<-).
type mark struct {
	slot         int
	arrow, other string
}

// readSlots takes the primaries' slots, by node id, and the node's own marks out of a
// file of nodes. What cannot be read is as if it had never been there.
func readSlots(text string) (held map[string]cache.Slots, marks []mark) {
	held = map[string]cache.Slots{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 9 || !strings.Contains(f[2], "master") {
			continue
		}
		for _, part := range f[8:] {
			if m, ok := readMark(part); ok {
				marks = append(marks, m)
			} else if s, err := cache.ParseSlots(part); err == nil {
				held[f[0]] = held[f[0]].Plus(s)
			}
		}
	}
	return held, marks
}

func readMark(part string) (mark, bool) {
	text, ok := strings.CutPrefix(strings.TrimSuffix(part, "]"), "[")
	if !ok {
		return mark{}, false
	}
	for _, arrow := range []string{"->-", "-<-"} {
		if slot, other, ok := strings.Cut(text, arrow); ok {
			n, err := strconv.Atoi(slot)
			return mark{slot: n, arrow: arrow, other: other}, err == nil
		}
	}
	return mark{}, false
}
