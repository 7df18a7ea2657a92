package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
)

// ViolationKind is a promise that was not kept. See the package comment.
type ViolationKind string

// The promises.
const (
	Lost            ViolationKind = "lost"
	NotKept         ViolationKind = "not kept"
	Strange         ViolationKind = "strange"
	Apart           ViolationKind = "apart"
	TwoPrimaries    ViolationKind = "two primaries"
	Stale           ViolationKind = "stale"
	NotLinearizable ViolationKind = "not linearizable"
	NotWhole        ViolationKind = "not whole"
)

// Violation is one finding. About is the key, or the shard, that it is of.
type Violation struct {
	Kind  ViolationKind
	About string
	Text  string
}

func (v Violation) String() string { return fmt.Sprintf("%s (%s): %s", v.Kind, v.About, v.Text) }

// checks are how each promise is judged.
var checks = []struct {
	kind ViolationKind
	find func(*indexed) []Violation
}{
	{Lost, lost},
	{NotKept, notKept},
	{Strange, strange},
	{Apart, apart},
	{TwoPrimaries, twoPrimaries},
	{Stale, stale},
	{NotLinearizable, notLinearizable},
	{NotWhole, notWhole},
}

// Check finds what a history must not have; nothing in a good one.
func Check(h *History) []Violation {
	x := index(h)
	var out []Violation
	for _, c := range checks {
		out = append(out, c.find(x)...)
	}
	return out
}

// breaks tells whether a history has a violation like another one.
func breaks(h *History, v Violation) bool {
	for _, c := range checks {
		if c.kind == v.Kind {
			return slices.ContainsFunc(c.find(index(h)), func(o Violation) bool { return o.About == v.About })
		}
	}
	return false
}

func notWhole(x *indexed) []Violation {
	if x.Stuck == "" {
		return nil
	}
	return []Violation{{NotWhole, x.Schedule.Topology.Name, x.Stuck}}
}

// indexed is a history by keys.
type indexed struct {
	*History
	keys   []string // in the order of their first appearance
	ops    map[string][]Op
	looks  map[string][]seen
	writes map[string]Op // by value
	needs  map[place]int
}

// seen is a look with its members as a set.
type seen struct {
	Look
	has map[string]bool
}

type place struct {
	episode int
	shard   string
}

func index(h *History) *indexed {
	x := &indexed{History: h, ops: map[string][]Op{}, looks: map[string][]seen{}, writes: map[string]Op{}, needs: map[place]int{}}
	note := func(key string) {
		if x.ops[key] == nil && x.looks[key] == nil {
			x.keys = append(x.keys, key)
		}
	}
	for _, o := range h.Ops {
		note(o.Key)
		x.ops[o.Key] = append(x.ops[o.Key], o)
		if o.Kind == Write {
			x.writes[o.Value] = o
		}
	}
	for _, l := range h.Looks {
		note(l.Key)
		has := make(map[string]bool, len(l.Members))
		for _, m := range l.Members {
			has[m] = true
		}
		x.looks[l.Key] = append(x.looks[l.Key], seen{l, has})
	}
	return x
}

// promised tells whether a write has to outlive its episode: it had reached more
// nodes, its primary being one, than were taken away.
func (x *indexed) promised(o Op) bool {
	if o.Kind != Write || !o.Done() {
		return false
	}
	at := place{o.Episode, o.Shard}
	need, known := x.needs[at]
	if !known {
		need = max(1, x.taken(o.Episode, o.Shard))
		x.needs[at] = need
	}
	return o.Reached >= need
}

// first adds the first violation of each key: the others are the same again.
func (x *indexed) first(kind ViolationKind, find func(key string) string) []Violation {
	var out []Violation
	for _, key := range x.keys {
		if text := find(key); text != "" {
			out = append(out, Violation{kind, key, text})
		}
	}
	return out
}

func lost(x *indexed) []Violation {
	return x.first(Lost, func(key string) string {
		for _, l := range x.looks[key] {
			if !l.Primary {
				continue
			}
			for _, o := range x.ops[key] {
				if o.Return < l.At && !l.has[o.Value] && x.promised(o) {
					return fmt.Sprintf("%q was acknowledged and on %d replicas, %d nodes were taken away, and %s has not got it at %s",
						o.Value, o.Reached, x.taken(o.Episode, o.Shard), l.Node, stamp(l.At))
				}
			}
		}
		return ""
	})
}

func notKept(x *indexed) []Violation {
	return x.first(NotKept, func(key string) string {
		var before *seen
		for i, l := range x.looks[key] {
			if !l.Primary {
				continue
			}
			if before != nil {
				for _, m := range before.Members {
					if !l.has[m] {
						return fmt.Sprintf("%q was at %s at %s when all was whole, and %s has not got it at %s", m, before.Node, stamp(before.At), l.Node, stamp(l.At))
					}
				}
			}
			before = &x.looks[key][i]
		}
		return ""
	})
}

func strange(x *indexed) []Violation {
	return x.first(Strange, func(key string) string {
		for _, l := range x.looks[key] {
			for _, m := range l.Members {
				if w, ok := x.writes[m]; !ok || w.Key != key {
					return fmt.Sprintf("%s holds %q, which nobody wrote there", l.Node, m)
				} else if w.Refused != "" {
					return fmt.Sprintf("%s holds %q, which was refused: %s", l.Node, m, w.Refused)
				}
			}
		}
		return ""
	})
}

// apart compares looks of one episode: nobody wrote between them.
func apart(x *indexed) []Violation {
	return x.first(Apart, func(key string) string {
		lead := map[int]seen{}
		for _, l := range x.looks[key] {
			if l.Primary {
				lead[l.Episode] = l
			}
		}
		for _, l := range x.looks[key] {
			p, ok := lead[l.Episode]
			if ok && !l.Primary && (l.Value != p.Value || !maps.Equal(l.has, p.has)) {
				return fmt.Sprintf("%s holds %q and %d writes, its primary %s %q and %d", l.Node, l.Value, len(l.Members), p.Node, p.Value, len(p.Members))
			}
		}
		return ""
	})
}

// span is what is known of when a term's writes happened: not all of them after
// before, not all of them ahead of after.
type span struct {
	name            string
	before, after   int64
	firstOp, lastOp Op
}

// twoPrimaries: of two terms one is over before the other takes a write. A write
// happens between its Invoke and its Return.
func twoPrimaries(x *indexed) []Violation {
	var names []string
	shards := map[string][]span{}
	for _, o := range x.Ops {
		if o.Kind != Write || !o.Done() {
			continue
		}
		of := o.Shard
		if of == "" {
			of = o.Key
		}
		if shards[of] == nil {
			names = append(names, of)
		}
		shards[of] = widen(shards[of], o)
	}
	var out []Violation
	for _, of := range names {
		if text := interleaved(shards[of]); text != "" {
			out = append(out, Violation{TwoPrimaries, of, text})
		}
	}
	return out
}

func widen(all []span, o Op) []span {
	i := slices.IndexFunc(all, func(s span) bool { return s.name == o.reign() })
	if i < 0 {
		i = len(all)
		all = append(all, span{name: o.reign(), before: math.MaxInt64, after: math.MinInt64})
	}
	s := &all[i]
	if o.Return < s.before {
		s.before, s.firstOp = o.Return, o
	}
	if o.Invoke > s.after {
		s.after, s.lastOp = o.Invoke, o
	}
	return all
}

func interleaved(all []span) string {
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.before < b.after && b.before < a.after {
				return fmt.Sprintf("two primaries at a time:\n  %s\n  is before\n  %s\n  and\n  %s\n  is before\n  %s", a.firstOp, b.lastOp, b.firstOp, a.lastOp)
			}
		}
	}
	return ""
}

// stale: whoever reads after a promised write was acknowledged reads that, or what
// may have come after it.
func stale(x *indexed) []Violation {
	return x.first(Stale, func(key string) string {
		var promised []Op
		reads := []Op{}
		for _, o := range x.ops[key] {
			if o.Kind == Read && o.Done() {
				reads = append(reads, o)
			} else if x.promised(o) {
				promised = append(promised, o)
			}
		}
		for _, l := range x.looks[key] {
			if l.Primary {
				reads = append(reads, Op{Kind: Read, Key: key, Value: l.Value, Invoke: l.At, Return: l.At, Run: l.Node})
			}
		}
		slices.SortFunc(promised, func(a, b Op) int { return cmp.Compare(a.Return, b.Return) })
		slices.SortFunc(reads, func(a, b Op) int { return cmp.Compare(a.Invoke, b.Invoke) })
		var latest *Op // of those acknowledged so far the one that began last
		for _, r := range reads {
			for len(promised) > 0 && promised[0].Return < r.Invoke {
				if latest == nil || promised[0].Invoke > latest.Invoke {
					latest = &promised[0]
				}
				promised = promised[1:]
			}
			if latest != nil && x.over(r.Value, *latest) {
				return fmt.Sprintf("this was read:\n  %s\n  after this was acknowledged:\n  %s", r, *latest)
			}
		}
		return ""
	})
}

// over tells whether a value was replaced for certain before a write began, or by it.
func (x *indexed) over(value string, by Op) bool {
	if value == "" {
		return true
	}
	w, ok := x.writes[value]
	return ok && w.Return != 0 && w.Return < by.Invoke
}
