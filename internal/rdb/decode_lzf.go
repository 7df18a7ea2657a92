package rdb

// lzfWindow is how far back LZF data refers.
const lzfWindow = 8 << 10

// lzfParts visits a compressed string as it is unpacked, holding no more of it than
// its references reach.
func (d *Decoder) lzfParts(of Kind, name []byte, packed, plain uint64) error {
	c := &d.c
	if packed > maxLength || plain > packed*maxLZFRatio {
		return c.fail(errLZF.Error(), ErrCorrupt)
	}
	u := unpacker{d: d, left: packed, plain: plain, of: of, name: name}
	for u.left > 0 {
		if err := u.step(); err != nil {
			return err
		}
	}
	if err := u.give(0); err != nil {
		return err
	}
	if u.given != plain {
		return u.bad()
	}
	d.el.A, d.el.B, d.el.Parted = name, nil, true
	return nil
}

// unpacker unpacks one string.
type unpacker struct {
	d     *Decoder
	left  uint64 // packed bytes
	plain uint64 // how many plain ones there must be
	given uint64 // how many were visited
	// out holds what was unpacked last; out[:seen] was visited.
	out  []byte
	seen int
	of   Kind
	name []byte
}

func (u *unpacker) bad() error { return u.d.c.fail(errLZF.Error(), ErrCorrupt) }

// take returns the next packed bytes.
func (u *unpacker) take(n uint64) ([]byte, error) {
	if n > u.left {
		return nil, u.bad()
	}
	u.left -= n
	u.d.c.mark = u.d.c.pos
	return u.d.c.take(n)
}

// step unpacks a literal run or a reference.
func (u *unpacker) step() error {
	b, err := u.take(1)
	if err != nil {
		return err
	}
	ctrl := int(b[0])
	if ctrl < 32 {
		if b, err = u.take(uint64(ctrl) + 1); err != nil {
			return err
		}
		u.out = append(u.out, b...)
		return u.full()
	}
	length := ctrl >> 5
	if length == 7 {
		if b, err = u.take(1); err != nil {
			return err
		}
		length += int(b[0])
	}
	if b, err = u.take(1); err != nil {
		return err
	}
	from := len(u.out) - (ctrl&31<<8 | int(b[0])) - 1
	if from < 0 {
		return u.bad()
	}
	// The range may overlap what is being written, and repeats its own output then.
	for length += 2; length > 0; {
		part := min(length, len(u.out)-from)
		u.out = append(u.out, u.out[from:from+part]...)
		from += part
		length -= part
	}
	return u.full()
}

// full visits what has come together once it is enough for a part.
func (u *unpacker) full() error {
	if len(u.out)-u.seen < partSize-512 {
		return nil
	}
	return u.give(lzfWindow)
}

// give visits what was not, and keeps the last bytes for references.
func (u *unpacker) give(keep int) error {
	b := u.out[u.seen:]
	u.given += uint64(len(b))
	if u.given > u.plain {
		return u.bad()
	}
	if len(b) > 0 {
		if err := u.d.part(u.of, u.name, b, u.plain); err != nil {
			return err
		}
	}
	if keep = min(keep, len(u.out)); keep > 0 {
		u.out = u.out[:copy(u.out, u.out[len(u.out)-keep:])]
	} else {
		u.out = u.out[:0]
	}
	u.seen = len(u.out)
	return nil
}
