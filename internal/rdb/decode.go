package rdb

import (
	"encoding/binary"
	"math"
	"strconv"
)

// Kind says what an Element is, and so which of its fields mean something.
type Kind uint8

// The kinds, by class of the value. Streams yield their entries in the order of
// ids, then one KindStream, then for each group a KindGroup with its KindPending
// elements, and for each of its consumers a KindConsumer with its KindOwned elements.
const (
	KindString    Kind = iota + 1 // A: the string
	KindItem                      // A: an item of a list, from head to tail
	KindMember                    // A: a member of a set
	KindScored                    // A, Score: a member of a sorted set
	KindField                     // A, B, ExpireAt: name, value and expiry (0: never) of a hash field
	KindEntry                     // ID, Pairs: an entry of a stream
	KindStream                    // Meta: what a stream knows of itself
	KindGroup                     // A, ID, Count: name, last delivered id, entries read (as uint64; all ones: unknown)
	KindPending                   // ID, Time, Count: an entry delivered to the group and not acknowledged; when last (ms), how often
	KindConsumer                  // A, Time, Active: name, last seen, last active (ms; -1: never or not known)
	KindOwned                     // ID: a pending entry that is this consumer's
	KindModule                    // A: a module's whole value, opaque
	KindVectorSet                 // Count, B: what a vector set is made with, and its projection; see Decoder.VectorSets
	KindVector                    // A, B, Pairs, Count: name, vector, attributes (Pairs[0], may be empty), norm and range of an element
	KindPart                      // Of, B, Whole: a part of a long string; see Decoder.WalkBody. A: the name if Of is KindField
)

// StreamID is the id of a stream's entry.
type StreamID struct{ Ms, Seq uint64 }

// StreamMeta is what a stream knows besides entries and groups. Values of
// TypeStream have only Length and Last; Full is false for them.
type StreamMeta struct {
	Length     uint64
	Last       StreamID
	First      StreamID
	MaxDeleted StreamID
	Added      uint64
	Full       bool
}

// Element is one piece of a value; see Kind for its fields.
type Element struct {
	Kind     Kind
	A, B     []byte
	Score    float64
	ExpireAt int64
	ID       StreamID
	// Pairs holds field, value, field, value … of a stream's entry.
	Pairs  [][]byte
	Count  uint64
	Time   int64
	Active int64
	Meta   StreamMeta
	// Of is what a part belongs to, Whole the length of all its parts together (0
	// for modules: not known), and Parted says of the element that they came before.
	Of     Kind
	Whole  uint64
	Parted bool
}

// Decoder walks values. It reuses its memory from value to value; it is not
// safe for use by several goroutines at once. The zero Decoder is ready.
type Decoder struct {
	// VectorSets has vector sets visited element by element (KindVectorSet, then
	// KindVector). Otherwise they are opaque like every module's value.
	VectorSets bool

	c       cursor
	el      Element
	visit   func(*Element) error
	scratch []byte   // elements that are not stored as plain bytes
	blob    []byte   // a packed list that is stored compressed
	window  []byte   // of WalkBody, kept for the next
	count   uint64   // elements that a value says ahead that it has
	above   uint64   // from what length on strings come in parts, partAbove if 0
	master  [][]byte // the field names that a stream node's entries share
	masters []byte   // those of them that are not stored as plain bytes
}

// Walk calls visit for every element of a value, in the order of the encoding.
// The element and its bytes are valid until visit returns; an error that visit
// returns ends the walk and is returned as it is. The version is that of the
// file or payload; it tells dialects apart.
func (d *Decoder) Walk(typ byte, version int, value []byte, visit func(*Element) error) error {
	d.c = cursor{buf: value}
	return d.run(typ, version, visit)
}

// run walks what the cursor reads, to its end.
func (d *Decoder) run(typ byte, version int, visit func(*Element) error) error {
	d.visit = visit
	d.el.Parted = false
	err := d.walk(typ, version)
	d.visit = nil
	if cap(d.blob) > shrinkAbove {
		d.blob = nil
	}
	if cap(d.scratch) > shrinkAbove {
		d.scratch = nil
	}
	if err != nil {
		return err
	}
	return d.c.atEnd()
}

func (d *Decoder) walk(typ byte, version int) error {
	switch typ {
	case TypeString:
		return d.strings(KindString, 1)
	case TypeList:
		return d.counted(KindItem)
	case TypeSet:
		return d.counted(KindMember)
	case TypeZSet, TypeZSet2:
		return d.zset(typ)
	case TypeHash:
		return d.hash()
	case TypeHashZipmap:
		return d.zipmap()
	case TypeSetIntset:
		return d.intset()
	case TypeListZiplist:
		return d.packed(KindItem, true)
	case TypeZSetZiplist:
		return d.packed(KindScored, true)
	case TypeHashZiplist:
		return d.packed(KindField, true)
	case TypeHashListpack:
		return d.packed(KindField, false)
	case TypeZSetListpack:
		return d.packed(KindScored, false)
	case TypeSetListpack:
		return d.packed(KindMember, false)
	case TypeQuicklist, TypeQuicklist2:
		return d.quicklist(typ)
	case TypeStream, TypeStream2, TypeStream3:
		return d.stream(typ)
	case TypeModule2:
		return d.module()
	}
	if version >= ValkeyVersion {
		if typ == TypeHash2 {
			return d.hash2()
		}
	} else {
		switch typ {
		case TypeHashTTLRC, TypeHashTTL:
			return d.hashTTL(typ)
		case TypeHashTTLPackedRC, TypeHashTTLPacked:
			return d.hashTTLPacked(typ)
		}
	}
	return d.c.fail("a value of type "+strconv.Itoa(int(typ)), ErrType)
}

// corrupt reports a broken packed list, at the end of its bytes.
func (d *Decoder) corrupt(err error) error { return d.c.fail(err.Error(), ErrCorrupt) }

// str reads a string, into scratch where it is not stored plainly or where the
// window may move before the element is complete.
func (d *Decoder) str() (s []byte, err error) {
	at := len(d.scratch)
	s, d.scratch, err = d.c.str(d.scratch)
	if d.c.src != nil && len(d.scratch) == at {
		d.scratch = append(d.scratch, s...)
		s = d.scratch[at:len(d.scratch):len(d.scratch)]
	}
	return s, err
}

// fresh begins an element: what came before it is not needed any more.
func (d *Decoder) fresh() {
	d.scratch = d.scratch[:0]
	d.c.mark = d.c.pos
}

func (d *Decoder) yield(k Kind) error {
	d.el.Kind = k
	err := d.visit(&d.el)
	d.el.Parted = false
	return err
}

func (d *Decoder) strings(k Kind, n uint64) (err error) {
	for range n {
		d.fresh()
		if d.el.A, err = d.long(k, nil); err != nil {
			return err
		}
		if err := d.yield(k); err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) counted(k Kind) error {
	n, err := d.c.count()
	if err != nil {
		return err
	}
	return d.strings(k, n)
}

func (d *Decoder) zset(typ byte) error {
	n, err := d.c.count()
	d.count = n
	if err != nil {
		return err
	}
	for range n {
		d.fresh()
		if d.el.A, err = d.str(); err != nil {
			return err
		}
		if typ == TypeZSet {
			d.el.Score, err = d.textScore()
		} else {
			var bits uint64
			bits, err = d.c.uint64()
			d.el.Score = math.Float64frombits(bits)
		}
		if err != nil {
			return err
		}
		if err := d.yield(KindScored); err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) textScore() (float64, error) {
	n, err := d.c.byte()
	if err != nil {
		return 0, err
	}
	switch n {
	case 253:
		return math.NaN(), nil
	case 254:
		return math.Inf(1), nil
	case 255:
		return math.Inf(-1), nil
	}
	b, err := d.c.take(uint64(n))
	if err != nil {
		return 0, err
	}
	return d.parseScore(b)
}

func (d *Decoder) parseScore(b []byte) (float64, error) {
	if f, ok := decimal(b); ok {
		return f, nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return 0, d.c.fail("a score that is no number", ErrCorrupt)
	}
	return f, nil
}

func (d *Decoder) field(ttl func() (int64, error), after bool) (err error) {
	d.fresh()
	d.el.ExpireAt = 0
	if ttl != nil && !after {
		if d.el.ExpireAt, err = ttl(); err != nil {
			return err
		}
	}
	if d.el.A, err = d.str(); err != nil {
		return err
	}
	if d.el.B, err = d.long(KindField, d.el.A); err != nil {
		return err
	}
	if ttl != nil && after {
		if d.el.ExpireAt, err = ttl(); err != nil {
			return err
		}
	}
	return d.yield(KindField)
}

func (d *Decoder) fields(ttl func() (int64, error), after bool) error {
	n, err := d.c.count()
	d.count = n
	if err != nil {
		return err
	}
	for range n {
		if err := d.field(ttl, after); err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) hash() error { return d.fields(nil, false) }

// hash2 is Valkey's hash with field TTLs: each field followed by its expiry, -1 for none.
func (d *Decoder) hash2() error {
	return d.fields(func() (int64, error) {
		ms, err := d.c.uint64()
		if int64(ms) == -1 {
			return 0, err
		}
		return neverZero(int64(ms)), err
	}, true)
}

// hashTTL is Redis' hash with field TTLs: each field preceded by its expiry,
// counted from one before the soonest, or absolute in the release candidates.
func (d *Decoder) hashTTL(typ byte) error {
	var base uint64
	if typ == TypeHashTTL {
		soonest, err := d.c.uint64()
		if err != nil {
			return err
		}
		base = soonest - 1
	}
	return d.fields(func() (int64, error) {
		ttl, err := d.c.length()
		if err != nil || ttl == 0 {
			return 0, err
		}
		return neverZero(int64(base + ttl)), nil
	}, false)
}

// neverZero keeps an expiry at the epoch apart from 0, which means never.
func neverZero(ms int64) int64 {
	if ms == 0 {
		return 1
	}
	return ms
}

func (d *Decoder) module() error {
	d.fresh()
	from := d.c.pos
	id, err := d.c.length()
	switch {
	case err != nil:
		return err
	case d.VectorSets && id&1023 == 0 && moduleName(id) == vectorSet:
		return d.vectorSet()
	case d.c.src != nil:
		return d.moduleParts()
	}
	if err := d.c.skipModuleOps(); err != nil {
		return err
	}
	d.el.A = d.c.buf[from:d.c.pos]
	return d.yield(KindModule)
}

func (d *Decoder) intset() error {
	b, err := d.block()
	if err != nil {
		return err
	}
	if len(b) < 8 {
		return d.corrupt(errPack("intset shorter than its header"))
	}
	width := int(binary.LittleEndian.Uint32(b))
	count := binary.LittleEndian.Uint32(b[4:])
	if width != 2 && width != 4 && width != 8 || uint64(len(b)-8) != uint64(count)*uint64(width) {
		return d.corrupt(errPack("intset of a wrong length"))
	}
	for b = b[8:]; len(b) > 0; b = b[width:] {
		var v int64
		switch width {
		case 2:
			v = int64(int16(binary.LittleEndian.Uint16(b)))
		case 4:
			v = int64(int32(binary.LittleEndian.Uint32(b)))
		default:
			v = int64(binary.LittleEndian.Uint64(b))
		}
		d.scratch = appendInt(d.scratch[:0], v)
		d.el.A = d.scratch
		if err := d.yield(KindMember); err != nil {
			return err
		}
	}
	return nil
}

// block reads a string that is itself a structure.
func (d *Decoder) block() (b []byte, err error) {
	d.c.mark = d.c.pos
	b, d.blob, err = d.c.str(d.blob[:0])
	return b, err
}
