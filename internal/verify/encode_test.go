package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"pgregory.net/rapid"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// item is a decoded key of the test's model.
type item struct {
	db     int
	key    string
	expire int64
	val    rdb.Value
}

// listpack encodes elements, whole numbers as numbers where asNumbers is set.
func listpack(elems [][]byte, asNumbers bool) []byte {
	var body []byte
	for _, e := range elems {
		from := len(body)
		n, err := strconv.ParseInt(string(e), 10, 64)
		switch {
		case asNumbers && err == nil && strconv.FormatInt(n, 10) == string(e):
			body = binary.LittleEndian.AppendUint64(append(body, 0xf4), uint64(n))
		case len(e) < 64:
			body = append(append(body, 0x80|byte(len(e))), e...)
		default:
			body = append(append(body, 0xe0|byte(len(e)>>8), byte(len(e))), e...)
		}
		if n := len(body) - from; n <= 127 {
			body = append(body, byte(n))
		} else {
			body = append(body, byte(n>>7), byte(n&127)|128)
		}
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(6+len(body)+1))
	out = binary.LittleEndian.AppendUint16(out, uint16(len(elems)))
	return append(append(out, body...), 0xff)
}

// ziplist encodes elements shorter than 254 bytes in the older packed form.
func ziplist(elems [][]byte) []byte {
	var body []byte
	prev := 0
	for _, e := range elems {
		from := len(body)
		body = append(body, byte(prev))
		if len(e) < 64 {
			body = append(body, byte(len(e)))
		} else {
			body = append(body, 0x40|byte(len(e)>>8), byte(len(e)))
		}
		body = append(body, e...)
		prev = len(body) - from
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(10+len(body)+1))
	out = binary.LittleEndian.AppendUint32(out, 10)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(elems)))
	return append(append(out, body...), 0xff)
}

func score(f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return []byte("inf")
	case math.IsInf(f, -1):
		return []byte("-inf")
	}
	return strconv.AppendFloat(nil, f, 'g', 17, 64)
}

// encode gives an item as an entry, in an encoding that pick chooses.
func encode(it *item, pick func(n int) int) flow.Entry {
	e := flow.Entry{DB: it.db, Key: []byte(it.key), ExpireAt: it.expire, Version: 11, Idle: int64(pick(3) - 1), Freq: -1}
	switch v := &it.val; v.Class {
	case rdb.ClassString:
		e.Value = rdb.AppendString(nil, v.Text)
		if n, err := strconv.ParseInt(string(v.Text), 10, 8); err == nil && strconv.FormatInt(n, 10) == string(v.Text) && pick(2) == 0 {
			e.Value = []byte{0xc0, byte(n)}
		} else if n := len(v.Text); n > 0 && n <= 32 && pick(2) == 0 { // LZF with one literal run
			e.Value = append(rdb.AppendLength(rdb.AppendLength([]byte{0xc3}, uint64(n+1)), uint64(n)), byte(n-1))
			e.Value = append(e.Value, v.Text...)
		}
	case rdb.ClassList:
		e.Type, e.Value = encodeList(v.Items, pick)
	case rdb.ClassSet:
		e.Type, e.Value = encodeSet(v.Items, pick)
	case rdb.ClassZSet:
		e.Type, e.Value = encodeZSet(v.Members, pick)
	case rdb.ClassHash:
		e.Type, e.Version, e.Value = encodeHash(v.Fields, pick)
	case rdb.ClassStream:
		e.Type, e.Value = rdb.TypeStream, rdb.AppendStream(nil, v.Stream)
	}
	return e
}

func encodeList(items [][]byte, pick func(int) int) (byte, []byte) {
	switch pick(4) {
	case 0:
		return rdb.TypeList, rdb.AppendList(nil, items)
	case 1:
		return rdb.TypeListZiplist, rdb.AppendString(nil, ziplist(items))
	case 2:
		at := pick(len(items) + 1)
		out := rdb.AppendString(rdb.AppendLength(nil, 2), ziplist(items[:at]))
		return rdb.TypeQuicklist, rdb.AppendString(out, ziplist(items[at:]))
	}
	at := pick(len(items))
	out := rdb.AppendLength(nil, 3)
	out = rdb.AppendString(rdb.AppendLength(out, 2), listpack(items[:at], true))
	out = rdb.AppendString(rdb.AppendLength(out, 1), items[at])
	return rdb.TypeQuicklist2, rdb.AppendString(rdb.AppendLength(out, 2), listpack(items[at+1:], false))
}

func shuffled[T any](in []T, pick func(int) int) []T {
	out := append([]T(nil), in...)
	for i := len(out) - 1; i > 0; i-- {
		j := pick(i + 1)
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func encodeSet(members [][]byte, pick func(int) int) (byte, []byte) {
	members = shuffled(members, pick)
	var ints []byte
	for _, m := range members {
		n, err := strconv.ParseInt(string(m), 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != string(m) {
			ints = nil
			break
		}
		ints = binary.LittleEndian.AppendUint64(ints, uint64(n))
	}
	if ints != nil && pick(2) == 0 {
		out := binary.LittleEndian.AppendUint32(nil, 8)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(members)))
		return rdb.TypeSetIntset, rdb.AppendString(nil, append(out, ints...))
	}
	if pick(2) == 0 {
		return rdb.TypeSetListpack, rdb.AppendString(nil, listpack(members, pick(2) == 0))
	}
	return rdb.TypeSet, rdb.AppendSet(nil, members)
}

func encodeZSet(members []rdb.Member, pick func(int) int) (byte, []byte) {
	members = shuffled(members, pick)
	var flat [][]byte
	text := rdb.AppendLength(nil, uint64(len(members)))
	for _, m := range members {
		flat = append(flat, m.Name, score(m.Score))
		text = rdb.AppendString(text, m.Name)
		switch s := score(m.Score); string(s) {
		case "inf":
			text = append(text, 254)
		case "-inf":
			text = append(text, 255)
		default:
			text = append(append(text, byte(len(s))), s...)
		}
	}
	switch pick(4) {
	case 0:
		return rdb.TypeZSet, text
	case 1:
		return rdb.TypeZSetZiplist, rdb.AppendString(nil, ziplist(flat))
	case 2:
		return rdb.TypeZSetListpack, rdb.AppendString(nil, listpack(flat, true))
	}
	return rdb.TypeZSet2, rdb.AppendZSet2(nil, members)
}

// encodeHash gives one of the many forms, with field TTLs those of either dialect.
func encodeHash(fields []rdb.Field, pick func(int) int) (typ byte, version int, value []byte) {
	fields = shuffled(fields, pick)
	ttls := false
	soonest := int64(math.MaxInt64)
	var flat, triples [][]byte
	for _, f := range fields {
		flat = append(flat, f.Name, f.Value)
		triples = append(triples, f.Name, f.Value, fmt.Append(nil, f.ExpireAt))
		if f.ExpireAt != 0 {
			ttls = true
			soonest = min(soonest, f.ExpireAt)
		}
	}
	if !ttls {
		switch pick(3) {
		case 0:
			return rdb.TypeHashZiplist, 11, rdb.AppendString(nil, ziplist(flat))
		case 1:
			return rdb.TypeHashListpack, 11, rdb.AppendString(nil, listpack(flat, pick(2) == 0))
		}
		return rdb.TypeHash, 80, rdb.AppendHash(nil, fields)
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(soonest))
	switch pick(3) {
	case 0:
		return rdb.TypeHashTTLPacked, 12, rdb.AppendString(out, listpack(triples, true))
	case 1:
		out = rdb.AppendLength(out, uint64(len(fields)))
		for _, f := range fields {
			rel := uint64(0)
			if f.ExpireAt != 0 {
				rel = uint64(f.ExpireAt - soonest + 1)
			}
			out = rdb.AppendString(rdb.AppendString(rdb.AppendLength(out, rel), f.Name), f.Value)
		}
		return rdb.TypeHashTTL, 12, out
	}
	out = rdb.AppendLength(nil, uint64(len(fields)))
	for _, f := range fields {
		at := f.ExpireAt
		if at == 0 {
			at = -1
		}
		out = rdb.AppendString(rdb.AppendString(out, f.Name), f.Value)
		out = binary.LittleEndian.AppendUint64(out, uint64(at))
	}
	return rdb.TypeHash2, 80, out
}

// genItems draws a keyspace.
func genItems(t *rapid.T) []item {
	word := rapid.OneOf(
		rapid.StringMatching(`[a-c{}]{0,4}`),
		rapid.Map(rapid.IntRange(-200, 200), strconv.Itoa),
		rapid.StringOfN(rapid.RuneFrom([]rune{'x', 0, 'é'}), 0, 80, 200))
	words := func(label string, least int) [][]byte {
		set := rapid.SliceOfNDistinct(word, least, 6, rapid.ID[string]).Draw(t, label)
		out := make([][]byte, len(set))
		for i, w := range set {
			out[i] = []byte(w)
		}
		return out
	}
	type id struct {
		db  int
		key string
	}
	ids := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) id {
		return id{rapid.IntRange(0, 2).Draw(t, "db"), word.Draw(t, "key")}
	}), 1, 12, rapid.ID[id]).Draw(t, "ids")
	var out []item
	for _, k := range ids {
		it := item{db: k.db, key: k.key}
		if rapid.Bool().Draw(t, "volatile") {
			it.expire = rapid.Int64Range(1, 1<<41).Draw(t, "expire")
		}
		it.val = genValue(t, word, words)
		out = append(out, it)
	}
	return out
}

func genValue(t *rapid.T, word *rapid.Generator[string], words func(string, int) [][]byte) rdb.Value {
	v := rdb.Value{Class: rapid.SampledFrom([]rdb.Class{
		rdb.ClassString, rdb.ClassList, rdb.ClassSet,
		rdb.ClassZSet, rdb.ClassHash, rdb.ClassStream,
	}).Draw(t, "class")}
	switch v.Class {
	case rdb.ClassString:
		v.Text = []byte(word.Draw(t, "text"))
	case rdb.ClassList:
		v.Items = words("items", 1)
		v.Items = append(v.Items, v.Items[0])
	case rdb.ClassSet:
		v.Items = words("members", 1)
	case rdb.ClassZSet:
		for _, m := range words("members", 1) {
			f := rapid.OneOf(rapid.SampledFrom([]float64{0, 1, -2, math.Inf(1), math.Inf(-1), 0.1}), rapid.Float64()).Draw(t, "score")
			v.Members = append(v.Members, rdb.Member{Name: m, Score: f})
		}
	case rdb.ClassHash:
		for _, f := range words("fields", 1) {
			field := rdb.Field{Name: f, Value: []byte(word.Draw(t, "value"))}
			if rapid.IntRange(0, 3).Draw(t, "ttl") == 0 {
				field.ExpireAt = rapid.Int64Range(1, 1<<41).Draw(t, "at")
			}
			v.Fields = append(v.Fields, field)
		}
	case rdb.ClassStream:
		v.Stream = genStream(t, words)
	}
	return v
}

func genStream(t *rapid.T, words func(string, int) [][]byte) *rdb.Stream {
	s := &rdb.Stream{Meta: rdb.StreamMeta{Last: rdb.StreamID{Ms: 1000, Seq: uint64(rapid.IntRange(0, 9).Draw(t, "last"))}}}
	ms := uint64(0)
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		ms += uint64(rapid.IntRange(1, 5).Draw(t, "ms"))
		pairs := words("pairs", 1)
		pairs = append(pairs, bytes.Repeat([]byte("v"), len(pairs)))
		if len(pairs)%2 == 1 {
			pairs = append(pairs, []byte("w"))
		}
		s.Entries = append(s.Entries, rdb.StreamEntry{ID: rdb.StreamID{Ms: ms, Seq: 1}, Pairs: pairs})
	}
	for _, name := range words("groups", 0) {
		g := rdb.Group{Name: name, Last: rdb.StreamID{Ms: ms}}
		g.Consumers = []rdb.Consumer{{Name: []byte("c1"), Seen: 5}, {Name: []byte("c2"), Seen: 6}}
		for i, e := range s.Entries {
			g.Pending = append(g.Pending, rdb.Pending{ID: e.ID, Delivered: int64(1000 + i), Deliveries: 1})
			g.Consumers[i%2].Pending = append(g.Consumers[i%2].Pending, e.ID)
		}
		s.Groups = append(s.Groups, g)
	}
	return s
}
