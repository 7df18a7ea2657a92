package rdb

import "io"

// partAbove is how long a string is that comes in parts, of partSize at most.
const (
	partAbove = 1 << 20
	partSize  = 64 << 10
)

// WalkBody is Walk of a value that is read as it comes, in memory that does not
// depend on the value's size. What is longer than 1 MiB and can be as long as
// anyone likes comes in elements of KindPart: a string, a list's items, a set's
// members, a hash field's value, and a module's value of any length. Behind them
// comes the element itself with Parted set and without the bytes that came.
//
// What must be known as one is held: names of hash fields, members of sorted sets,
// blocks of packed lists. Of them no more than 512 MiB are believed.
func (d *Decoder) WalkBody(typ byte, version int, value io.Reader, visit func(*Element) error) error {
	if d.above == 0 {
		d.above = partAbove
	}
	if d.window == nil {
		d.window = make([]byte, 0, bufferSize)
	}
	d.c = cursor{src: value, buf: d.window[:0], plain: true}
	err := d.run(typ, version, visit)
	if cap(d.c.buf) <= shrinkAbove {
		d.window = d.c.buf
	}
	d.c = cursor{}
	return err
}

// long is str for what may come in parts: then it returns nil, and they were visited.
func (d *Decoder) long(k Kind, name []byte) ([]byte, error) {
	if d.c.src == nil {
		return d.str()
	}
	n, enc, err := d.c.lengthOrEnc()
	switch {
	case err != nil:
		return nil, err
	case !enc && n > d.above:
		return nil, d.parts(k, name, n)
	case !enc:
		b, err := d.c.take(n)
		return d.own(b), err
	case n == encLZF:
		packed, plain, err := d.c.lzfHead()
		if err != nil {
			return nil, err
		}
		if max(packed, plain) > d.above {
			return nil, d.lzfParts(k, name, packed, plain)
		}
		at := len(d.scratch)
		d.scratch, err = d.c.lzf(d.scratch, packed, plain)
		return d.scratch[at:len(d.scratch):len(d.scratch)], err
	}
	at := len(d.scratch)
	d.scratch, err = d.c.encoded(d.scratch, n)
	return d.scratch[at:len(d.scratch):len(d.scratch)], err
}

// own copies bytes of the window, which may move.
func (d *Decoder) own(b []byte) []byte {
	at := len(d.scratch)
	d.scratch = append(d.scratch, b...)
	return d.scratch[at:len(d.scratch):len(d.scratch)]
}

// part visits some bytes of a string.
func (d *Decoder) part(of Kind, name, b []byte, whole uint64) error {
	d.el.Kind, d.el.Of, d.el.Whole = KindPart, of, whole
	d.el.A, d.el.B = name, b
	return d.visit(&d.el)
}

// parts visits a plain string.
func (d *Decoder) parts(of Kind, name []byte, whole uint64) error {
	if whole > maxLength {
		return d.c.fail("length beyond any value", ErrCorrupt)
	}
	c := &d.c
	for left := whole; left > 0; {
		c.mark = c.pos
		if err := c.need(1); err != nil {
			return err
		}
		n := min(left, uint64(len(c.buf)-c.pos), partSize)
		c.pos += int(n)
		left -= n
		if err := d.part(of, name, c.buf[c.pos-int(n):c.pos], whole); err != nil {
			return err
		}
	}
	d.el.A, d.el.B, d.el.Parted = name, nil, true
	return nil
}

// moduleParts visits a module's value as it is serialized, from the mark on; the
// module's id was read.
func (d *Decoder) moduleParts() error {
	c := &d.c
	w := walk{c: c, stack: []level{{parts: []part{{kind: partModule}}, times: 1}}}
	for end := false; !end; c.mark = c.pos {
		for !end && c.pos-c.mark < partSize {
			var err error
			if end, err = w.step(); err != nil {
				return err
			}
		}
		if c.pos > c.mark {
			if err := d.part(KindModule, nil, c.buf[c.mark:c.pos], 0); err != nil {
				return err
			}
		}
	}
	d.el.A, d.el.B, d.el.Parted = nil, nil, true
	return d.yield(KindModule)
}
