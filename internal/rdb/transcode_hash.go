package rdb

import (
	"encoding/binary"
	"strconv"
)

// maxFieldExpiry is the latest field expiry in Unix milliseconds that Redis
// loads; it keeps 48 bits.
const maxFieldExpiry = 1<<48 - 1

// ttlSummary is what must be known of a hash before it is written.
type ttlSummary struct {
	fields, volatile uint64
	soonest, latest  int64
}

// hash writes a hash of one of the types that have field TTLs. It reads the
// fields twice, first only to count them and to find the soonest expiry.
func (t *Transcoder) hash(typ byte, version int, value []byte) (byte, error) {
	var sum ttlSummary
	err := t.fields(typ, version, value, func(_ []byte, at int64) {
		sum.fields++
		if at == 0 {
			return
		}
		if sum.volatile == 0 || at < sum.soonest {
			sum.soonest = at
		}
		sum.latest = max(sum.latest, at)
		sum.volatile++
	})
	if err != nil {
		return 0, err
	}
	to, err := t.hashType(&sum)
	if err != nil {
		return 0, err
	}
	if to == TypeHashTTL {
		t.out = binary.LittleEndian.AppendUint64(t.out, uint64(sum.soonest))
	}
	t.out = AppendLength(t.out, sum.fields)
	return to, t.fields(typ, version, value, func(pair []byte, at int64) {
		switch to {
		case TypeHashTTL:
			t.out = append(appendRelative(t.out, at, sum.soonest), pair...)
		case TypeHash2:
			t.out = appendAbsolute(append(t.out, pair...), at)
		default:
			t.out = append(t.out, pair...)
		}
	})
}

// hashType chooses the type for a hash, the plain one where no field expires.
func (t *Transcoder) hashType(sum *ttlSummary) (byte, error) {
	var detail string
	switch v := t.target.Version; {
	case sum.volatile == 0:
		return TypeHash, nil
	case v >= ValkeyVersion:
		return TypeHash2, nil
	case Supports(v, TypeHashTTL) && sum.latest <= maxFieldExpiry:
		return TypeHashTTL, nil
	case Supports(v, TypeHashTTL):
		detail = "beyond 2^48 ms"
	}
	if !t.target.DropFieldTTL {
		return 0, t.target.lost(LossFieldTTL, detail)
	}
	t.stats.DroppedFieldTTLs += int64(sum.volatile)
	t.stats.ReducedHashes++
	return TypeHash, nil
}

// fields calls visit with name and value of each field, still encoded as two
// strings, and its expiry: Unix milliseconds, at least 1, or 0 for never.
func (t *Transcoder) fields(typ byte, version int, value []byte, visit func(pair []byte, at int64)) error {
	c := cursor{buf: value}
	var err error
	switch {
	case version >= ValkeyVersion && typ == TypeHash2:
		err = c.absoluteFields(visit)
	case version >= ValkeyVersion:
		err = c.fail("a value of type "+strconv.Itoa(int(typ)), ErrType)
	case typ == TypeHashTTL || typ == TypeHashTTLRC:
		err = c.relativeFields(typ, visit)
	default:
		err = t.packedFields(&c, typ, visit)
	}
	if err == nil && c.pos != len(value) {
		err = c.fail(strconv.Itoa(len(value)-c.pos)+" bytes follow the value", ErrCorrupt)
	}
	return err
}

// pair passes two strings and returns them as they are.
func (c *cursor) pair() ([]byte, error) {
	from := c.pos
	if err := c.skipString(); err != nil {
		return nil, err
	}
	err := c.skipString()
	return c.buf[from:c.pos], err
}

// fieldExpiry makes a time before 1970, long past, its first millisecond, so
// that it is never taken for a mark.
func fieldExpiry(ms int64) int64 { return max(ms, 1) }

func (c *cursor) absoluteFields(visit func([]byte, int64)) error {
	n, err := c.count()
	if err != nil {
		return err
	}
	for range n {
		pair, err := c.pair()
		if err != nil {
			return err
		}
		ms, err := c.uint64()
		if err != nil {
			return err
		}
		if int64(ms) == -1 {
			visit(pair, 0)
		} else {
			visit(pair, fieldExpiry(int64(ms)))
		}
	}
	return nil
}

func (c *cursor) relativeFields(typ byte, visit func([]byte, int64)) error {
	var base uint64
	if typ == TypeHashTTL {
		soonest, err := c.uint64()
		if err != nil {
			return err
		}
		base = soonest - 1
	}
	n, err := c.count()
	if err != nil {
		return err
	}
	for range n {
		ttl, err := c.length()
		if err != nil {
			return err
		}
		pair, err := c.pair()
		if err != nil {
			return err
		}
		if ttl == 0 {
			visit(pair, 0)
		} else {
			visit(pair, fieldExpiry(int64(base+ttl)))
		}
	}
	return nil
}

// packedFields reads name, value, expiry (0: never) from a listpack.
func (t *Transcoder) packedFields(c *cursor, typ byte, visit func([]byte, int64)) error {
	if typ == TypeHashTTLPacked {
		if err := c.skip(8); err != nil {
			return err
		}
	}
	b, blob, err := c.str(t.blob[:0])
	if t.blob = blob; err != nil {
		return err
	}
	corrupt := func(err error) error { return c.fail(err.Error(), ErrCorrupt) }
	p, err := openPack(b, false)
	if err != nil {
		return corrupt(err)
	}
	for {
		var e [3]element
		for i := range e {
			var more bool
			if e[i], more, err = p.next(); err != nil {
				return corrupt(err)
			}
			if !more && i == 0 {
				return nil
			}
			if !more {
				return corrupt(errPack("packed list ends in the middle"))
			}
		}
		if !e[2].isInt {
			return corrupt(errPack("packed list has text where a number belongs"))
		}
		t.pair = appendElement(appendElement(t.pair[:0], e[0]), e[1])
		at := e[2].n
		if at != 0 {
			at = fieldExpiry(at)
		}
		visit(t.pair, at)
	}
}

// appendElement appends an element of a packed list as a string.
func appendElement(dst []byte, e element) []byte {
	if !e.isInt {
		return AppendString(dst, e.b)
	}
	return appendIntString(dst, e.n)
}

// appendIntString appends a number as a string: binary where 32 bits hold it.
func appendIntString(dst []byte, n int64) []byte {
	switch {
	case n == int64(int8(n)):
		return append(dst, 0xc0|encInt8, byte(n))
	case n == int64(int16(n)):
		return binary.LittleEndian.AppendUint16(append(dst, 0xc0|encInt16), uint16(n))
	case n == int64(int32(n)):
		return binary.LittleEndian.AppendUint32(append(dst, 0xc0|encInt32), uint32(n))
	}
	var text [20]byte
	return AppendString(dst, appendInt(text[:0], n))
}

// appendRelative appends an expiry as Redis keeps it: counted from one before the soonest, or 0.
func appendRelative(dst []byte, at, soonest int64) []byte {
	if at == 0 {
		return append(dst, 0)
	}
	return AppendLength(dst, uint64(at-soonest)+1)
}

// appendAbsolute appends an expiry as Valkey keeps it: Unix milliseconds, or -1.
func appendAbsolute(dst []byte, at int64) []byte {
	if at == 0 {
		at = -1
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(at))
}
