package verify

import (
	"context"
	"fmt"
	"iter"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// memory is a source of entries held in memory; it hands out one reused entry,
// as real sources do.
type memory struct {
	entries []flow.Entry
	err     error
}

func (m *memory) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		var shared flow.Entry
		var buf []byte
		for _, e := range m.entries {
			if ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			buf = append(append(buf[:0], e.Key...), e.Value...)
			shared = e
			shared.Key, shared.Value = buf[:len(e.Key):len(e.Key)], buf[len(e.Key):]
			if !yield(&shared, nil) {
				return
			}
		}
		if m.err != nil {
			yield(nil, m.err)
		}
	}
}

func (m *memory) Close() error { return nil }

func picker(t *rapid.T) func(int) int {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
}

func encodeAll(items []item, pick func(int) int) []flow.Entry {
	out := make([]flow.Entry, 0, len(items))
	for _, it := range shuffled(items, pick) {
		out = append(out, encode(&it, pick))
	}
	return out
}

func compute(t interface{ Fatal(...any) }, entries []flow.Entry) *Fingerprint {
	f, err := Compute(context.Background(), &memory{entries: entries}, Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSameContentSameFingerprint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := genItems(t)
		a := compute(t, encodeAll(items, picker(t)))
		b := compute(t, encodeAll(items, picker(t)))
		if a.String() != b.String() || a.Totals() != b.Totals() {
			t.Fatalf("%s %v\n%s %v", a, a.Totals(), b, b.Totals())
		}
		if int(a.Totals().Keys) != len(items) {
			t.Fatalf("%d keys of %d", a.Totals().Keys, len(items))
		}
	})
}

func TestAnyChangeChangesFingerprint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := genItems(t)
		before := compute(t, encodeAll(items, picker(t)))
		what, data := change(t, items)
		if what == "" {
			t.Skip("nothing to change")
		}
		after := compute(t, encodeAll(items, picker(t)))
		if before.String() == after.String() {
			t.Fatalf("%s: same fingerprint", what)
		}
		if same := SameData(before.String(), after.String()); same == data {
			t.Fatalf("%s: same data: %v", what, same)
		}
	})
}

// change changes one thing in one of the items, and says what, and whether it is
// part of the data; only the time at which a key expires is not.
func change(t *rapid.T, items []item) (what string, data bool) {
	it := &items[rapid.IntRange(0, len(items)-1).Draw(t, "which")]
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0:
		it.key += "!changed"
		return "key", true
	case 1:
		it.db += 7
		return "database", true
	case 2:
		if it.expire == 0 {
			it.expire = 5
			return "has expiry now", true
		}
		it.expire++
		return "expiry", false
	}
	return changeValue(t, &it.val), true
}

func changeValue(t *rapid.T, v *rdb.Value) string {
	at := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "at") }
	coin := rapid.Bool().Draw(t, "coin")
	switch v.Class {
	case rdb.ClassString:
		v.Text = append(append([]byte(nil), v.Text...), 'x')
		return "text"
	case rdb.ClassList:
		return changeList(v, coin, at)
	case rdb.ClassSet:
		if i := at(len(v.Items)); coin || len(v.Items) == 1 {
			v.Items[i] = fmt.Appendf(nil, "%s!", v.Items[i])
			return "member"
		}
		v.Items = v.Items[1:]
		return "fewer members"
	case rdb.ClassZSet:
		m := &v.Members[at(len(v.Members))]
		if next := math.Nextafter(m.Score, math.Inf(1)); coin && next != m.Score {
			m.Score = next
			return "score"
		}
		m.Name = fmt.Appendf(nil, "%s!", m.Name)
		return "scored member"
	case rdb.ClassHash:
		f := &v.Fields[at(len(v.Fields))]
		switch at(3) {
		case 0:
			f.Name = fmt.Appendf(nil, "%s!", f.Name)
			return "field name"
		case 1:
			f.Value = fmt.Appendf(nil, "%s!", f.Value)
			return "field value"
		}
		f.ExpireAt++
		return "field expiry"
	}
	return changeStream(v.Stream, at)
}

func changeList(v *rdb.Value, coin bool, at func(int) int) string {
	for i := 1; coin && i < len(v.Items); i++ {
		if string(v.Items[i]) != string(v.Items[i-1]) {
			v.Items[i], v.Items[i-1] = v.Items[i-1], v.Items[i]
			return "order of items"
		}
	}
	i := at(len(v.Items))
	v.Items[i] = fmt.Appendf(nil, "%s!", v.Items[i])
	return "item"
}

func changeStream(s *rdb.Stream, at func(int) int) string {
	if len(s.Groups) > 0 {
		g := &s.Groups[at(len(s.Groups))]
		switch at(6) {
		case 0:
			g.Name = fmt.Appendf(nil, "%s!", g.Name)
			return "group's name"
		case 1:
			g.Last.Seq++
			return "group's last id"
		case 2:
			g.Consumers[1].Name = []byte("c3")
			return "consumer's name"
		case 3:
			if len(g.Pending) > 0 {
				g.Pending[0].Deliveries++
				return "deliveries"
			}
		case 4:
			if len(g.Pending) > 0 {
				g.Pending[0].Delivered++
				return "delivery time"
			}
		case 5:
			if len(g.Pending) > 0 {
				g.Consumers[0].Pending, g.Consumers[1].Pending = g.Consumers[1].Pending, g.Consumers[0].Pending
				return "who has the pending entries"
			}
		}
	}
	if len(s.Entries) > 0 {
		e := &s.Entries[at(len(s.Entries))]
		if at(2) == 0 {
			i := at(len(e.Pairs))
			e.Pairs[i] = fmt.Appendf(nil, "%s!", e.Pairs[i])
			return "stream field or value"
		}
		e.ID.Seq++
		return "entry's id"
	}
	s.Meta.Last.Seq++
	return "last id"
}

func TestMergeIsTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := genItems(t)
		entries := encodeAll(items, picker(t))
		cut := rapid.IntRange(0, len(entries)).Draw(t, "cut")
		a, b := compute(t, entries[:cut]), compute(t, entries[cut:])
		if err := a.Merge(b); err != nil {
			t.Fatal(err)
		}
		if whole := compute(t, entries); a.String() != whole.String() || a.Totals() != whole.Totals() {
			t.Fatalf("%s, whole %s", a, whole)
		}
	})
}

// TestCompareNamesExactlyTheChangedKey: whatever one thing is changed, the keys
// concerned are named and no other.
func TestCompareNamesExactlyTheChangedKey(t *testing.T) {
	open := func(entries []flow.Entry) End {
		return End{Open: func(context.Context) (flow.Source, error) { return &memory{entries: entries}, nil }}
	}
	rapid.Check(t, func(t *rapid.T) {
		items := genItems(t)
		a := encodeAll(items, picker(t))
		old := map[string]item{}
		for _, it := range items {
			old[fmt.Sprintf("%d/%s", it.db, it.key)] = it
		}
		what, _ := change(t, items)
		b := encodeAll(items, picker(t))
		epoch := func() time.Time { return time.UnixMilli(0) } // nothing has expired
		r, err := Compare(context.Background(), open(a), open(b), CompareOptions{Now: epoch, MaxHeld: 2})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{}
		for _, it := range items {
			if id := fmt.Sprintf("%d/%s", it.db, it.key); old[id].key != it.key || old[id].db != it.db {
				want[id] = true // moved here
			}
			delete(old, fmt.Sprintf("%d/%s", it.db, it.key))
		}
		for id := range old {
			want[id] = true // moved away
		}
		if what != "key" && what != "database" && len(r.Differences) != 1 || len(want) > 0 && len(r.Differences) != len(want) {
			t.Fatalf("%s: %v", what, lines(r))
		}
		for _, d := range r.Differences {
			if id := fmt.Sprintf("%d/%s", d.DB, d.Key); len(want) > 0 && !want[id] {
				t.Fatalf("%s: %v", what, lines(r))
			}
		}
		if r.Equal || r.UnreadSlots > 0 || r.Unchecked > 0 {
			t.Fatalf("%s: %+v", what, r)
		}
	})
}
