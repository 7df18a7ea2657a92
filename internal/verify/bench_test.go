package verify

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

func benchEntries(kind string) []flow.Entry {
	out := make([]flow.Entry, 100_000)
	value := make([]byte, 100)
	var members []rdb.Member
	var fields []rdb.Field
	var flat [][]byte
	for i := range 10 {
		name := fmt.Appendf(nil, "member:%04d", i)
		members = append(members, rdb.Member{Name: name, Score: float64(i)})
		fields = append(fields, rdb.Field{Name: name, Value: fmt.Appendf(nil, "value-%012d", i)})
		flat = append(flat, name, fmt.Append(nil, i))
	}
	for i := range out {
		e := flow.Entry{Key: fmt.Appendf(nil, "key:%012d", i), Version: 11}
		switch kind {
		case "string100":
			e.Value = rdb.AppendString(nil, value)
		case "hash10":
			e.Type, e.Value = rdb.TypeHash, rdb.AppendHash(nil, fields)
		case "hash10-listpack":
			e.Type, e.Value = rdb.TypeHashListpack, rdb.AppendString(nil, listpack(flat, true))
		case "zset10":
			e.Type, e.Value = rdb.TypeZSet2, rdb.AppendZSet2(nil, members)
		}
		if i%5 == 0 {
			e.ExpireAt = int64(1_900_000_000_000 + i)
		}
		out[i] = e
	}
	return out
}

// BenchmarkDigest is the work of one core.
func BenchmarkDigest(b *testing.B) {
	for _, kind := range []string{"string100", "hash10", "hash10-listpack", "zset10"} {
		b.Run(kind, func(b *testing.B) {
			entries := benchEntries(kind)
			d := newDigester(0)
			f := newFingerprint()
			db, err := f.database(0)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				for i := range entries {
					dg, err := d.digest(&entries[i])
					if err != nil {
						b.Fatal(err)
					}
					db.add(&dg)
				}
				n += len(entries)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mkeys/s")
		})
	}
}

// BenchmarkCompute is the whole, with its reading goroutine and all workers.
func BenchmarkCompute(b *testing.B) {
	src := &memory{entries: benchEntries("string100")}
	n := 0
	for b.Loop() {
		if _, err := Compute(context.Background(), src, Options{}); err != nil {
			b.Fatal(err)
		}
		n += len(src.entries)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mkeys/s")
}

func BenchmarkMurmur(b *testing.B) {
	for _, size := range []int{16, 100, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				murmur(p, Hash{})
			}
		})
	}
}

// fileSource is an RDB file in memory, read as the real source of files does.
type fileSource struct{ b []byte }

func (s fileSource) Close() error { return nil }

func (s fileSource) Entries(context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		r := rdb.NewReader(bytes.NewReader(s.b))
		out := flow.Entry{Version: 11}
		for e, err := range r.Entries() {
			if err != nil {
				yield(nil, err)
				return
			}
			out.DB, out.Key, out.Type, out.Value, out.ExpireAt, out.Idle, out.Freq = e.DB, e.Key, e.Type, e.Value, e.ExpireAt, e.Idle, e.Freq
			if !yield(&out, nil) {
				return
			}
		}
	}
}

// BenchmarkComputeFile is the fingerprint of a file in memory: parse, checksum, hash.
func BenchmarkComputeFile(b *testing.B) {
	var out bytes.Buffer
	w, err := rdb.NewWriter(&out, rdb.HeaderOf(11))
	if err != nil {
		b.Fatal(err)
	}
	entries := benchEntries("string100")
	for _, e := range entries {
		if err := w.Write(&rdb.Entry{Key: e.Key, Type: e.Type, Value: e.Value, ExpireAt: e.ExpireAt, Idle: -1, Freq: -1}); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(out.Len()))
	n := 0
	for b.Loop() {
		if _, err := Compute(context.Background(), fileSource{out.Bytes()}, Options{}); err != nil {
			b.Fatal(err)
		}
		n += len(entries)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mkeys/s")
}
