package reconcile

import (
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
)

// look is what one pass goes by besides the records.
type look struct {
	now time.Time
	// running are the actions under way, and ended the units of which one has come to
	// its end since the look before.
	running map[string]map[string]bool
	ended   map[string]bool
	// forwards are the forwarders that stand.
	forwards map[cache.Address][]cache.Address
	// fronts are those of Memcached clusters that stand, by cluster.
	fronts map[string]*cache.MemcachedFronts
	rebind func(build string) bool
	newest func(*cache.Settings) cache.Successor // nil for none
}

// outlook is what is known from one look to the next. What Plan says of a unit depends
// on its records, on what runs for it, and on the clock, of which it says itself when it
// matters; so a unit is planned again when one of them has changed, and no other is.
// Once in a while all are, in case the clock was set.
type outlook struct {
	*world
	agenda *agenda
	idle   time.Duration // how often everything is looked at
	last   time.Time     // the look before this one
	full   time.Time     // the last one at everything
	moving bool          // data were being moved for somebody then
}

func newOutlook(idle time.Duration) *outlook {
	return &outlook{world: newWorld(), agenda: newAgenda(), idle: idle}
}

// units are those to be planned now, in an order that is always the same.
func (o *outlook) units(l *look) []string {
	if o.full.IsZero() || l.now.Before(o.last) || !l.now.Before(o.full.Add(o.idle)) {
		o.touchAll()
		o.full = l.now
	}
	o.last = l.now
	if m := isMoving(l.running); m != o.moving {
		o.moving = m
		o.touch(scrubUnit)
	}
	for unit := range l.ended {
		o.touch(unit)
	}
	for _, unit := range o.agenda.due(l.now) {
		o.touch(unit)
	}
	out := slices.Sorted(maps.Keys(o.touched))
	clear(o.touched)
	return out
}

// plan is what is due for a unit; nothing if it is gone.
func (o *outlook) plan(unit string, l *look) Decision {
	d := o.decide(unit, l)
	o.agenda.set(unit, d.Again)
	return d
}

// rest is how long nothing has to be looked at unless something changes.
func (o *outlook) rest(now time.Time) time.Duration {
	next := o.full.Add(o.idle)
	if at, ok := o.agenda.next(); ok && at.Before(next) {
		next = at
	}
	return min(max(next.Sub(now), time.Millisecond), o.idle)
}

func (w *world) decide(unit string, l *look) Decision {
	kind, key, _ := strings.Cut(unit, " ")
	v := View{Steps: w.steps[unit], InFlight: l.running[unit], Forwards: l.forwards}
	switch kind {
	case "group":
		if v.Group = w.group(key); v.Group == nil {
			return Decision{}
		}
		v.Members = w.members(v.Group)
	case "cluster":
		c, ok := w.clusters[key]
		if !ok || c.GroupID != "" {
			return Decision{}
		}
		if c.Memcached != nil {
			return PlanMemcached(MemcachedView{Cluster: c, Steps: v.Steps, InFlight: v.InFlight, Fronts: l.fronts[key]}, l.now)
		}
		v.Members = []cache.CacheCluster{c}
	case "snapshot":
		s := w.snapshot(key)
		if s == nil {
			return Decision{}
		}
		d := PlanSnapshot(*s, v.Steps, v.InFlight, l.now)
		return d.and(PlanExpiry(*s, w.keeping(s), v.Steps, v.InFlight, l.now))
	default:
		return PlanScrub(w.snapshots, v.Steps, v.InFlight, isMoving(l.running), l.now)
	}
	v.Snapshots = w.snapshotsOf(unit, v.Members)
	v.CanRebind = make(map[string]bool, 1)
	for _, b := range v.allBuilds() {
		v.CanRebind[b] = l.rebind(b)
	}
	if l.newest != nil && len(v.Members) > 0 {
		v.Newest = l.newest(v.settings())
	}
	return Plan(v, l.now)
}
