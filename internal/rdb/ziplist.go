package rdb

import "encoding/binary"

// ziplist makes a ziplist, the packed list of engines before Redis 7.
type ziplist struct {
	b    []byte
	prev int // length of the last element, 0 before the first
	last int // where it begins
	n    int
}

func (z *ziplist) reset() {
	var header [ziplistHeader]byte
	*z = ziplist{b: append(z.b[:0], header[:]...), last: ziplistHeader}
}

// add appends an element: the length of the one before it, how it is encoded, and itself.
func (z *ziplist) add(e element) {
	at := len(z.b)
	if z.prev < 254 {
		z.b = append(z.b, byte(z.prev))
	} else {
		z.b = binary.LittleEndian.AppendUint32(append(z.b, 254), uint32(z.prev))
	}
	if e.isInt {
		z.number(e.n)
	} else {
		z.text(e.b)
	}
	z.prev, z.last = len(z.b)-at, at
	z.n++
}

func (z *ziplist) text(s []byte) {
	switch n := len(s); {
	case n < 1<<6:
		z.b = append(z.b, byte(n))
	case n < 1<<14:
		z.b = append(z.b, 0x40|byte(n>>8), byte(n))
	default:
		z.b = binary.BigEndian.AppendUint32(append(z.b, 0x80), uint32(n))
	}
	z.b = append(z.b, s...)
}

func (z *ziplist) number(v int64) {
	switch {
	case v >= 0 && v <= 12:
		z.b = append(z.b, 0xf1+byte(v))
	case v == int64(int8(v)):
		z.b = append(z.b, 0xfe, byte(v))
	case v == int64(int16(v)):
		z.b = binary.LittleEndian.AppendUint16(append(z.b, 0xc0), uint16(v))
	case v >= -1<<23 && v < 1<<23:
		z.b = append(z.b, 0xf0, byte(v), byte(v>>8), byte(v>>16))
	case v == int64(int32(v)):
		z.b = binary.LittleEndian.AppendUint32(append(z.b, 0xd0), uint32(v))
	default:
		z.b = binary.LittleEndian.AppendUint64(append(z.b, 0xe0), uint64(v))
	}
}

// bytes ends the list and returns it.
func (z *ziplist) bytes() []byte {
	z.b = append(z.b, packEnd)
	binary.LittleEndian.PutUint32(z.b, uint32(len(z.b)))
	binary.LittleEndian.PutUint32(z.b[4:], uint32(z.last))
	binary.LittleEndian.PutUint16(z.b[8:], uint16(min(z.n, uncounted)))
	return z.b
}
