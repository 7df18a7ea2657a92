package source

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"holdfast.dev/internal/flow"
)

// Merge yields what several sources yield, all read at the same time, in any order:
// the shards of a cluster, each by whatever way. It does not look for keys that come
// twice, so it is for shards that keep their slots: see Steady.
type Merge struct {
	parts map[string]flow.Source
}

// NewMerge returns a source of the parts by name. Closing it closes them.
func NewMerge(parts map[string]flow.Source) *Merge { return &Merge{parts} }

// Entries yields the entries of all parts.
func (m *Merge) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return oneError(func(yield func(*flow.Entry) bool) error {
		return merged(ctx, m.parts, func(p *parcel) error {
			for i := range p.entries {
				if !yield(&p.entries[i]) {
					return errStop
				}
			}
			if p.err != nil {
				return fmt.Errorf("%s: %w", p.addr, p.err)
			}
			return nil
		})
	})
}

// Close closes the parts.
func (m *Merge) Close() error {
	var err error
	for _, s := range m.parts {
		err = errors.Join(err, s.Close())
	}
	return err
}

// ErrUnsteady says that slots moved while shards were read that should have kept them.
var ErrUnsteady = errors.New("slots moved from node to node while the shards were read, so that a key may be in two of them or in none; begin again when that has ended")

// Steady looks at who has which slots. The returned function tells whether all
// stayed where they were, at any time since; otherwise its error is ErrUnsteady.
func (c *Cluster) Steady(ctx context.Context) (stayed func(context.Context) error, err error) {
	before, err := c.census(ctx)
	if err != nil {
		return nil, err
	}
	if len(before.open) > 0 {
		return nil, fmt.Errorf("%w: %d slots are on their way now", ErrUnsteady, len(before.open))
	}
	return func(ctx context.Context) error {
		after, err := c.census(ctx)
		if err != nil {
			return err
		}
		if moved := before.unsteady(after, nil); len(moved) > 0 {
			return fmt.Errorf("%w: slot %d, and %d others", ErrUnsteady, moved[0], len(moved)-1)
		}
		return nil
	}, nil
}
