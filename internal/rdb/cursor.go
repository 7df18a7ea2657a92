package rdb

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
)

// bufferSize is the reader's window: small enough for the second-level cache,
// so that a byte is still there when it is summed, large enough to make reads rare.
const bufferSize = 256 << 10

// shrinkAbove is the window size that is given back once a huge value has passed.
const shrinkAbove = 4 << 20

// cursor reads the primitives of the format from a window of bytes. With a
// source the window slides over it, and what lies at or behind mark stays in
// it; without one, the window is all there is.
type cursor struct {
	buf  []byte // buf[pos:] is unread
	pos  int
	mark int // the first byte that must stay in the window
	base int64
	src  io.Reader
	late error // came with the last bytes that were read
	// ended: the source said that it is at its end.
	ended bool
	// sum is the CRC64 of everything before buf[summed], kept unless plain is set.
	sum    uint64
	summed int
	plain  bool
	// limit, if set, is how many bytes behind mark may be in the window, and how long a
	// compressed string may claim to be; what needs more is errLarge.
	limit int
}

func (c *cursor) offset() int64 { return c.base + int64(c.pos) }

func (c *cursor) fail(msg string, err error) error {
	return &Error{Offset: c.offset(), Msg: msg, Err: err}
}

// need makes sure that n unread bytes are in the window.
func (c *cursor) need(n int) error {
	if len(c.buf)-c.pos >= n {
		return nil
	}
	return c.fill(n)
}

func (c *cursor) fill(n int) error {
	if c.src == nil {
		return c.short()
	}
	if c.limit > 0 && c.pos-c.mark+n > c.limit {
		return errLarge
	}
	c.slide()
	for len(c.buf)-c.pos < n {
		if len(c.buf) == cap(c.buf) {
			// Doubling when full, not to what n claims: memory follows the
			// bytes that came, so a lying length costs nothing.
			c.buf = append(make([]byte, 0, max(bufferSize, 2*cap(c.buf))), c.buf...)
		}
		if err := c.read(); err != nil {
			return err
		}
	}
	return nil
}

// slide drops from the window what lies before mark.
func (c *cursor) slide() {
	if c.mark == 0 {
		return
	}
	c.sumTo(c.mark)
	kept := c.buf[c.mark:]
	if cap(c.buf) > shrinkAbove && len(kept) < bufferSize {
		c.buf = append(make([]byte, 0, bufferSize), kept...)
	} else {
		c.buf = c.buf[:copy(c.buf[:cap(c.buf)], kept)]
	}
	c.base += int64(c.mark)
	c.pos -= c.mark
	c.summed -= c.mark
	c.mark = 0
}

// read takes what the source gives, at least one byte, into the window's free room.
func (c *cursor) read() error {
	for range 100 {
		n, err := 0, c.late
		if err == nil {
			n, err = c.src.Read(c.buf[len(c.buf):cap(c.buf)])
		}
		if n < 0 || n > cap(c.buf)-len(c.buf) {
			return c.fail("the reader returned an impossible count", io.ErrNoProgress)
		}
		c.buf = c.buf[:len(c.buf)+n]
		switch {
		case n > 0:
			c.late = err // not every reader says it again
			return nil
		case errors.Is(err, io.EOF):
			c.ended = true
			return c.short()
		case err != nil:
			return c.fail("cannot read on", err)
		}
	}
	return c.fail("cannot read on", io.ErrNoProgress)
}

// short reports the input's end, which is at the end of the window.
func (c *cursor) short() error {
	return &Error{Offset: c.base + int64(len(c.buf)), Msg: "unexpected end", Err: ErrTruncated}
}

// sumTo adds the window up to index i to the checksum.
func (c *cursor) sumTo(i int) {
	if i > c.summed && !c.plain {
		c.sum = CRC64(c.sum, c.buf[c.summed:i])
		c.summed = i
	}
}

// atEnd says what follows a value that should be at its end.
func (c *cursor) atEnd() error {
	if c.src == nil {
		if n := len(c.buf) - c.pos; n > 0 {
			return c.fail(strconv.Itoa(n)+" bytes follow the value", ErrCorrupt)
		}
		return nil
	}
	c.mark = c.pos
	err := c.need(1)
	switch {
	case err == nil:
		return c.fail("bytes follow the value", ErrCorrupt)
	case c.ended:
		return nil
	}
	return err
}

func (c *cursor) byte() (byte, error) {
	if c.pos >= len(c.buf) {
		if err := c.fill(1); err != nil {
			return 0, err
		}
	}
	b := c.buf[c.pos]
	c.pos++
	return b, nil
}

// skip passes n bytes.
func (c *cursor) skip(n uint64) error {
	if uint64(len(c.buf)-c.pos) < n {
		if n > maxLength {
			return c.fail("length beyond any value", ErrCorrupt)
		}
		if err := c.fill(int(n)); err != nil {
			return err
		}
	}
	c.pos += int(n)
	return nil
}

// passOver passes n bytes that nobody needs, and nothing before them: they leave the window.
func (c *cursor) passOver(n uint64) error {
	if n > maxLength {
		return c.fail("length beyond any value", ErrCorrupt)
	}
	for n > 0 {
		c.mark = c.pos
		if err := c.need(1); err != nil {
			return err
		}
		part := min(n, uint64(len(c.buf)-c.pos))
		c.pos += int(part)
		n -= part
	}
	return nil
}

// take returns the next n bytes, valid while the window does not move.
func (c *cursor) take(n uint64) ([]byte, error) {
	if err := c.skip(n); err != nil {
		return nil, err
	}
	return c.buf[c.pos-int(n) : c.pos], nil
}

func (c *cursor) uint64() (uint64, error) {
	b, err := c.take(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// maxLength is the longest string believed: one petabyte is surely a lie, and
// sums of such lengths do not overflow.
const maxLength = 1 << 50

// Encodings of strings that are no plain bytes.
const (
	encInt8  = 0
	encInt16 = 1
	encInt32 = 2
	encLZF   = 3
)

// lengthOrEnc reads a length; enc is true where it is one of the special encodings instead.
func (c *cursor) lengthOrEnc() (n uint64, enc bool, err error) {
	b, err := c.byte()
	if err != nil {
		return 0, false, err
	}
	switch {
	case b < 0x40:
		return uint64(b), false, nil
	case b < 0x80:
		low, err := c.byte()
		return uint64(b&0x3f)<<8 | uint64(low), false, err
	case b >= 0xc0:
		return uint64(b & 0x3f), true, nil
	case b == 0x80:
		p, err := c.take(4)
		if err != nil {
			return 0, false, err
		}
		return uint64(binary.BigEndian.Uint32(p)), false, nil
	case b == 0x81:
		p, err := c.take(8)
		if err != nil {
			return 0, false, err
		}
		return binary.BigEndian.Uint64(p), false, nil
	}
	c.pos--
	return 0, false, c.fail("bad length encoding", ErrCorrupt)
}

// length reads a length that cannot be one of the special encodings.
func (c *cursor) length() (uint64, error) {
	n, enc, err := c.lengthOrEnc()
	if err == nil && enc {
		return 0, c.fail("an encoded string where a length belongs", ErrCorrupt)
	}
	return n, err
}

// skipString passes one string in any encoding.
func (c *cursor) skipString() error {
	n, err := c.stringHead()
	if err != nil {
		return err
	}
	return c.skip(n)
}

// stringHead passes what stands before a string's bytes, and returns how many
// bytes there are in the encoding that it has.
func (c *cursor) stringHead() (uint64, error) {
	n, enc, err := c.lengthOrEnc()
	if err != nil || !enc {
		return n, err
	}
	switch n {
	case encInt8, encInt16, encInt32:
		return 1 << n, nil
	case encLZF:
		packed, plain, err := c.lzfHead()
		if c.limit > 0 && plain > uint64(c.limit) && err == nil {
			return 0, errLarge
		}
		return packed, err
	}
	return 0, c.fail("unknown string encoding", ErrCorrupt)
}

// maxHeld is the longest string that is read as one from a file: the default of
// proto-max-bulk-len, so the longest that a server takes from a client.
const maxHeld = 512 << 20

// str reads one string in any encoding as plain bytes: a part of the window, or
// for encoded ones the end of scratch, which is returned grown.
func (c *cursor) str(scratch []byte) (s, grown []byte, err error) {
	n, enc, err := c.lengthOrEnc()
	if err != nil {
		return nil, scratch, err
	}
	if !enc {
		if err := c.holds(n); err != nil {
			return nil, scratch, err
		}
		s, err = c.take(n)
		return s, scratch, err
	}
	at := len(scratch)
	scratch, err = c.encoded(scratch, n)
	return scratch[at:len(scratch):len(scratch)], scratch, err
}

// holds refuses a string that is too long to be read as one.
func (c *cursor) holds(n uint64) error {
	if n > maxHeld && c.src != nil {
		return c.fail("a name or packed list of "+strconv.FormatUint(n, 10)+" bytes; at most 512 MiB are held at once", ErrCorrupt)
	}
	return nil
}

// encoded appends to dst the plain bytes of a string in a special encoding.
func (c *cursor) encoded(dst []byte, enc uint64) ([]byte, error) {
	switch enc {
	case encInt8, encInt16, encInt32:
		v, err := c.encodedInt(enc)
		if err != nil {
			return dst, err
		}
		return appendInt(dst, v), nil
	case encLZF:
		packed, plain, err := c.lzfHead()
		if err != nil {
			return dst, err
		}
		return c.lzf(dst, packed, plain)
	}
	return dst, c.fail("unknown string encoding", ErrCorrupt)
}

func (c *cursor) encodedInt(enc uint64) (int64, error) {
	p, err := c.take(1 << enc)
	if err != nil {
		return 0, err
	}
	switch enc {
	case encInt8:
		return int64(int8(p[0])), nil
	case encInt16:
		return int64(int16(binary.LittleEndian.Uint16(p))), nil
	}
	return int64(int32(binary.LittleEndian.Uint32(p))), nil
}

// lzfHead reads how long a compressed string is, packed and plain.
func (c *cursor) lzfHead() (packed, plain uint64, err error) {
	if packed, err = c.length(); err != nil {
		return 0, 0, err
	}
	plain, err = c.length()
	return packed, plain, err
}

// lzf appends a compressed string to dst.
func (c *cursor) lzf(dst []byte, packed, plain uint64) ([]byte, error) {
	if err := c.holds(max(packed, plain)); err != nil {
		return dst, err
	}
	p, err := c.take(packed)
	if err != nil {
		return dst, err
	}
	out, err := appendLZF(dst, p, plain)
	if err != nil {
		return dst, c.fail(err.Error(), ErrCorrupt)
	}
	return out, nil
}
