package rdb

import (
	"bytes"
	"encoding/binary"
	"math"
)

// The size of a stream's nodes, as the engines' defaults have it.
const (
	nodeEntries = 100
	nodeBytes   = 4096
)

// AppendStream appends the value of a TypeStream, which Redis 5 and everything
// since loads. Entries must be in the order of their ids. Of Meta only Last is
// used (the last entry's id where it is smaller), since that type has no more;
// of a consumer all but Active, for the same reason. Each pending entry must
// belong to exactly one consumer.
func AppendStream(dst []byte, s *Stream) []byte {
	var nodes []byte
	count := uint64(0)
	for rest := s.Entries; len(rest) > 0; count++ {
		var used int
		nodes, used = appendNode(nodes, rest)
		rest = rest[used:]
	}
	dst = AppendLength(dst, count)
	dst = append(dst, nodes...)
	dst = AppendLength(dst, uint64(len(s.Entries)))
	dst = appendID(dst, lastID(s))
	dst = AppendLength(dst, uint64(len(s.Groups)))
	for i := range s.Groups {
		dst = appendGroup(dst, &s.Groups[i])
	}
	return dst
}

func lastID(s *Stream) StreamID {
	last := s.Meta.Last
	if n := len(s.Entries); n > 0 && last.less(s.Entries[n-1].ID) {
		last = s.Entries[n-1].ID
	}
	return last
}

func (id StreamID) less(o StreamID) bool {
	return id.Ms < o.Ms || id.Ms == o.Ms && id.Seq < o.Seq
}

func appendID(dst []byte, id StreamID) []byte {
	return AppendLength(AppendLength(dst, id.Ms), id.Seq)
}

func appendRawID(dst []byte, id StreamID) []byte {
	dst = binary.BigEndian.AppendUint64(dst, id.Ms)
	return binary.BigEndian.AppendUint64(dst, id.Seq)
}

func appendGroup(dst []byte, g *Group) []byte {
	dst = AppendString(dst, g.Name)
	dst = appendID(dst, g.Last)
	dst = AppendLength(dst, uint64(len(g.Pending)))
	for _, p := range g.Pending {
		dst = appendRawID(dst, p.ID)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(p.Delivered))
		dst = AppendLength(dst, p.Deliveries)
	}
	dst = AppendLength(dst, uint64(len(g.Consumers)))
	for _, c := range g.Consumers {
		dst = AppendString(dst, c.Name)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Seen))
		dst = AppendLength(dst, uint64(len(c.Pending)))
		for _, id := range c.Pending {
			dst = appendRawID(dst, id)
		}
	}
	return dst
}

// appendNode appends a node of as many entries as fit, and says how many.
func appendNode(dst []byte, entries []StreamEntry) ([]byte, int) {
	first := &entries[0]
	body := make([]byte, 0, nodeBytes+nodeBytes/2)
	elements, used := 0, 0
	for used < len(entries) && used < nodeEntries && (used == 0 || len(body) < nodeBytes) {
		var n int
		body, n = appendNodeEntry(body, first, &entries[used])
		elements += n
		used++
	}
	var head []byte
	head = appendPackInt(head, int64(used))
	head = appendPackInt(head, 0) // deleted
	head = appendPackInt(head, int64(len(first.Pairs)/2))
	for i := 0; i < len(first.Pairs); i += 2 {
		head = appendPackString(head, first.Pairs[i])
	}
	head = appendPackInt(head, 0) // the master entry's end
	elements += 4 + len(first.Pairs)/2

	dst = AppendLength(dst, 16)
	dst = appendRawID(dst, first.ID)
	total := listpackHeader + len(head) + len(body) + 1
	dst = AppendLength(dst, uint64(total))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(total))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(min(elements, uncounted)))
	dst = append(dst, head...)
	dst = append(dst, body...)
	return append(dst, packEnd), used
}

// appendNodeEntry appends one entry relative to its node's first, and says of
// how many listpack elements it consists.
func appendNodeEntry(dst []byte, first, e *StreamEntry) ([]byte, int) {
	same := sameFields(first.Pairs, e.Pairs)
	flags := 0
	if same {
		flags = entrySameFields
	}
	dst = appendPackInt(dst, int64(flags))
	dst = appendPackInt(dst, int64(e.ID.Ms-first.ID.Ms))
	dst = appendPackInt(dst, int64(e.ID.Seq-first.ID.Seq))
	n := 3
	if !same {
		dst = appendPackInt(dst, int64(len(e.Pairs)/2))
		n++
	}
	for i := 0; i+1 < len(e.Pairs); i += 2 {
		if !same {
			dst = appendPackString(dst, e.Pairs[i])
			n++
		}
		dst = appendPackString(dst, e.Pairs[i+1])
		n++
	}
	return appendPackInt(dst, int64(n)), n + 1
}

func sameFields(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i += 2 {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// appendPackInt appends a number as a listpack element.
func appendPackInt(dst []byte, v int64) []byte {
	from := len(dst)
	switch {
	case v >= 0 && v < 1<<7:
		dst = append(dst, byte(v))
	case v >= -1<<12 && v < 1<<12:
		dst = append(dst, 0xc0|byte(v>>8)&0x1f, byte(v))
	case v >= math.MinInt16 && v <= math.MaxInt16:
		dst = binary.LittleEndian.AppendUint16(append(dst, 0xf1), uint16(v))
	case v >= -1<<23 && v < 1<<23:
		dst = append(dst, 0xf2, byte(v), byte(v>>8), byte(v>>16))
	case v >= math.MinInt32 && v <= math.MaxInt32:
		dst = binary.LittleEndian.AppendUint32(append(dst, 0xf3), uint32(v))
	default:
		dst = binary.LittleEndian.AppendUint64(append(dst, 0xf4), uint64(v))
	}
	return appendBacklen(dst, len(dst)-from)
}

// appendPackString appends text as a listpack element.
func appendPackString(dst, s []byte) []byte {
	from := len(dst)
	switch n := len(s); {
	case n < 1<<6:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<12:
		dst = append(dst, 0xe0|byte(n>>8), byte(n))
	default:
		dst = binary.LittleEndian.AppendUint32(append(dst, 0xf0), uint32(n))
	}
	dst = append(dst, s...)
	return appendBacklen(dst, len(dst)-from)
}

// appendBacklen appends an element's length so that it can be read backwards:
// groups of seven bits, the highest first, all but the first with the top bit set.
func appendBacklen(dst []byte, n int) []byte {
	size := backlenSize(n)
	for i := size - 1; i >= 0; i-- {
		b := byte(n>>(7*i)) & 0x7f
		if i != size-1 {
			b |= 0x80
		}
		dst = append(dst, b)
	}
	return dst
}
