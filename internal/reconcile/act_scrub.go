package reconcile

import (
	"context"
	"errors"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// proof is what reading a snapshot again has shown: nothing if it is whole.
type proof struct {
	// rotten is what is wrong with what was read.
	rotten string
	// unread is why it could not be read, which proves nothing.
	unread string
}

// scrub reads a stored snapshot to its end and writes down what it found. One that
// cannot be restored any more fails, so that it is nowhere taken for a backup; it is
// told once, and so is one that is whole again.
//
// unread is why it could not be read in several attempts, "" to try.
func (r *Runner) scrub(ctx context.Context, read cache.Snapshot, unread string) (outcome, error) {
	found := proof{unread: unread}
	if unread == "" {
		var err error
		if found, err = r.prove(ctx, read); err != nil {
			return nil, err
		}
	}
	return func(tx *store.Tx) error {
		s, ok, err := records.Snapshots.Get(tx, read.Key())
		if err != nil || !ok || s.Deleting || inUse(&s) {
			return err // it is being read by somebody else, who will find the same
		}
		if !s.CreatedAt.Equal(read.CreatedAt) {
			return nil // that one is deleted, and this is another of its name
		}
		if found.unread != "" {
			err = r.noteUnread(tx, &s, found.unread)
		} else {
			err = r.noteProof(tx, &s, found.rotten)
		}
		return errors.Join(err, records.Snapshots.Put(tx, s.Key(), s))
	}, nil
}

// prove reads a snapshot. That it cannot be read is an error, to be tried again soon,
// unless it is known already.
func (r *Runner) prove(ctx context.Context, s cache.Snapshot) (proof, error) {
	err := r.Transfers.Prove(ctx, s)
	switch {
	case err == nil:
		return proof{}, nil
	case errors.Is(err, cache.ErrPermanent):
		return proof{rotten: plainly(err)}, nil
	case s.Unread != "" && ctx.Err() == nil:
		return proof{unread: plainly(err)}, nil
	}
	return proof{}, err
}

// noteUnread leaves the status as it is: a disk that is away says nothing about what
// is on it.
func (r *Runner) noteUnread(tx *store.Tx, s *cache.Snapshot, why string) error {
	known := s.Unread != ""
	s.Unread, s.UnreadAt = why, r.Now()
	if known {
		return nil
	}
	r.Log.Error("a stored snapshot could not be read", "snapshot", s.Key(), "reason", why)
	source, id, _ := about(s)
	return r.event(tx, s.Region, source, id, "Snapshot %s could not be read to prove that it is whole; it is tried again every hour: %s", s.Name, why)
}

func (r *Runner) noteProof(tx *store.Tx, s *cache.Snapshot, rotten string) error {
	was, unread := s.Rotten, s.Unread
	s.ProvedAt, s.Rotten, s.Unread, s.UnreadAt = r.Now(), rotten, "", time.Time{}
	source, id, _ := about(s)
	switch {
	case rotten != "" && was == "":
		s.Status, s.Reason = cache.StatusFailed, "it is damaged: "+rotten
		r.Log.Error("a stored snapshot is damaged", "snapshot", s.Key(), "reason", rotten)
		return r.event(tx, s.Region, source, id, "Snapshot %s is damaged and cannot be restored: %s", s.Name, rotten)
	case rotten != "":
		s.Reason = "it is damaged: " + rotten
	case was != "":
		s.Status, s.Reason = cache.StatusAvailable, ""
		return r.event(tx, s.Region, source, id, "Snapshot %s is whole again", s.Name)
	case unread != "":
		return r.event(tx, s.Region, source, id, "Snapshot %s can be read again, and is whole", s.Name)
	}
	return nil
}
