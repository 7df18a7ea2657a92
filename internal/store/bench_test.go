package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// bigThing is about what a replication group is: 1 KB of JSON.
func bigThing(i int) thing {
	v := thing{
		Name: fmt.Sprintf("orders-%d", i), N: i, At: time.Unix(1.7e9, 0).UTC(), Sub: &sub{1 << 30, []string{"a", "b"}},
		Counts: map[string]int64{"string": 1, "hash": 2}, Nested: map[string][]string{"zones": {"us-east-1a", "us-east-1b"}},
	}
	for j := range 12 {
		v.Tags = append(v.Tags, tag{fmt.Sprintf("a-tag-of-some-length-%d", j), "and what it is set to"})
	}
	return v
}

func benchDB(b *testing.B, n int) *DB {
	b.Helper()
	db, err := Open(b.Context(), filepath.Join(b.TempDir(), "state.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	err = db.Update(b.Context(), func(tx *Tx) error {
		for i := range n {
			if err := things.Put(tx, fmt.Sprintf("us-east-1/g%05d", i), bigThing(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return db
}

func benchPut(b *testing.B, db *DB, i int) {
	err := db.Update(b.Context(), func(tx *Tx) error { return things.Put(tx, fmt.Sprintf("us-east-1/g%05d", i%500), bigThing(i)) })
	if err != nil {
		b.Error(err)
	}
}

// BenchmarkUpdate is one durable change of a record of 1 KB.
func BenchmarkUpdate(b *testing.B) {
	db := benchDB(b, 500)
	i := 0
	for b.Loop() {
		benchPut(b, db, i)
		i++
	}
}

// BenchmarkUpdate50 is the same by fifty callers at once; time per change.
func BenchmarkUpdate50(b *testing.B) {
	db := benchDB(b, 500)
	b.SetParallelism(25)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			benchPut(b, db, i)
		}
	})
}

func benchList(b *testing.B, forget bool) {
	db := benchDB(b, 500)
	for b.Loop() {
		if forget {
			db.cache.mu.Lock()
			db.cache.entries = nil
			db.cache.mu.Unlock()
		}
		err := db.View(b.Context(), func(tx *Tx) error {
			l, err := things.List(tx, "us-east-1/")
			if len(l) != 500 {
				b.Fatalf("%d", len(l))
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkList500 lists 500 records, all known already.
func BenchmarkList500(b *testing.B) { benchList(b, false) }

// BenchmarkList500Cold decodes them each time.
func BenchmarkList500Cold(b *testing.B) { benchList(b, true) }

// BenchmarkGet reads one record of 1 KB.
func BenchmarkGet(b *testing.B) {
	db := benchDB(b, 500)
	for b.Loop() {
		err := db.View(b.Context(), func(tx *Tx) error {
			_, _, err := things.Get(tx, "us-east-1/g00123")
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
