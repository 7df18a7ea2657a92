package rdb

import "encoding/binary"

// pack iterates the elements of a listpack or a ziplist: a sequence of strings
// and integers in one block of bytes.
type pack struct {
	b    []byte
	pos  int
	zip  bool
	left int // elements that the header still promises; negative when it does not count
}

// element is one of a pack: bytes of the block, or a number.
type element struct {
	b     []byte
	n     int64
	isInt bool
}

const (
	listpackHeader = 6  // total bytes, elements
	ziplistHeader  = 10 // total bytes, offset of the last element, elements
	packEnd        = 0xff
	uncounted      = 0xffff // the element count of packs with more than the field holds
)

// errPack is why a block is not a listpack or ziplist.
type errPack string

func (e errPack) Error() string { return string(e) }

// openPack checks a block's header.
func openPack(b []byte, zip bool) (pack, error) {
	header := listpackHeader
	if zip {
		header = ziplistHeader
	}
	if len(b) < header+1 {
		return pack{}, errPack("packed list shorter than its header")
	}
	if total := binary.LittleEndian.Uint32(b); uint64(total) != uint64(len(b)) {
		return pack{}, errPack("packed list states another length than it has")
	}
	if b[len(b)-1] != packEnd {
		return pack{}, errPack("packed list without its end mark")
	}
	p := pack{b: b, pos: header, zip: zip, left: int(binary.LittleEndian.Uint16(b[header-2:]))}
	if p.left == uncounted {
		p.left = -1
	}
	return p, nil
}

// next returns the next element; ok is false at the end.
func (p *pack) next() (e element, ok bool, err error) {
	if p.pos == len(p.b)-1 {
		if p.left > 0 {
			return e, false, errPack("packed list has fewer elements than it states")
		}
		return e, false, nil
	}
	if p.left == 0 {
		return e, false, errPack("packed list has more elements than it states")
	}
	if p.left > 0 {
		p.left--
	}
	if p.zip {
		err = p.nextZip(&e)
	} else {
		err = p.nextList(&e)
	}
	return e, err == nil, err
}

// short returns the next element where it is what nearly all are, a string of up to
// 63 bytes in a listpack; nil says that it may be anything, and is for next.
func (p *pack) short() []byte {
	if p.zip || p.left <= 0 {
		return nil
	}
	n := int(p.b[p.pos]) - 0x80
	from := p.pos + 1
	// Behind it stand its length, in one byte, and at least the end mark.
	if uint(n) > 63 || from+n+1 >= len(p.b) {
		return nil
	}
	p.left--
	p.pos = from + n + 1
	return p.b[from : from+n : from+n]
}

// bytes takes n bytes; none of them may be the end mark's.
func (p *pack) bytes(n int) ([]byte, error) {
	if n < 0 || n > len(p.b)-1-p.pos {
		return nil, errPack("element reaches beyond its packed list")
	}
	p.pos += n
	return p.b[p.pos-n : p.pos : p.pos], nil
}

func (p *pack) text(e *element, n int) (err error) {
	e.b, err = p.bytes(n)
	return err
}

// number takes a signed little-endian integer of 1, 2, 3, 4 or 8 bytes.
func (p *pack) number(e *element, n int) error {
	b, err := p.bytes(n)
	if err != nil {
		return err
	}
	e.isInt = true
	switch n {
	case 1:
		e.n = int64(int8(b[0]))
	case 2:
		e.n = int64(int16(binary.LittleEndian.Uint16(b)))
	case 3:
		e.n = int64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24) >> 8)
	case 4:
		e.n = int64(int32(binary.LittleEndian.Uint32(b)))
	default:
		e.n = int64(binary.LittleEndian.Uint64(b))
	}
	return nil
}

func (p *pack) nextList(e *element) error {
	from := p.pos
	c := p.b[p.pos]
	p.pos++
	var err error
	switch {
	case c < 0x80: // 7 bits
		e.n, e.isInt = int64(c), true
	case c < 0xc0: // a string of up to 63 bytes
		err = p.text(e, int(c&0x3f))
	case c < 0xe0: // 13 bits, signed
		var b []byte
		if b, err = p.bytes(1); err == nil {
			v := int64(c&0x1f)<<8 | int64(b[0])
			e.n, e.isInt = v<<51>>51, true
		}
	case c < 0xf0: // a string of up to 4095 bytes
		var b []byte
		if b, err = p.bytes(1); err == nil {
			err = p.text(e, int(c&0x0f)<<8|int(b[0]))
		}
	case c == 0xf0:
		var b []byte
		if b, err = p.bytes(4); err == nil {
			err = p.text(e, int(binary.LittleEndian.Uint32(b)))
		}
	case c <= 0xf3: // 16, 24, 32 bits
		err = p.number(e, int(c-0xf1)+2)
	case c == 0xf4:
		err = p.number(e, 8)
	default:
		err = errPack("unknown encoding of a listpack element")
	}
	if err != nil {
		return err
	}
	// Behind each element stands its length, for walking backwards.
	_, err = p.bytes(backlenSize(p.pos - from))
	return err
}

// backlenSize is how many bytes a listpack element's length takes behind it.
func backlenSize(n int) int {
	switch {
	case n <= 127:
		return 1
	case n < 16383:
		return 2
	case n < 2097151:
		return 3
	case n < 268435455:
		return 4
	}
	return 5
}

func (p *pack) nextZip(e *element) error {
	// Before each element stands the length of the one before it.
	prev := 1
	if p.b[p.pos] >= 254 {
		prev = 5
	}
	if _, err := p.bytes(prev); err != nil {
		return err
	}
	b, err := p.bytes(1)
	if err != nil {
		return err
	}
	c := b[0]
	switch {
	case c < 0x40:
		return p.text(e, int(c))
	case c < 0x80:
		if b, err = p.bytes(1); err != nil {
			return err
		}
		return p.text(e, int(c&0x3f)<<8|int(b[0]))
	case c < 0xc0:
		if b, err = p.bytes(4); err != nil {
			return err
		}
		return p.text(e, int(binary.BigEndian.Uint32(b)))
	case c == 0xc0:
		return p.number(e, 2)
	case c == 0xd0:
		return p.number(e, 4)
	case c == 0xe0:
		return p.number(e, 8)
	case c == 0xf0:
		return p.number(e, 3)
	case c == 0xfe:
		return p.number(e, 1)
	case c > 0xf0 && c < 0xfe: // 0 to 12 in the byte itself
		e.n, e.isInt = int64(c&0x0f)-1, true
		return nil
	}
	return errPack("unknown encoding of a ziplist element")
}
