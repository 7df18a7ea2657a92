package rdb

import (
	"encoding/binary"
	"fmt"
	"math"

	"pgregory.net/rapid"
)

// versions are those of targets, and of sources whose engines wrote the types below.
var versions = []int{1, 3, 4, 6, 7, 8, 9, 10, 11, 12, ValkeyVersion}

// sample is a random value in a random encoding of a random dialect.
type sample struct {
	typ     byte
	version int
	value   []byte
}

func (s sample) String() string { return fmt.Sprintf("type %d of %d: %x", s.typ, s.version, s.value) }

func textGen() *rapid.Generator[[]byte] {
	return rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 12),
		rapid.Map(rapid.Int64(), func(n int64) []byte { return appendInt(nil, n) }),
		rapid.Map(rapid.Int64Range(-5000, 5000), func(n int64) []byte { return appendInt(nil, n) }),
		rapid.Map(rapid.Int64Range(-1, 15), func(n int64) []byte { return appendInt(nil, n) }),
		rapid.Map(rapid.IntRange(0, 40), func(n int) []byte { return appendInt(nil, 1<<n-1) }),
		rapid.Map(rapid.SampledFrom([]int{63, 64, 70, 249, 250, 251, 252, 253, 254, 255, 4095, 4096, 17000}), func(n int) []byte { return make([]byte, n) }),
	)
}

// textsGen are different texts, at least one.
func textsGen() *rapid.Generator[[][]byte] {
	return rapid.SliceOfNDistinct(textGen(), 1, 40, func(b []byte) string { return string(b) })
}

// packOf makes a listpack as a string value; numbers are kept as numbers where
// engines keep them so, and the count is sometimes left out, as in long ones.
func packOf(t *rapid.T, elements [][]byte) []byte {
	var body []byte
	for _, e := range elements {
		if n, ok := exactInt(e); ok {
			body = appendPackInt(body, n)
		} else {
			body = appendPackString(body, e)
		}
	}
	total := listpackHeader + len(body) + 1
	count := len(elements)
	if rapid.IntRange(0, 9).Draw(t, "uncounted") == 0 {
		count = uncounted
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(total))
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	return AppendString(nil, append(append(b, body...), packEnd))
}

// exactInt reads text that is the usual form of a number.
func exactInt(b []byte) (int64, bool) {
	var n int64
	if _, err := fmt.Sscan(string(b), &n); err != nil {
		return 0, false
	}
	return n, string(appendInt(nil, n)) == string(b)
}

// stringOf makes a string, sometimes compressed: one literal run after the other.
func stringOf(t *rapid.T, b []byte) []byte {
	if n, ok := exactInt(b); ok && rapid.Bool().Draw(t, "number") {
		return appendIntString(nil, n)
	}
	if len(b) == 0 || rapid.IntRange(0, 4).Draw(t, "compressed") > 0 {
		return AppendString(nil, b)
	}
	var packed []byte
	for at := 0; at < len(b); at += 32 {
		run := b[at:min(at+32, len(b))]
		packed = append(append(packed, byte(len(run)-1)), run...)
	}
	out := AppendLength([]byte{0xc0 | encLZF}, uint64(len(packed)))
	return append(AppendLength(out, uint64(len(b))), packed...)
}

func stringsOf(t *rapid.T, per int, all [][]byte) []byte {
	out := AppendLength(nil, uint64(len(all)/per))
	for _, b := range all {
		out = append(out, stringOf(t, b)...)
	}
	return out
}

func sampleGen() *rapid.Generator[sample] {
	return rapid.Custom(func(t *rapid.T) sample {
		switch rapid.IntRange(0, 9).Draw(t, "class") {
		case 0:
			return sample{TypeString, 9, stringOf(t, textGen().Draw(t, "text"))}
		case 1, 2:
			return listSample(t)
		case 3:
			return setSample(t)
		case 4:
			return zsetSample(t)
		case 5, 6, 7:
			return hashSample(t)
		}
		return streamSample(t)
	})
}

func listSample(t *rapid.T) sample {
	items := textsGen().Draw(t, "items")
	if rapid.IntRange(0, 3).Draw(t, "plain") == 0 {
		return sample{TypeList, 3, stringsOf(t, 1, items)}
	}
	var nodes []byte
	n := uint64(0)
	for ; len(items) > 0; n++ {
		k := rapid.IntRange(0, len(items)).Draw(t, "node") // engines load empty nodes too
		if k == 1 && rapid.Bool().Draw(t, "plain node") {
			nodes = append(append(nodes, nodePlain), stringOf(t, items[0])...)
		} else {
			nodes = append(append(nodes, nodePacked), packOf(t, items[:k])...)
		}
		items = items[k:]
		if n > 60 {
			break
		}
	}
	return sample{TypeQuicklist2, rapid.SampledFrom([]int{10, 11, 12, 80}).Draw(t, "version"), append(AppendLength(nil, n), nodes...)}
}

func setSample(t *rapid.T) sample {
	if rapid.Bool().Draw(t, "ints") {
		ints := rapid.SliceOfNDistinct(rapid.Int32(), 1, 20, func(n int32) int32 { return n }).Draw(t, "ints")
		b := binary.LittleEndian.AppendUint32(nil, 4)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(ints)))
		for _, n := range ints {
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
		return sample{TypeSetIntset, 6, AppendString(nil, b)}
	}
	members := textsGen().Draw(t, "members")
	if rapid.Bool().Draw(t, "packed") {
		return sample{TypeSetListpack, rapid.SampledFrom([]int{11, 12, 80}).Draw(t, "version"), packOf(t, members)}
	}
	return sample{TypeSet, 9, stringsOf(t, 1, members)}
}

var scores = rapid.OneOf(rapid.Float64(), rapid.Map(rapid.Int64(), func(n int64) float64 { return float64(n) }),
	rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), 1e-308, 5e-324, math.MaxFloat64, 1 << 60}))

func zsetSample(t *rapid.T) sample {
	var packed [][]byte
	var members []Member
	for _, name := range textsGen().Draw(t, "members") {
		m := Member{name, scores.Draw(t, "score")}
		members = append(members, m)
		packed = append(packed, name, appendTextScore(nil, m.Score)[1:])
		if math.IsInf(m.Score, 0) {
			packed[len(packed)-1] = fmt.Append(nil, m.Score)
		}
	}
	switch rapid.IntRange(0, 2).Draw(t, "form") {
	case 0:
		return sample{TypeZSet2, 9, AppendZSet2(nil, members)}
	case 1:
		out := AppendLength(nil, uint64(len(members)))
		for _, m := range members {
			out = appendTextScore(append(out, stringOf(t, m.Name)...), m.Score)
		}
		return sample{TypeZSet, 3, out}
	}
	return sample{TypeZSetListpack, rapid.SampledFrom([]int{10, 11, 12, 80}).Draw(t, "version"), packOf(t, packed)}
}

func hashSample(t *rapid.T) sample {
	var flat, triples [][]byte
	var fields []Field
	for _, name := range textsGen().Draw(t, "names") {
		f := Field{Name: name, Value: textGen().Draw(t, "value")}
		if rapid.Bool().Draw(t, "volatile") {
			f.ExpireAt = rapid.OneOf(rapid.Int64Range(1, 10), rapid.Int64Range(1, maxFieldExpiry)).Draw(t, "at")
		}
		fields = append(fields, f)
		flat = append(flat, f.Name, f.Value)
		triples = append(triples, f.Name, f.Value, appendInt(nil, f.ExpireAt))
	}
	soonest := binary.LittleEndian.AppendUint64(nil, 1)
	switch rapid.IntRange(0, 6).Draw(t, "form") {
	case 0:
		return sample{TypeHash, 3, stringsOf(t, 2, flat)}
	case 1:
		return sample{TypeHashListpack, rapid.SampledFrom([]int{10, 11, 12, 80}).Draw(t, "version"), packOf(t, flat)}
	case 2:
		return sample{TypeHashTTL, 12, AppendHashTTL(nil, fields)}
	case 3:
		return sample{TypeHashTTLPacked, 12, append(soonest, packOf(t, triples)...)}
	case 4:
		return sample{TypeHashTTLPackedRC, 12, packOf(t, triples)}
	case 5:
		out := AppendLength(nil, uint64(len(fields)))
		for _, f := range fields {
			out = AppendLength(out, uint64(f.ExpireAt))
			out = append(append(out, stringOf(t, f.Name)...), stringOf(t, f.Value)...)
		}
		return sample{TypeHashTTLRC, 12, out}
	}
	return sample{TypeHash2, ValkeyVersion, AppendHash2(nil, fields)}
}

func idGen() *rapid.Generator[StreamID] {
	return rapid.Custom(func(t *rapid.T) StreamID {
		return StreamID{rapid.Uint64().Draw(t, "ms"), rapid.Uint64().Draw(t, "seq")}
	})
}

// streamSample writes the newest form or an older one. The parts need not agree
// with each other for that.
func streamSample(t *rapid.T) sample {
	form := rapid.SampledFrom([]byte{TypeStream, TypeStream2, TypeStream3}).Draw(t, "form")
	u64 := func(name string) uint64 { return rapid.Uint64().Draw(t, name) }
	var entries []StreamEntry
	for i := range rapid.IntRange(0, 8).Draw(t, "entries") {
		e := StreamEntry{ID: StreamID{uint64(i + 1), 5}}
		for _, p := range textsGen().Draw(t, "pairs") {
			e.Pairs = append(e.Pairs, p, p)
		}
		entries = append(entries, e)
	}
	var nodes []byte
	count := uint64(0)
	for rest := entries; len(rest) > 0; count++ {
		var used int
		nodes, used = appendNode(nodes, rest[:rapid.IntRange(1, len(rest)).Draw(t, "node")])
		rest = rest[used:]
	}
	out := append(AppendLength(nil, count), nodes...)
	for range streamLengths(form) {
		out = AppendLength(out, u64("meta"))
	}
	groups := rapid.IntRange(0, 3).Draw(t, "groups")
	out = AppendLength(out, uint64(groups))
	for range groups {
		out = append(out, stringOf(t, textGen().Draw(t, "group"))...)
		out = appendID(out, idGen().Draw(t, "last"))
		if form != TypeStream {
			out = AppendLength(out, u64("read"))
		}
		pending := rapid.IntRange(0, 3).Draw(t, "pending")
		out = AppendLength(out, uint64(pending))
		for range pending {
			out = appendRawID(out, idGen().Draw(t, "pending"))
			out = binary.LittleEndian.AppendUint64(out, u64("delivered"))
			out = AppendLength(out, u64("deliveries"))
		}
		consumers := rapid.IntRange(0, 3).Draw(t, "consumers")
		out = AppendLength(out, uint64(consumers))
		for range consumers {
			out = append(out, stringOf(t, textGen().Draw(t, "consumer"))...)
			out = binary.LittleEndian.AppendUint64(out, u64("seen"))
			if form == TypeStream3 {
				out = binary.LittleEndian.AppendUint64(out, u64("active"))
			}
			owned := rapid.IntRange(0, 3).Draw(t, "owned")
			out = AppendLength(out, uint64(owned))
			for range owned {
				out = appendRawID(out, idGen().Draw(t, "owned"))
			}
		}
	}
	version := map[byte]int{TypeStream: 9, TypeStream2: 10, TypeStream3: rapid.SampledFrom([]int{11, 12, 80}).Draw(t, "version")}[form]
	return sample{form, version, out}
}
