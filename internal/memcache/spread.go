package memcache

import (
	"context"
	"errors"
)

// Spread writes items to the servers that own them.
type Spread struct {
	ring    *Ring
	writers []*Writer
}

// NewSpread connects to all servers.
func NewSpread(ctx context.Context, distribution string, servers []*Server, mode Mode) (*Spread, error) {
	ring, err := RingOf(distribution, servers)
	if err != nil {
		return nil, err
	}
	s := &Spread{ring: ring}
	for _, one := range servers {
		w, err := NewWriter(ctx, one, mode)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.writers = append(s.writers, w)
	}
	return s, nil
}

// RingOf is the ring of servers by their addresses.
func RingOf(distribution string, servers []*Server) (*Ring, error) {
	names := make([]string, len(servers))
	for i, s := range servers {
		names[i] = s.Addr
	}
	return NewRing(distribution, names)
}

// Write takes an item; what has become of it is known after Flush.
func (s *Spread) Write(ctx context.Context, i *Item) error {
	return s.writers[s.ring.Pick(i.Key)].Write(ctx, i)
}

// Flush returns once the servers have taken or refused everything that was written.
func (s *Spread) Flush(ctx context.Context) error {
	for _, w := range s.writers {
		if err := w.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Outcome is how items have fared that were written.
type Outcome struct {
	Stored int64 `json:"stored"`
	// Left were there already, and may be newer (Add).
	Left int64 `json:"left"`
	// Refused by the server, with the first few reasons.
	Refused int64    `json:"refused"`
	Reasons []string `json:"reasons,omitempty"`
	// Expired before they were written, and so were not.
	Expired int64 `json:"expired"`
	// KeepsCAS tells whether all servers take the items' CAS numbers.
	KeepsCAS bool `json:"keepsCAS"`
}

// Outcome sums up what all writers have done so far.
func (s *Spread) Outcome() Outcome {
	o := Outcome{KeepsCAS: true}
	for _, w := range s.writers {
		o.Stored += w.Stored
		o.Left += w.Left
		o.Refused += w.Refused
		o.Expired += w.Expired
		o.KeepsCAS = o.KeepsCAS && w.KeepsCAS
		for _, r := range w.Refusals() {
			o.Reasons = append(o.Reasons, w.s.Addr+": "+r)
		}
	}
	return o
}

// Close ends the connections; what was not flushed is not written.
func (s *Spread) Close() error {
	var err error
	for _, w := range s.writers {
		err = errors.Join(err, w.Close())
	}
	return err
}
