package rdb

// Where a value ends follows from its type alone. A shape says how: the parts of a
// value in their order. Two walkers read it, cursor.pass at once and walk in steps.

// partKind is what a part is made of.
type partKind uint8

const (
	partString partKind = iota + 1 // a string in any encoding
	partBytes                      // n bytes
	partLength                     // a length
	partCount                      // a count, and that many times the parts of
	partRun                        // a count, and that many times n bytes
	partScore                      // a score as text
	partModule                     // a module's annotated fields up to their end mark
)

type part struct {
	kind partKind
	n    uint64
	of   []part
}

// repeated is a count and that many times the parts.
func repeated(of ...part) part { return part{kind: partCount, of: of} }

// shapes by dialect (Redis, Valkey) and type; nil for what is none.
var shapes = makeShapes()

func makeShapes() (s [2][256][]part) {
	str, num := part{kind: partString}, part{kind: partLength}
	eight := part{kind: partBytes, n: 8}
	both := map[byte][]part{
		TypeList: {repeated(str)}, TypeSet: {repeated(str)}, TypeQuicklist: {repeated(str)},
		TypeHash:  {repeated(str, str)},
		TypeZSet:  {repeated(str, part{kind: partScore})},
		TypeZSet2: {repeated(str, eight)},
		// Nodes: kind of container (1 plain, 2 listpack), string.
		TypeQuicklist2: {repeated(num, str)},
		TypeStream:     streamShape(TypeStream), TypeStream2: streamShape(TypeStream2), TypeStream3: streamShape(TypeStream3),
		// The module type's id, fields.
		TypeModule2: {num, {kind: partModule}},
	}
	for _, typ := range []byte{
		TypeString, TypeHashZipmap, TypeListZiplist, TypeSetIntset, TypeZSetZiplist,
		TypeHashZiplist, TypeHashListpack, TypeZSetListpack, TypeSetListpack,
	} {
		both[typ] = []part{str}
	}
	for typ, shape := range both {
		s[0][typ], s[1][typ] = shape, shape
	}
	s[0][TypeHashTTLRC] = []part{repeated(num, str, str)}
	s[0][TypeHashTTL] = []part{eight, repeated(num, str, str)} // first the soonest expiry
	s[0][TypeHashTTLPackedRC] = []part{str}
	s[0][TypeHashTTLPacked] = []part{eight, str}
	s[1][TypeHash2] = []part{repeated(str, str, eight)}
	return s
}

// streamLengths is how many numbers follow a stream's nodes: items, last id (2),
// and since the second form first id (2), greatest deleted id (2), items ever added.
func streamLengths(typ byte) int {
	if typ == TypeStream {
		return 3
	}
	return 8
}

func streamShape(typ byte) []part {
	str, num := part{kind: partString}, part{kind: partLength}
	group := []part{str, num, num} // name, last delivered id
	times := uint64(8)             // when a consumer was last seen
	if typ != TypeStream {
		group = append(group, num) // how many were read
	}
	if typ == TypeStream3 {
		times = 16 // and when it was last active
	}
	group = append(group,
		repeated(part{kind: partBytes, n: 16 + 8}, num), // pending: id, delivery time, deliveries
		repeated(str, part{kind: partBytes, n: times}, part{kind: partRun, n: 16}),
	)
	out := []part{repeated(str, str)} // nodes: first id, listpack
	for range streamLengths(typ) {
		out = append(out, num)
	}
	return append(out, repeated(group...))
}

// shapeOf returns the shape of a type in a version's dialect, nil if it has none.
func shapeOf(typ byte, version int) []part {
	if version >= ValkeyVersion {
		return shapes[1][typ]
	}
	return shapes[0][typ]
}
