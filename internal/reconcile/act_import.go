package reconcile

import (
	"context"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// becomes is the action by which a snapshot comes into being that is not taken of
// nodes of ours.
func becomes(s *cache.Snapshot) Kind {
	if s.Import != nil {
		return actImport
	}
	return actCopy
}

// importFiles takes what was backed up elsewhere into a snapshot. The files stay where
// they came from until that is written down.
func (r *Runner) importFiles(ctx context.Context, s cache.Snapshot) (outcome, error) {
	shards, err := r.Transfers.Import(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("cannot import snapshot %s: %w", s.Name, err)
	}
	return func(tx *store.Tx) error {
		err := changeSnapshot(tx, s.Key(), func(s *cache.Snapshot) {
			s.Shards, s.Status = shards, cache.StatusAvailable
		})
		if err != nil {
			return err
		}
		source, id, _ := about(&s)
		return r.event(tx, s.Region, source, id, "Snapshot %s was imported, taken of %s", s.Name, s.Import.Origin)
	}, nil
}

// unstage deletes what a snapshot was imported from, or was to be.
func (r *Runner) unstage(ctx context.Context, s cache.Snapshot) (outcome, error) {
	if s.Import == nil {
		return nil, nil
	}
	if err := r.Transfers.Unstage(ctx, s); err != nil {
		return nil, fmt.Errorf("cannot delete what snapshot %s was imported from: %w", s.Name, err)
	}
	return func(tx *store.Tx) error {
		return changeSnapshot(tx, s.Key(), func(s *cache.Snapshot) { s.Import = nil })
	}, nil
}
