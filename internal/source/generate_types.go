package source

import "holdfast.dev/internal/rdb"

// makers tells how a class of keys is named and its value made, of about size bytes.
var makers = map[rdb.Class]struct {
	prefix string
	value  func(m *maker, size int)
}{
	rdb.ClassString: {"page:", (*maker).makeString},
	rdb.ClassHash:   {"user:", (*maker).makeHash},
	rdb.ClassList:   {"queue:", (*maker).makeList},
	rdb.ClassSet:    {"tags:", (*maker).makeSet},
	rdb.ClassZSet:   {"board:", (*maker).makeZSet},
	rdb.ClassStream: {"events:", (*maker).makeStream},
}

// itemBytes is the size of an element of a collection.
const itemBytes = 12

func (m *maker) makeString(size int) {
	m.e.Type = rdb.TypeString
	m.value = rdb.AppendLength(m.value[:0], uint64(size))
	if m.s.Playground {
		m.value = m.r.letters(m.value, size)
		return
	}
	m.value = m.r.text(m.value, size)
}

// several is how many elements of n bytes make up size.
func several(size, n int) int { return max(size/n, 1) }

func (m *maker) makeList(size int) {
	m.e.Type = rdb.TypeList
	for i := range several(size, itemBytes) {
		m.items = append(m.items, m.item(itemBytes, i, false))
	}
	m.value = rdb.AppendList(m.value[:0], m.items)
}

func (m *maker) makeSet(size int) {
	m.e.Type = rdb.TypeSet
	n := several(size, itemBytes)
	if m.r.next()&3 == 0 {
		// One set in four holds numbers, which engines keep in a form of its own.
		for i := range n {
			m.items = append(m.items, m.number(i))
		}
	} else {
		for i := range n {
			m.items = append(m.items, m.item(itemBytes-2, i, true))
		}
	}
	m.value = rdb.AppendSet(m.value[:0], m.items)
}

// number makes a decimal number that grows with i.
func (m *maker) number(i int) []byte {
	at := len(m.arena)
	n := uint64(i)*1000 + m.r.below(1000)
	var digits [20]byte
	p := len(digits)
	for {
		p--
		digits[p] = byte('0' + n%10)
		if n /= 10; n == 0 {
			break
		}
	}
	m.arena = append(m.arena, digits[p:]...)
	return m.arena[at:len(m.arena):len(m.arena)]
}

func (m *maker) makeHash(size int) {
	m.e.Type = rdb.TypeHash
	m.fields = m.fields[:0]
	for i := range several(size, 2*itemBytes) {
		m.fields = append(m.fields, rdb.Field{
			Name:  m.item(itemBytes/2, i, true),
			Value: m.item(itemBytes, i, false),
		})
	}
	m.value = rdb.AppendHash(m.value[:0], m.fields)
}

func (m *maker) makeZSet(size int) {
	m.e.Type = rdb.TypeZSet2
	m.members = m.members[:0]
	score := float64(0)
	for i := range several(size, itemBytes+8) {
		score += float64(m.r.below(10_000)) / 100
		m.members = append(m.members, rdb.Member{Name: m.item(itemBytes-2, i, true), Score: score})
	}
	m.value = rdb.AppendZSet2(m.value[:0], m.members)
}

// streamStart is the time of the first entry of any stream, in Unix milliseconds.
const streamStart = 1_700_000_000_000

// makeStream makes a log of entries with two fields each. One in four has a
// consumer group that was given the first entry and has not acknowledged it.
func (m *maker) makeStream(size int) {
	m.e.Type = rdb.TypeStream
	s := &m.stream
	s.Entries, s.Groups, s.Meta = s.Entries[:0], s.Groups[:0], rdb.StreamMeta{}
	ms := streamStart + m.r.below(1_000_000)
	for i := range several(size, 2*itemBytes) {
		ms += m.r.below(1000)
		e := rdb.StreamEntry{ID: rdb.StreamID{Ms: ms, Seq: uint64(i)}}
		e.Pairs = append(e.Pairs, streamFields[0], m.item(itemBytes, i, false), streamFields[1], m.number(i))
		s.Entries = append(s.Entries, e)
	}
	if m.r.next()&3 == 0 {
		first := s.Entries[0].ID
		s.Groups = append(s.Groups, rdb.Group{
			Name: []byte("workers"), Last: first,
			Pending:   []rdb.Pending{{ID: first, Delivered: int64(first.Ms), Deliveries: 1}},
			Consumers: []rdb.Consumer{{Name: []byte("worker-1"), Seen: int64(first.Ms), Pending: []rdb.StreamID{first}}},
		})
	}
	m.value = rdb.AppendStream(m.value[:0], s)
}

var streamFields = [2][]byte{[]byte("item"), []byte("amount")}
