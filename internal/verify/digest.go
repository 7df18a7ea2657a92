package verify

import (
	"encoding/binary"
	"fmt"
	"math"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// Digest is what is remembered of an entry.
type Digest struct {
	// Data is the hash over key, type, value and whether the key expires.
	Data Hash
	// Expiry is the hash over key and expiry; zero for keys that never expire.
	Expiry Hash
	// Live is the hash over key, type and value alone, and without hash fields
	// that had expired at the digester's time, where it has one.
	Live     Hash
	ExpireAt int64
	// Bytes is the size of the key and of the decoded value's pieces, which is
	// the same in every encoding.
	Bytes int64
	Slot  uint16
	Class rdb.Class
	// Emptied marks a hash all of whose fields had expired, or that has none.
	Emptied bool
}

// Starting states, one for each kind of thing that is hashed, so that the same
// bytes in different places give different hashes.
const (
	seedEntry = iota + 1
	seedVolatile
	seedExpiry
	seedMember
	seedScored
	seedField
	seedFieldTTL
	seedGroup
	seedPending
	seedConsumer
	seedOwned
	seedTotal
	seedVector
)

func start(seed uint64, more uint64) Hash { return Hash{Lo: seed * 0x9e3779b97f4a7c15, Hi: more} }

// digester computes digests; it belongs to one goroutine.
type digester struct {
	dec   rdb.Decoder
	visit func(*rdb.Element) error
	// asOf is the Unix time in milliseconds at which hash fields count as
	// expired; 0 keeps them all.
	asOf int64

	chain    Hash // what has an order: strings, items, stream entries
	sum      Hash // what has none: members, fields, groups
	live     Hash // sum without expired fields
	count    uint64
	alive    uint64
	bytes    int64
	group    Hash // the stream's group and consumer being walked
	consumer Hash
	buf      [24]byte
	// long is the string that comes in parts, begun when inLong is set.
	long   running
	inLong bool
}

func newDigester(asOf int64) *digester {
	d := &digester{asOf: asOf, dec: rdb.Decoder{VectorSets: true}}
	d.visit = d.element
	return d
}

// digest computes an entry's digest.
func (d *digester) digest(e *flow.Entry) (Digest, error) {
	class := rdb.ClassOf(e.Type)
	d.chain = murmur(e.Key, start(seedEntry, uint64(class)))
	d.sum, d.live, d.count, d.alive, d.bytes = Hash{}, Hash{}, 0, 0, int64(len(e.Key))
	if err := d.walk(e); err != nil {
		return Digest{}, fmt.Errorf("cannot decode key %q of database %d: %w", e.Key, e.DB, err)
	}
	out := Digest{Class: class, Slot: uint16(Slot(e.Key)), ExpireAt: e.ExpireAt, Bytes: d.bytes}
	out.Data = d.finish(d.sum, d.count)
	out.Live = out.Data
	if d.alive != d.count {
		out.Live = d.finish(d.live, d.alive)
		out.Emptied = d.alive == 0
	}
	if class == rdb.ClassHash && d.count == 0 {
		out.Emptied = true // Valkey 9 has such for a moment, before it removes the key
	}
	if e.ExpireAt != 0 {
		out.Data = murmur(nil, Hash{out.Data.Lo ^ seedVolatile, out.Data.Hi})
		out.Expiry = murmur(e.Key, start(seedExpiry, uint64(e.ExpireAt)))
	}
	return out, nil
}

func (d *digester) walk(e *flow.Entry) error {
	if e.Body == nil {
		return d.dec.Walk(e.Type, e.Version, e.Value, d.visit)
	}
	d.inLong = false
	return d.dec.WalkBody(e.Type, e.Version, e.Body, d.visit)
}

// finish hashes the ordered part together with the unordered one.
func (d *digester) finish(sum Hash, count uint64) Hash {
	b := sum.bytes()
	copy(d.buf[:], b[:])
	binary.LittleEndian.PutUint64(d.buf[16:], count)
	return murmur(d.buf[:24], d.chain)
}

// put adds an element without an order.
func (d *digester) put(h Hash) {
	d.sum.add(h)
	d.live.add(h)
	d.count++
	d.alive++
}

func (d *digester) element(e *rdb.Element) error {
	switch e.Kind {
	case rdb.KindString, rdb.KindModule:
		d.chain = d.text(e, e.A, d.chain)
	case rdb.KindItem:
		d.chain = d.text(e, e.A, d.chain)
		d.count++
		d.alive++
	case rdb.KindMember:
		d.put(d.text(e, e.A, start(seedMember, 0)))
	case rdb.KindScored:
		d.bytes += int64(len(e.A)) + 8
		d.put(murmur(e.A, start(seedScored, scoreBits(e.Score))))
	case rdb.KindField:
		d.field(e)
	case rdb.KindPart:
		d.part(e)
	case rdb.KindVectorSet, rdb.KindVector:
		d.vector(e)
	default:
		d.stream(e)
	}
	return nil
}

// text hashes a string from a state: what is here of it, or what came in parts,
// for which the state was taken when the first came.
func (d *digester) text(e *rdb.Element, b []byte, from Hash) Hash {
	if !e.Parted {
		d.bytes += int64(len(b))
		return murmur(b, from)
	}
	d.inLong = false
	d.bytes += int64(d.long.n)
	return d.long.sum()
}

// part takes a part of a long string.
func (d *digester) part(e *rdb.Element) {
	if !d.inLong {
		d.inLong = true
		from := d.chain
		switch e.Of {
		case rdb.KindMember:
			from = start(seedMember, 0)
		case rdb.KindField:
			from = murmur(e.A, start(seedField, 0))
		}
		d.long = running{h: from}
	}
	d.long.add(e.B)
}

// vector takes the pieces of a vector set: what all elements share, and each
// element. Where an element stands in the graph is not part of the content.
func (d *digester) vector(e *rdb.Element) {
	d.bytes += int64(len(e.B))
	if e.Kind == rdb.KindVectorSet {
		d.chain = murmur(e.B, d.number(d.chain, e.Count))
		return
	}
	d.bytes += int64(len(e.A) + len(e.Pairs[0]))
	h := murmur(e.Pairs[0], murmur(e.A, start(seedVector, 0)))
	d.put(d.number(murmur(e.B, h), e.Count))
}

// scoreBits makes equal scores equal bits.
func scoreBits(f float64) uint64 {
	switch {
	case f == 0:
		return 0 // -0 too
	case f != f:
		return math.Float64bits(math.NaN())
	}
	return math.Float64bits(f)
}

func (d *digester) field(e *rdb.Element) {
	d.bytes += int64(len(e.A))
	var from Hash
	if !e.Parted {
		from = murmur(e.A, start(seedField, 0))
	}
	h := d.text(e, e.B, from)
	if e.ExpireAt == 0 {
		d.put(h)
		return
	}
	h = d.number(Hash{h.Lo ^ seedFieldTTL, h.Hi}, uint64(e.ExpireAt))
	if d.asOf == 0 || e.ExpireAt > d.asOf {
		d.put(h)
		return
	}
	d.sum.add(h)
	d.count++
}

// number chains a number to a hash.
func (d *digester) number(h Hash, n uint64) Hash {
	binary.LittleEndian.PutUint64(d.buf[:], n)
	return murmur(d.buf[:8], h)
}

func (d *digester) id(h Hash, id rdb.StreamID, n uint64) Hash {
	binary.LittleEndian.PutUint64(d.buf[:], id.Ms)
	binary.LittleEndian.PutUint64(d.buf[8:], id.Seq)
	binary.LittleEndian.PutUint64(d.buf[16:], n)
	return murmur(d.buf[:24], h)
}

// stream takes a stream's pieces: entries in their order, groups in any. See the
// package's comment for what is left out.
func (d *digester) stream(e *rdb.Element) {
	switch e.Kind {
	case rdb.KindEntry:
		d.chain = d.id(d.chain, e.ID, uint64(len(e.Pairs)))
		for _, p := range e.Pairs {
			d.chain = murmur(p, d.chain)
			d.bytes += int64(len(p))
		}
		d.bytes += 16
		d.count++
		d.alive++
	case rdb.KindStream:
		d.chain = d.id(d.chain, e.Meta.Last, e.Meta.Length)
	case rdb.KindGroup:
		d.bytes += int64(len(e.A))
		d.group = murmur(e.A, start(seedGroup, 0))
		d.put(d.id(d.group, e.ID, 0))
	case rdb.KindPending:
		h := d.id(Hash{d.group.Lo ^ seedPending, d.group.Hi}, e.ID, e.Count)
		d.put(d.number(h, uint64(e.Time)))
	case rdb.KindConsumer:
		d.bytes += int64(len(e.A))
		d.consumer = murmur(e.A, Hash{d.group.Lo ^ seedConsumer, d.group.Hi})
		d.put(d.consumer)
	case rdb.KindOwned:
		d.put(d.id(Hash{d.consumer.Lo ^ seedOwned, d.consumer.Hi}, e.ID, 0))
	}
}
