package rdb

import "bytes"

// Value is a whole decoded value, for where convenience counts more than speed;
// the hot paths walk.
type Value struct {
	Class Class
	// Text is the string, or the opaque bytes of a module's value.
	Text []byte
	// Items are a list's items from head to tail, or a set's members.
	Items [][]byte
	// Fields are a hash's.
	Fields []Field
	// Members are a sorted set's.
	Members []Member
	// Stream is set for streams.
	Stream *Stream
}

// Stream is a decoded stream.
type Stream struct {
	Entries []StreamEntry
	Meta    StreamMeta
	Groups  []Group
}

// StreamEntry is one entry; Pairs holds field, value, field, value ….
type StreamEntry struct {
	ID    StreamID
	Pairs [][]byte
}

// Group is a consumer group. Read counts the entries it read, -1 where not known.
type Group struct {
	Name      []byte
	Last      StreamID
	Read      int64
	Pending   []Pending
	Consumers []Consumer
}

// Pending is an entry delivered and not acknowledged: when last, in Unix
// milliseconds, and how often.
type Pending struct {
	ID         StreamID
	Delivered  int64
	Deliveries uint64
}

// Consumer is a member of a group with the entries pending for it. Seen and
// Active are Unix milliseconds; Active is -1 where not known.
type Consumer struct {
	Name         []byte
	Seen, Active int64
	Pending      []StreamID
}

// Decode returns a value as a whole, in memory of its own.
func Decode(typ byte, version int, value []byte) (*Value, error) {
	v := &Value{Class: ClassOf(typ)}
	if v.Class == ClassStream {
		v.Stream = &Stream{}
	}
	var d Decoder
	if err := d.Walk(typ, version, value, v.add); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Value) add(e *Element) error {
	switch e.Kind {
	case KindString, KindModule:
		v.Text = bytes.Clone(e.A)
	case KindItem, KindMember:
		v.Items = append(v.Items, bytes.Clone(e.A))
	case KindScored:
		v.Members = append(v.Members, Member{Name: bytes.Clone(e.A), Score: e.Score})
	case KindField:
		v.Fields = append(v.Fields, Field{Name: bytes.Clone(e.A), Value: bytes.Clone(e.B), ExpireAt: e.ExpireAt})
	default:
		v.Stream.add(e)
	}
	return nil
}

func (s *Stream) add(e *Element) {
	switch e.Kind {
	case KindEntry:
		pairs := make([][]byte, len(e.Pairs))
		for i, p := range e.Pairs {
			pairs[i] = bytes.Clone(p)
		}
		s.Entries = append(s.Entries, StreamEntry{ID: e.ID, Pairs: pairs})
	case KindStream:
		s.Meta = e.Meta
	case KindGroup:
		s.Groups = append(s.Groups, Group{Name: bytes.Clone(e.A), Last: e.ID, Read: int64(e.Count)})
	case KindPending:
		g := &s.Groups[len(s.Groups)-1]
		g.Pending = append(g.Pending, Pending{ID: e.ID, Delivered: e.Time, Deliveries: e.Count})
	case KindConsumer:
		g := &s.Groups[len(s.Groups)-1]
		g.Consumers = append(g.Consumers, Consumer{Name: bytes.Clone(e.A), Seen: e.Time, Active: e.Active})
	case KindOwned:
		g := &s.Groups[len(s.Groups)-1]
		c := &g.Consumers[len(g.Consumers)-1]
		c.Pending = append(c.Pending, e.ID)
	}
}
