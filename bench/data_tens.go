package main

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// tens yields lists, sets, hashes and sorted sets of ten elements of twelve
// letters; one in five expires, in a month and later.
type tens struct{ keys int64 }

// Entries implements flow.Source.
func (s *tens) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		t := collections{rng: rand.New(rand.NewPCG(1, 2))}
		expires := time.Now().Add(31 * 24 * time.Hour).UnixMilli()
		e := flow.Entry{Version: 9, Idle: -1, Freq: -1}
		for i := range s.keys {
			if i&1023 == 0 && ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			e.Key = fmt.Appendf(e.Key[:0], "key:%012d", i)
			e.ExpireAt = 0
			if i%5 == 0 {
				e.ExpireAt = expires + i
			}
			t.fill(&e, int(i)%4)
			if !yield(&e, nil) {
				return
			}
		}
	}
}

// Close implements flow.Source.
func (s *tens) Close() error { return nil }

// collections makes the values.
type collections struct {
	rng   *rand.Rand
	items [10][]byte
}

func (t *collections) fill(e *flow.Entry, kind int) {
	for i := range t.items {
		// The number makes them differ within one collection.
		b := strconv.AppendInt(t.items[i][:0], int64(i), 10)
		for len(b) < 12 {
			b = append(b, byte('a'+t.rng.IntN(26)))
		}
		t.items[i] = b
	}
	switch kind {
	case 0:
		e.Type, e.Value = rdb.TypeList, rdb.AppendList(e.Value[:0], t.items[:])
	case 1:
		e.Type, e.Value = rdb.TypeSet, rdb.AppendSet(e.Value[:0], t.items[:])
	case 2:
		var fields []rdb.Field
		for i, it := range t.items {
			fields = append(fields, rdb.Field{Name: fmt.Appendf(nil, "field:%d", i), Value: it})
		}
		e.Type, e.Value = rdb.TypeHash, rdb.AppendHash(e.Value[:0], fields)
	default:
		var members []rdb.Member
		for i, it := range t.items {
			members = append(members, rdb.Member{Name: it, Score: float64(i) + t.rng.Float64()})
		}
		e.Type, e.Value = rdb.TypeZSet2, rdb.AppendZSet2(e.Value[:0], members)
	}
}
