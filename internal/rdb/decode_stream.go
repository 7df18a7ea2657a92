package rdb

import "encoding/binary"

// Flags of an entry in a stream's node.
const (
	entryDeleted    = 1
	entrySameFields = 2 // the names are those of the node's first entry
)

func (d *Decoder) stream(typ byte) error {
	nodes, err := d.c.count()
	if err != nil {
		return err
	}
	for range nodes {
		if err := d.streamNode(); err != nil {
			return err
		}
	}
	m := &d.el.Meta
	*m = StreamMeta{Full: typ != TypeStream}
	numbers := []*uint64{
		&m.Length, &m.Last.Ms, &m.Last.Seq,
		&m.First.Ms, &m.First.Seq, &m.MaxDeleted.Ms, &m.MaxDeleted.Seq, &m.Added,
	}
	if err := d.lengths(numbers[:streamLengths(typ)]); err != nil {
		return err
	}
	if err := d.yield(KindStream); err != nil {
		return err
	}
	groups, err := d.c.count()
	if err != nil {
		return err
	}
	for range groups {
		if err := d.group(typ); err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) lengths(to []*uint64) (err error) {
	for _, n := range to {
		if *n, err = d.c.length(); err != nil {
			return err
		}
	}
	return nil
}

// rawID reads an id in its binary form, 16 bytes big-endian.
func rawID(b []byte) StreamID {
	return StreamID{Ms: binary.BigEndian.Uint64(b), Seq: binary.BigEndian.Uint64(b[8:])}
}

// streamNode walks one node: the id that the ids in it are relative to, and a
// listpack of a master entry (live entries, deleted ones, names, 0) and entries.
func (d *Decoder) streamNode() error {
	d.fresh()
	key, err := d.str()
	if err != nil {
		return err
	}
	if len(key) != 16 {
		return d.corrupt(errPack("a stream node's id is not 16 bytes long"))
	}
	base := rawID(key)
	p, err := d.openBlock(false)
	if err != nil {
		return err
	}
	for range 2 { // live and deleted entries: what follows tells as much
		if _, err := d.mustInt(&p); err != nil {
			return err
		}
	}
	if err := d.masterFields(&p); err != nil {
		return err
	}
	for {
		more, err := d.streamEntry(&p, base)
		if err != nil || !more {
			return err
		}
	}
}

// masterFields reads the names that the node's entries may refer to. They live
// longer than an element, so numbers among them get memory of their own.
func (d *Decoder) masterFields(p *pack) error {
	n, err := d.mustInt(p)
	if err != nil {
		return err
	}
	d.master, d.masters = d.master[:0], d.masters[:0]
	for ; n > 0; n-- {
		e, err := d.must(p)
		if err != nil {
			return err
		}
		name := e.b
		if e.isInt {
			at := len(d.masters)
			d.masters = appendInt(d.masters, e.n)
			name = d.masters[at:len(d.masters):len(d.masters)]
		}
		d.master = append(d.master, name)
	}
	_, err = d.mustInt(p) // 0, the master entry's end
	return err
}

// streamEntry walks one entry; more is false at the node's end.
func (d *Decoder) streamEntry(p *pack, base StreamID) (more bool, err error) {
	e, ok, err := p.next()
	if err != nil {
		return false, d.corrupt(err)
	}
	if !ok {
		return false, nil
	}
	if !e.isInt {
		return false, d.corrupt(errPack("a stream entry's flags are no number"))
	}
	flags := e.n
	ms, err := d.mustInt(p)
	if err != nil {
		return false, err
	}
	seq, err := d.mustInt(p)
	if err != nil {
		return false, err
	}
	d.el.ID = StreamID{Ms: base.Ms + uint64(ms), Seq: base.Seq + uint64(seq)}
	if err := d.pairs(p, flags&entrySameFields != 0); err != nil {
		return false, err
	}
	if _, err := d.mustInt(p); err != nil { // how many elements the entry has
		return false, err
	}
	if flags&entryDeleted != 0 {
		return true, nil
	}
	return true, d.yield(KindEntry)
}

// pairs collects an entry's names and values.
func (d *Decoder) pairs(p *pack, same bool) error {
	d.scratch = d.scratch[:0]
	d.el.Pairs = d.el.Pairs[:0]
	n := int64(len(d.master))
	if !same {
		var err error
		if n, err = d.mustInt(p); err != nil {
			return err
		}
	}
	for i := range n {
		var name []byte
		if same {
			name = d.master[i]
		} else {
			e, err := d.must(p)
			if err != nil {
				return err
			}
			name = d.plain(e)
		}
		e, err := d.must(p)
		if err != nil {
			return err
		}
		d.el.Pairs = append(d.el.Pairs, name, d.plain(e))
	}
	return nil
}

func (d *Decoder) group(typ byte) (err error) {
	d.fresh()
	if d.el.A, err = d.str(); err != nil {
		return err
	}
	d.el.Count = ^uint64(0)
	numbers := []*uint64{&d.el.ID.Ms, &d.el.ID.Seq, &d.el.Count}
	if typ == TypeStream {
		numbers = numbers[:2]
	}
	if err := d.lengths(numbers); err != nil {
		return err
	}
	if err := d.yield(KindGroup); err != nil {
		return err
	}
	pending, err := d.c.count()
	if err != nil {
		return err
	}
	for range pending {
		if err := d.pending(); err != nil {
			return err
		}
	}
	consumers, err := d.c.count()
	if err != nil {
		return err
	}
	for range consumers {
		if err := d.consumer(typ); err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) pending() error {
	d.c.mark = d.c.pos
	b, err := d.c.take(16)
	if err != nil {
		return err
	}
	d.el.ID = rawID(b)
	ms, err := d.c.uint64()
	if err != nil {
		return err
	}
	d.el.Time = int64(ms)
	if d.el.Count, err = d.c.length(); err != nil {
		return err
	}
	return d.yield(KindPending)
}

func (d *Decoder) consumer(typ byte) (err error) {
	d.fresh()
	if d.el.A, err = d.str(); err != nil {
		return err
	}
	seen, err := d.c.uint64()
	if err != nil {
		return err
	}
	active := ^uint64(0) // -1: never, or not known
	if typ == TypeStream3 {
		if active, err = d.c.uint64(); err != nil {
			return err
		}
	}
	d.el.Time, d.el.Active = int64(seen), int64(active)
	if err := d.yield(KindConsumer); err != nil {
		return err
	}
	owned, err := d.c.count()
	if err != nil {
		return err
	}
	for range owned {
		d.c.mark = d.c.pos
		b, err := d.c.take(16)
		if err != nil {
			return err
		}
		d.el.ID = rawID(b)
		if err := d.yield(KindOwned); err != nil {
			return err
		}
	}
	return nil
}
