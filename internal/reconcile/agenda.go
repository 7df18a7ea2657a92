package reconcile

import (
	"container/heap"
	"time"
)

// agenda knows when units want to be looked at again though nothing changes.
type agenda struct {
	at    map[string]time.Time
	queue entries // what at does not confirm is out of date
}

func newAgenda() *agenda { return &agenda{at: map[string]time.Time{}} }

// set enters a unit's time in place of the one before; the zero time is none.
func (g *agenda) set(unit string, at time.Time) {
	before, known := g.at[unit]
	switch {
	case at.IsZero():
		delete(g.at, unit)
	case !known || !before.Equal(at):
		g.at[unit] = at
		heap.Push(&g.queue, entry{unit, at})
	}
}

// due takes the units out whose time has come.
func (g *agenda) due(now time.Time) []string {
	var out []string
	for {
		at, ok := g.next()
		if !ok || at.After(now) {
			return out
		}
		e := heap.Pop(&g.queue).(entry)
		delete(g.at, e.unit)
		out = append(out, e.unit)
	}
}

// next is the time that comes first; false if there is none.
func (g *agenda) next() (time.Time, bool) {
	for len(g.queue) > 0 {
		e := g.queue[0]
		if at, ok := g.at[e.unit]; ok && at.Equal(e.at) {
			return e.at, true
		}
		heap.Pop(&g.queue)
	}
	return time.Time{}, false
}

type entry struct {
	unit string
	at   time.Time
}

type entries []entry

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e entries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push and Pop belong to container/heap.
func (e *entries) Push(x any) { *e = append(*e, x.(entry)) }

func (e *entries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}
