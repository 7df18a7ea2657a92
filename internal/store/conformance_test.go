package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestModel runs random sequences of operations on the store and on a map, and
// compares them after every step.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &machine{path: filepath.Join(dir, fmt.Sprint(runs)), model: map[string]record{}}
		m.open(rt)
		defer func() { m.must(rt, m.db.Close()) }()
		rt.Repeat(map[string]func(*rapid.T){
			"update": m.update,
			"failed": m.failed,
			"reopen": func(rt *rapid.T) { m.must(rt, m.db.Close()); m.open(rt) },
			"":       m.compare,
		})
	})
}

type record struct {
	value thing
	rev   uint64
}

type machine struct {
	path  string
	db    *DB
	model map[string]record
	rev   uint64
	// copied is what a reader has that reads nothing twice.
	copied map[string]thing
	track  *Tracker
}

func (m *machine) must(rt *rapid.T, err error) {
	rt.Helper()
	if err != nil {
		rt.Fatal(err)
	}
}

func (m *machine) open(rt *rapid.T) {
	db, err := Open(context.Background(), m.path)
	m.must(rt, err)
	m.db, m.track = db, db.Track(things.Prefix("a"))
}

var keys = []string{"a", "a/1", "a/2", "ab", "b/1", "b/2/x", "c", "\xff"}

// apply does random changes on the store and on next alike, and reads its own writes.
func (m *machine) apply(rt *rapid.T, tx *Tx, next map[string]record) bool {
	changed := false
	for range rapid.IntRange(0, 5).Draw(rt, "n") {
		key := rapid.SampledFrom(keys).Draw(rt, "key")
		switch rapid.SampledFrom([]string{"put", "delete", "get"}).Draw(rt, "op") {
		case "put":
			v := draw(rt)
			m.must(rt, things.Put(tx, key, v))
			next[key] = record{v, m.rev + 1}
			changed = true
		case "delete":
			m.must(rt, things.Delete(tx, key))
			_, had := next[key]
			changed = changed || had
			delete(next, key)
		case "get":
			m.check(rt, tx, next)
		}
	}
	m.check(rt, tx, next)
	return changed
}

func draw(rt *rapid.T) thing {
	v := thing{Name: rapid.StringN(0, 5, -1).Draw(rt, "name"), N: rapid.Int().Draw(rt, "n")}
	if rapid.Bool().Draw(rt, "full") {
		v.Sub = &sub{Bytes: rapid.Int64().Draw(rt, "bytes"), Of: []string{"x", "y"}}
		v.Nested = map[string][]string{"k": {strings.Repeat("v", rapid.IntRange(0, 9000).Draw(rt, "len"))}}
	}
	return v
}

func (m *machine) update(rt *rapid.T) {
	next, changed := maps.Clone(m.model), false
	m.must(rt, m.db.Update(context.Background(), func(tx *Tx) error {
		changed = m.apply(rt, tx, next)
		return nil
	}))
	m.model = next
	if changed {
		m.rev++
	}
}

func (m *machine) failed(rt *rapid.T) {
	err := m.db.Update(context.Background(), func(tx *Tx) error {
		m.apply(rt, tx, maps.Clone(m.model))
		return errTest
	})
	if !errors.Is(err, errTest) {
		rt.Fatalf("Update returned %v", err)
	}
}

// follow brings copied up to date and compares it with the model.
func (m *machine) follow(rt *rapid.T, tx *Tx) {
	m.must(rt, catchUp(tx, m.track, &m.copied, "a"))
	want := map[string]thing{}
	for key, r := range m.model {
		if strings.HasPrefix(key, "a") {
			want[key] = r.value
		}
	}
	if diff := cmp.Diff(want, m.copied); diff != "" {
		rt.Fatalf("the tracker left something out:\n%s", diff)
	}
}

func (m *machine) compare(rt *rapid.T) {
	m.must(rt, m.db.View(context.Background(), func(tx *Tx) error {
		if rapid.Bool().Draw(rt, "follow") {
			m.follow(rt, tx)
		}
		return nil
	}))
	for range 2 { // the second time from the cache
		m.must(rt, m.db.View(context.Background(), func(tx *Tx) error {
			m.check(rt, tx, m.model)
			if tx.Revision() != m.rev {
				rt.Fatalf("revision %d, want %d", tx.Revision(), m.rev)
			}
			return nil
		}))
	}
}

// check compares everything that can be read with the model.
func (m *machine) check(rt *rapid.T, tx *Tx, model map[string]record) {
	for _, key := range keys {
		item, ok, err := things.Item(tx, key)
		m.must(rt, err)
		want, wantOK := model[key]
		if ok != wantOK || item.Revision != want.rev || !cmp.Equal(item.Value, want.value) {
			rt.Fatalf("%q: got %v %v, want %v %v", key, item, ok, want, wantOK)
		}
	}
	for _, prefix := range []string{"", "a", "a/", "b/", "zz"} {
		after := rapid.SampledFrom(append([]string{""}, keys...)).Draw(rt, "after")
		var want []string
		for _, k := range slices.Sorted(maps.Keys(model)) {
			if strings.HasPrefix(k, prefix) && k > after {
				want = append(want, k)
			}
		}
		var got []string
		for item, err := range things.Scan(tx, prefix, after) {
			m.must(rt, err)
			got = append(got, item.Key)
			if !cmp.Equal(item.Value, model[item.Key].value) {
				rt.Fatalf("scan gave %v for %q", item.Value, item.Key)
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("scan of %q after %q: got %q, want %q", prefix, after, got, want)
		}
		n, err := things.Count(tx, prefix)
		m.must(rt, err)
		list, err := things.List(tx, prefix)
		m.must(rt, err)
		peeked := 0
		for v, err := range things.Peek(tx, prefix) {
			m.must(rt, err)
			if !cmp.Equal(*v, list[peeked]) {
				rt.Fatalf("Peek gave %v, List %v", *v, list[peeked])
			}
			peeked++
		}
		if len(list) != n || peeked != n || (after == "" && n != len(want)) {
			rt.Fatalf("count %d, list %d, want %d", n, len(list), len(want))
		}
	}
}
