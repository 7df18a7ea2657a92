package rdb

import (
	"encoding/binary"
	"math"
)

// The functions here make values in the plainest encodings, those that every
// engine from Redis 4 on loads (streams: from Redis 5 on) and turns into its own
// compact ones where its settings say so.

// AppendLength appends a length in its shortest form.
func AppendLength(dst []byte, n uint64) []byte {
	switch {
	case n < 1<<6:
		return append(dst, byte(n))
	case n < 1<<14:
		return append(dst, 0x40|byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0x80), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0x81), n)
}

// AppendString appends the value of a TypeString, which is also how keys and
// elements are written: length and bytes, uncompressed.
func AppendString(dst, s []byte) []byte {
	return append(AppendLength(dst, uint64(len(s))), s...)
}

// AppendList appends the value of a TypeList: items from head to tail, at least one.
func AppendList(dst []byte, items [][]byte) []byte {
	dst = AppendLength(dst, uint64(len(items)))
	for _, it := range items {
		dst = AppendString(dst, it)
	}
	return dst
}

// AppendSet appends the value of a TypeSet: members, all different, at least one.
func AppendSet(dst []byte, members [][]byte) []byte { return AppendList(dst, members) }

// Field is a field of a hash.
type Field struct {
	Name, Value []byte
	// ExpireAt is the Unix time in milliseconds at which the field expires; 0 means never.
	ExpireAt int64
}

// AppendHash appends the value of a TypeHash: fields of different names, at
// least one. That type has no field TTLs; they are left out.
func AppendHash(dst []byte, fields []Field) []byte {
	dst = AppendLength(dst, uint64(len(fields)))
	for i := range fields {
		dst = AppendString(dst, fields[i].Name)
		dst = AppendString(dst, fields[i].Value)
	}
	return dst
}

// AppendHashTTL appends the value of a TypeHashTTL, which Redis 7.4 and later
// load: fields of different names, at least one. Redis keeps expiries of 1 to
// 2^48-1.
func AppendHashTTL(dst []byte, fields []Field) []byte {
	soonest := int64(0)
	for i := range fields {
		if at := fields[i].ExpireAt; at != 0 && (soonest == 0 || at < soonest) {
			soonest = at
		}
	}
	dst = binary.LittleEndian.AppendUint64(dst, uint64(soonest))
	dst = AppendLength(dst, uint64(len(fields)))
	for i := range fields {
		dst = appendRelative(dst, fields[i].ExpireAt, soonest)
		dst = AppendString(dst, fields[i].Name)
		dst = AppendString(dst, fields[i].Value)
	}
	return dst
}

// AppendHash2 appends the value of a TypeHash2, which Valkey 9 loads: fields of
// different names, at least one. Expiries are positive.
func AppendHash2(dst []byte, fields []Field) []byte {
	dst = AppendLength(dst, uint64(len(fields)))
	for i := range fields {
		dst = AppendString(dst, fields[i].Name)
		dst = AppendString(dst, fields[i].Value)
		dst = appendAbsolute(dst, fields[i].ExpireAt)
	}
	return dst
}

// Member is a member of a sorted set.
type Member struct {
	Name  []byte
	Score float64
}

// AppendZSet2 appends the value of a TypeZSet2: members of different names, at
// least one, in the order of their scores (any order loads, that one loads fast).
// NaN is no score.
func AppendZSet2(dst []byte, members []Member) []byte {
	dst = AppendLength(dst, uint64(len(members)))
	for i := range members {
		dst = AppendString(dst, members[i].Name)
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(members[i].Score))
	}
	return dst
}
