package rdb

import "encoding/binary"

// plain returns an element's bytes, in scratch where it is a number.
func (d *Decoder) plain(e element) []byte {
	if !e.isInt {
		return e.b
	}
	at := len(d.scratch)
	d.scratch = appendInt(d.scratch, e.n)
	return d.scratch[at:len(d.scratch):len(d.scratch)]
}

// openBlock reads a string that is a packed list.
func (d *Decoder) openBlock(zip bool) (pack, error) {
	b, err := d.block()
	if err != nil {
		return pack{}, err
	}
	p, err := openPack(b, zip)
	if err != nil {
		return p, d.corrupt(err)
	}
	return p, nil
}

// packed walks a value that is one packed list.
func (d *Decoder) packed(k Kind, zip bool) error {
	p, err := d.openBlock(zip)
	if err != nil {
		return err
	}
	return d.pack(k, &p)
}

func (d *Decoder) pack(k Kind, p *pack) error {
	d.el.ExpireAt = 0
	for {
		d.scratch = d.scratch[:0]
		if d.el.A = p.short(); d.el.A == nil {
			e, ok, err := p.next()
			if err != nil {
				return d.corrupt(err)
			}
			if !ok {
				return nil
			}
			d.el.A = d.plain(e)
		}
		if k == KindField || k == KindScored {
			if err := d.second(k, p); err != nil {
				return err
			}
		}
		if err := d.yield(k); err != nil {
			return err
		}
	}
}

// second takes what belongs to a field or member that was taken.
func (d *Decoder) second(k Kind, p *pack) (err error) {
	e := element{b: p.short()}
	if e.b == nil {
		if e, err = d.must(p); err != nil {
			return err
		}
	}
	switch {
	case k == KindField:
		d.el.B = d.plain(e)
	case e.isInt:
		d.el.Score = float64(e.n)
	default:
		d.el.Score, err = d.parseScore(e.b)
	}
	return err
}

// must takes an element that has to be there.
func (d *Decoder) must(p *pack) (element, error) {
	e, ok, err := p.next()
	if err != nil {
		return e, d.corrupt(err)
	}
	if !ok {
		return e, d.corrupt(errPack("packed list ends in the middle"))
	}
	return e, nil
}

// mustInt takes an element that has to be a number.
func (d *Decoder) mustInt(p *pack) (int64, error) {
	e, err := d.must(p)
	if err == nil && !e.isInt {
		return 0, d.corrupt(errPack("packed list has text where a number belongs"))
	}
	return e.n, err
}

// hashTTLPacked walks name, value, expiry (0: never) in a listpack.
func (d *Decoder) hashTTLPacked(typ byte) error {
	if typ == TypeHashTTLPacked {
		if err := d.c.skip(8); err != nil { // the soonest expiry, which the fields tell too
			return err
		}
	}
	p, err := d.openBlock(false)
	if err != nil {
		return err
	}
	for {
		d.scratch = d.scratch[:0]
		e, ok, err := p.next()
		if err != nil {
			return d.corrupt(err)
		}
		if !ok {
			return nil
		}
		d.el.A = d.plain(e)
		if e, err = d.must(&p); err != nil {
			return err
		}
		d.el.B = d.plain(e)
		if d.el.ExpireAt, err = d.mustInt(&p); err != nil {
			return err
		}
		if err := d.yield(KindField); err != nil {
			return err
		}
	}
}

// The container kinds of a quicklist's nodes.
const (
	nodePlain  = 1
	nodePacked = 2
)

func (d *Decoder) quicklist(typ byte) error {
	n, err := d.c.count()
	if err != nil {
		return err
	}
	for range n {
		d.c.mark = d.c.pos
		kind := uint64(nodePacked)
		if typ == TypeQuicklist2 {
			if kind, err = d.c.length(); err != nil {
				return err
			}
		}
		switch kind {
		case nodePlain:
			err = d.strings(KindItem, 1)
		case nodePacked:
			err = d.packed(KindItem, typ == TypeQuicklist)
		default:
			err = d.c.fail("unknown kind of list node", ErrCorrupt)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// zipmap walks the form of small hashes up to Redis 2.4: name length, name,
// value length, unused bytes, value; lengths from 254 on take four more bytes.
func (d *Decoder) zipmap() error {
	b, err := d.block()
	if err != nil {
		return err
	}
	if len(b) < 2 || b[len(b)-1] != packEnd {
		return d.corrupt(errPack("zipmap without its end mark"))
	}
	b = b[1 : len(b)-1] // without the count, which is capped, and the mark
	d.el.ExpireAt = 0
	for len(b) > 0 {
		if d.el.A, b, err = zipmapString(b, 0); err == nil {
			d.el.B, b, err = zipmapString(b, 1)
		}
		if err != nil {
			return d.corrupt(err)
		}
		if err := d.yield(KindField); err != nil {
			return err
		}
	}
	return nil
}

// zipmapString takes a length, as many unused bytes as the byte after it says
// where slack is 1, and the string.
func zipmapString(b []byte, slack int) (s, rest []byte, err error) {
	bad := errPack("zipmap string reaches beyond its end")
	if len(b) < 1 {
		return nil, nil, bad
	}
	n, head := uint64(b[0]), 1
	if n >= 254 {
		if len(b) < 5 {
			return nil, nil, bad
		}
		n, head = uint64(binary.LittleEndian.Uint32(b[1:])), 5
	}
	unused := 0
	if slack > 0 {
		if len(b) <= head {
			return nil, nil, bad
		}
		unused = int(b[head])
		head++
	}
	if uint64(len(b)) < uint64(head+unused)+n {
		return nil, nil, bad
	}
	end := head + int(n)
	return b[head:end:end], b[end+unused:], nil
}
