package source

import (
	"context"

	"holdfast.dev/internal/resp"
)

// scan reads every database once.
func (a *liveAttempt) scan(ctx context.Context) error {
	dbs, err := a.keyspaces(ctx)
	if err != nil {
		return err
	}
	return a.scanOf(ctx, dbs)
}

// scanOf reads these databases once.
func (a *liveAttempt) scanOf(ctx context.Context, dbs []resp.Keyspace) error {
	for _, db := range dbs {
		w := &liveWalk{a: a, db: db.DB, cursor: []byte("0")}
		for !w.done {
			// Whether keys of it expire was asked before: a key that gets an expiry
			// afterwards is told of. However much is written, the scan makes headway between two rounds.
			from := a.scanned
			err := w.run(ctx, func() bool { return a.scanned-from > maxDirty/4 && a.cap.size() > maxDirty })
			if err != nil {
				return err
			}
			if err := a.pieces(ctx, w); err != nil {
				return err
			}
			if !w.done {
				if err := a.round(ctx); err != nil {
					return err
				}
			}
		}
	}
	return a.verify(ctx)
}

// rounds reads what changed again until little remains.
func (a *liveAttempt) rounds(ctx context.Context) error {
	for n, few := 0, 0; n < maxRounds; n++ {
		// A round or two more cost nobody anything, and make the cut shorter.
		if left := a.cap.size(); left <= cutGoal || left <= cutRemainder && few == moreRounds {
			return nil
		} else if left <= cutRemainder {
			few++
		}
		if err := a.round(ctx); err != nil {
			return err
		}
		if err := a.verify(ctx); err != nil {
			return err
		}
	}
	return nil
}

// round reads the keys that changed, once.
func (a *liveAttempt) round(ctx context.Context) error {
	a.rep.Rounds++
	a.again = true
	defer func() { a.again = false }()
	if a.out != nil {
		was := a.out.refreshing
		a.out.refreshing = true
		defer func() { a.out.refreshing = was }()
	}
	// In this order: what changes after take is told of again, so that a database
	// born and an expiry given after INFO are seen in the next round.
	taken, err := a.take()
	if err != nil {
		return err
	}
	if _, err := a.keyspaces(ctx); err != nil {
		return err
	}
	w := &liveWalk{a: a, done: true}
	for db, keys := range a.spread(taken) {
		w.give(db, keys, a.batch())
	}
	if err := w.run(ctx, func() bool { return false }); err != nil {
		return err
	}
	if err := a.pieces(ctx, w); err != nil {
		return err
	}
	a.taken.keys = nil
	return nil
}

// take takes the keys that changed: all, or, where they may be too many for
// memory, some.
func (a *liveAttempt) take() (map[touched]struct{}, error) {
	if a.out == nil {
		return a.cap.take(nil), nil
	}
	var err error
	a.taken, err = a.cap.takeSome()
	a.out.f.reading(a.taken.since)
	return a.taken.keys, err
}

// spread tells in which databases keys have to be read: all, where it is not
// known in which they changed.
func (a *liveAttempt) spread(taken map[touched]struct{}) map[int][]string {
	out := map[int][]string{}
	dbs := a.known()
	for t := range taken {
		if t.db != anyDB {
			out[t.db] = append(out[t.db], t.key)
			if _, is := a.dbs[t.db]; !is {
				a.dbs[t.db] = true
			}
			continue
		}
		for _, db := range dbs {
			out[db] = append(out[db], t.key)
		}
	}
	return out
}
