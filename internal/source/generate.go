package source

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// Share is how many of a hundred keys, or of whatever the weights add up to, are
// of a class.
type Share struct {
	Class  rdb.Class
	Weight int
}

// Shape describes made-up data. Equal shapes give equal data, byte for byte.
type Shape struct {
	// Keys altogether, spread evenly over databases 0 to Databases-1.
	Keys      int64
	Databases int
	// ValueBytes is the mean size of a value's content; sizes vary by half of it
	// around it, except in the playground.
	ValueBytes int
	// Types of the keys.
	Types []Share
	// TTLShare of the keys, 0 to 1, expire between TTLMin and TTLMax after Base.
	TTLShare       float64
	TTLMin, TTLMax time.Duration
	Base           time.Time
	// Seed selects one of many data sets of the same shape.
	Seed uint64
	// Playground makes the keys 32 hexadecimal digits and the values ValueBytes letters.
	Playground bool
}

// Presets lists the names that Preset knows.
func Presets() []string { return []string{"mixed", "playground"} }

// Preset returns a shape to start from: "mixed" has every type, "playground"
// strings alone. TTLs count from the beginning of the day (UTC), so that two runs
// on one day give the same data, and are longer than that day.
func Preset(name string, now time.Time) (Shape, error) {
	s := Shape{
		Keys: 1_000_000, Databases: 1, Seed: 1,
		Base:   now.UTC().Truncate(24 * time.Hour),
		TTLMin: 2 * 24 * time.Hour, TTLMax: 30 * 24 * time.Hour,
	}
	switch name {
	case "mixed":
		s.ValueBytes, s.TTLShare = 100, 0.2
		s.Types = []Share{
			{rdb.ClassString, 50},
			{rdb.ClassHash, 15},
			{rdb.ClassList, 10},
			{rdb.ClassSet, 10},
			{rdb.ClassZSet, 10},
			{rdb.ClassStream, 5},
		}
	case "playground":
		s.ValueBytes, s.Playground = 256, true
		s.Types = []Share{{rdb.ClassString, 1}}
	default:
		return Shape{}, fmt.Errorf("there is no preset %q; there are %v", name, Presets())
	}
	return s, nil
}

// maxValueBytes keeps a made-up value below what engines accept in one command.
const maxValueBytes = 64 << 20

// Validate tells what is wrong with a shape.
func (s *Shape) Validate() error {
	switch {
	case s.Keys < 0:
		return fmt.Errorf("%d keys cannot be made", s.Keys)
	case s.Databases < 1:
		return fmt.Errorf("%d databases cannot be filled", s.Databases)
	case s.ValueBytes < 1 || s.ValueBytes > maxValueBytes:
		return fmt.Errorf("values of %d bytes cannot be made: 1 to %d can", s.ValueBytes, maxValueBytes)
	case !(s.TTLShare >= 0 && s.TTLShare <= 1):
		return fmt.Errorf("the share of keys with a TTL is %g, not between 0 and 1", s.TTLShare)
	case s.TTLShare > 0 && (s.TTLMin <= 0 || s.TTLMax < s.TTLMin):
		return fmt.Errorf("TTLs from %s to %s cannot be made", s.TTLMin, s.TTLMax)
	}
	total := 0
	for _, t := range s.Types {
		if _, ok := makers[t.Class]; !ok || t.Weight < 0 {
			return fmt.Errorf("keys of type %s with weight %d cannot be made", t.Class, t.Weight)
		}
		total += t.Weight
	}
	if total == 0 {
		return fmt.Errorf("no type of keys is given")
	}
	return nil
}

// generatedVersion is the RDB version of made-up values: their encodings are
// the plain ones that every engine since Redis 5 reads.
const generatedVersion = 9

// Generate yields made-up data.
type Generate struct {
	shape  Shape
	closed atomic.Bool
}

// NewGenerate returns a source of data of a shape.
func NewGenerate(s Shape) (*Generate, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &Generate{shape: s}, nil
}

// Len is the number of keys.
func (g *Generate) Len(context.Context) (int64, error) { return g.shape.Keys, nil }

// Close stops a sequence that is under way at its next entry.
func (g *Generate) Close() error {
	g.closed.Store(true)
	return nil
}

// Entries yields the keys, database by database.
func (g *Generate) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return oneError(func(yield func(*flow.Entry) bool) error {
		m := newMaker(&g.shape)
		for i := range g.shape.Keys {
			if i&1023 == 0 {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if g.closed.Load() {
					return errClosed
				}
			}
			m.make(i)
			if !yield(&m.e) {
				return errStop
			}
		}
		return nil
	})
}

// maker makes one entry after the other in the same memory.
type maker struct {
	s     *Shape
	e     flow.Entry
	r     random
	picks []func(*maker, int)
	names []string
	sums  []uint64
	total uint64
	perDB int64
	key   []byte
	value []byte
	arena []byte
	items [][]byte

	fields  []rdb.Field
	members []rdb.Member
	stream  rdb.Stream
}

func newMaker(s *Shape) *maker {
	m := &maker{s: s, perDB: max((s.Keys+int64(s.Databases)-1)/int64(s.Databases), 1)}
	m.e = flow.Entry{Version: generatedVersion, Idle: -1, Freq: -1}
	for _, t := range s.Types {
		k := makers[t.Class]
		m.total += uint64(t.Weight)
		m.sums = append(m.sums, m.total)
		m.picks = append(m.picks, k.value)
		m.names = append(m.names, k.prefix)
	}
	return m
}

// make fills m.e with key number i.
func (m *maker) make(i int64) {
	id := mix(m.s.Seed*0x9e3779b97f4a7c15 + uint64(i) + 1)
	m.r = random(id)
	pick, _ := slices.BinarySearch(m.sums, m.r.below(m.total)+1)
	m.e.DB = int(i / m.perDB)
	m.e.ExpireAt = 0
	if m.s.TTLShare > 0 && float64(m.r.next()>>11)/(1<<53) < m.s.TTLShare {
		span := uint64((m.s.TTLMax - m.s.TTLMin).Milliseconds()) + 1
		m.e.ExpireAt = m.s.Base.UnixMilli() + m.s.TTLMin.Milliseconds() + int64(m.r.below(span))
	}
	size := m.s.ValueBytes
	if m.s.Playground {
		// The first half is a bijection of the key's number, so keys never repeat.
		m.key = appendHex(appendHex(m.key[:0], id), m.r.next())
	} else {
		m.key = appendHex(append(m.key[:0], m.names[pick]...), id)
		size += int(m.r.below(uint64(size)+1)) - size/2
	}
	m.arena, m.items = m.arena[:0], m.items[:0]
	m.picks[pick](m, max(size, 1))
	m.e.Key, m.e.Value = m.key, m.value
}

func appendHex(dst []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&15])
	}
	return dst
}

// item appends a random text of n bytes to the arena, preceded by number i where
// texts must differ, and returns it.
func (m *maker) item(n int, i int, numbered bool) []byte {
	at := len(m.arena)
	if numbered {
		m.arena = append(strconv.AppendInt(m.arena, int64(i), 10), ':')
	}
	m.arena = m.r.text(m.arena, n)
	return m.arena[at:len(m.arena):len(m.arena)]
}
