package transfer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/rdb"
)

// BenchmarkSeed tells what it costs to divide a snapshot, beside passing it on as it is.
func BenchmarkSeed(b *testing.B) {
	const keys = 400_000
	var file bytes.Buffer
	w, err := rdb.NewWriter(&file, rdb.HeaderOf(11))
	if err != nil {
		b.Fatal(err)
	}
	value := rdb.AppendString(nil, bytes.Repeat([]byte("x"), 200))
	for i := range keys {
		e := rdb.Entry{Key: fmt.Appendf(nil, "key:%012d", i), Type: rdb.TypeString, Value: value, Idle: -1, Freq: -1}
		if err := w.Write(&e); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	store, err := objects.Dir(filepath.Join(dir, "snapshots"))
	if err != nil {
		b.Fatal(err)
	}
	m := New(Config{Snapshots: store, Build: func(string) (Build, error) {
		return Build{Engine: cache.Valkey, Version: "8.1.1", Reads: func(v int) bool { return v <= 11 }}, nil
	}})
	man, err := m.store(b.Context(), bytes.NewReader(file.Bytes()), "s/0001.rdb", objects.PutOptions{})
	if err != nil {
		b.Fatal(err)
	}
	s := cache.Snapshot{Name: "s", Shards: []cache.ShardSnapshot{{NodeGroupID: "0001", Object: "s/0001.rdb", Manifest: &man}}}
	for _, n := range []int{0, 1, 5} {
		b.Run(fmt.Sprintf("shards=%d", n), func(b *testing.B) {
			job := cache.SeedJob{From: &s, Build: "b", Parts: part(filepath.Join(dir, "one")), Clustered: n > 0}
			if n > 0 {
				job.Parts = (&world{dir: dir}).parts(n)
			}
			b.SetBytes(int64(file.Len()))
			for b.Loop() {
				if _, err := m.Seed(b.Context(), job); err != nil {
					b.Fatal(err)
				}
			}
			for _, p := range job.Parts {
				_ = os.Remove(p.Path)
			}
		})
	}
}
