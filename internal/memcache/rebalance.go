package memcache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
)

// RebalanceOptions say how.
type RebalanceOptions struct {
	// Distribution by which clients spread keys; servers are named by their Addr.
	Distribution string
	// Switch has clients use the new servers and returns once they do. Nil: they have been told, or will
	// be, by somebody else, and what was written meanwhile is not looked after.
	Switch func(context.Context) error
	// Progress is told now and then how many items have been looked at.
	Progress func(items int64)
}

// Rebalanced is what came of it.
type Rebalanced struct {
	// Items that clients find at the old servers, and Moved ones of them, whose owner is another one now.
	Items int64 `json:"items"`
	Moved int64 `json:"moved"`
	// Kept: the new owner had one of that key already, which is newer.
	Kept int64 `json:"kept"`
	// Refused by the new owner, and Expired on the way.
	Refused int64 `json:"refused"`
	Expired int64 `json:"expired"`
	// Late items were written at the old owner after they were copied and before clients switched, and Gone ones
	// deleted there; the new owner has been told, by a number that lets it refuse if it knows better.
	Late int64 `json:"late"`
	Gone int64 `json:"gone"`
	// Cleared is what was deleted at old owners that stay: clients would meet old values there when owners change back.
	Cleared int64 `json:"cleared"`
}

// Rebalance moves the items whose owner changes when servers are added, removed or replaced, such that clients
// that switch find them. It copies first, has clients switch, and then puts right what was written or deleted
// meanwhile. A newer value at the new owner is never overwritten. A server of 1.6.21 or later keeps the
// CAS number of a copied item, by which it is told whether anybody has written it since; at an older one what changed at the
// old owner is deleted, which costs a miss, and never shows an old value.
//
// Servers that join have to be empty: what they hold is taken for newer. Names that hash alike are not told apart
// within 64 bits. It needs about 40 bytes of memory for each item that moves. What it is told to stop in the middle of
// leaves copies at servers where clients do not look, or will find what they would have found.
func Rebalance(ctx context.Context, from, to []*Server, opt RebalanceOptions) (*Rebalanced, error) {
	r := &rebalance{RebalanceOptions: opt, from: from, to: to, copied: map[uint64]uint64{}}
	var err error
	if r.before, err = RingOf(opt.Distribution, from); err != nil {
		return nil, err
	}
	if r.after, err = RingOf(opt.Distribution, to); err != nil {
		return nil, err
	}
	if err := r.copyAll(ctx); err != nil {
		return &r.out, fmt.Errorf("cannot copy the items whose owner changes: %w", err)
	}
	if opt.Switch == nil {
		return &r.out, nil
	}
	if err := opt.Switch(ctx); err != nil {
		return &r.out, fmt.Errorf("cannot have clients use the new servers: %w", err)
	}
	if err := r.putRight(ctx); err != nil {
		return &r.out, fmt.Errorf("clients use the new servers, but what was written meanwhile cannot be brought there: %w", err)
	}
	return &r.out, nil
}

type rebalance struct {
	RebalanceOptions
	from, to      []*Server
	before, after *Ring
	out           Rebalanced
	// copied are the CAS numbers of the items that were copied, by the sum of the key.
	copied map[uint64]uint64
}

// leaves tells whether an item that was found on a server of before has another owner now, and which; of
// what clients did not look for there nothing moves.
func (r *rebalance) leaves(server int, key []byte) (owner int, moves bool) {
	if r.before.Pick(key) != server {
		return 0, false
	}
	r.out.Items++
	if r.Progress != nil && r.out.Items%1024 == 0 {
		r.Progress(r.out.Items)
	}
	owner = r.after.Pick(key)
	return owner, r.from[server].Addr != r.to[owner].Addr
}

// copyAll is the copy while clients use the old servers.
func (r *rebalance) copyAll(ctx context.Context) (err error) {
	w, err := NewSpread(ctx, r.Distribution, r.to, Add)
	if err != nil {
		return err
	}
	defer func() {
		o := w.Outcome()
		r.out.Moved, r.out.Kept, r.out.Refused, r.out.Expired = o.Stored, o.Left, o.Refused, o.Expired
		err = errors.Join(err, w.Close())
	}()
	for n, s := range r.from {
		for i, err := range ReadAll(ctx, []*Server{s}, nil) {
			if err != nil {
				return err
			}
			owner, moves := r.leaves(n, i.Key)
			if !moves {
				continue
			}
			if err := w.writers[owner].Write(ctx, i); err != nil {
				return err
			}
			r.copied[maphash.Bytes(seed, i.Key)] = i.CAS
		}
	}
	return w.Flush(ctx)
}

// putRight brings what changed at the old owners after it was copied; nobody writes there any more.
func (r *rebalance) putRight(ctx context.Context) (err error) {
	w, err := NewSpread(ctx, r.Distribution, r.to, Add)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for n, s := range r.from {
		if err := r.putRightOf(ctx, n, s, w); err != nil {
			return err
		}
	}
	if err := w.Flush(ctx); err != nil {
		return err
	}
	o := w.Outcome()
	r.out.Refused += o.Refused
	return r.forget(ctx, w)
}

func (r *rebalance) putRightOf(ctx context.Context, n int, s *Server, w *Spread) (err error) {
	clear, err := NewWriter(ctx, s, Set)
	if err != nil {
		return err
	}
	defer func() {
		r.out.Cleared += clear.Deleted - clear.Left
		err = errors.Join(err, clear.Close())
	}()
	stays := r.stays(s)
	for i, err := range ReadAll(ctx, []*Server{s}, nil) {
		if err != nil {
			return err
		}
		if r.before.Pick(i.Key) != n {
			continue
		}
		owner := r.after.Pick(i.Key)
		if r.to[owner].Addr == s.Addr {
			continue
		}
		if err := r.late(ctx, w.writers[owner], i); err != nil {
			return err
		}
		if stays {
			if clear.nearlyFull() { // the new owner has everything before it is deleted here
				if err := w.Flush(ctx); err != nil {
					return err
				}
			}
			if err := clear.Delete(ctx, i.Key, i.CAS); err != nil {
				return err
			}
		}
	}
	if err := w.Flush(ctx); err != nil {
		return err
	}
	return clear.Flush(ctx)
}

func (r *rebalance) stays(s *Server) bool {
	for _, o := range r.to {
		if o.Addr == s.Addr {
			return true
		}
	}
	return false
}

// late brings an item that was written after it was copied, or was not there then.
func (r *rebalance) late(ctx context.Context, w *Writer, i *Item) error {
	sum := maphash.Bytes(seed, i.Key)
	cas, copied := r.copied[sum]
	delete(r.copied, sum)
	switch {
	case !copied:
		r.out.Late++
		return w.Write(ctx, i)
	case cas == i.CAS:
		return nil
	case w.KeepsCAS:
		r.out.Late++
		return w.Replace(ctx, i, cas)
	}
	r.out.Late++
	return w.Delete(ctx, i.Key, 0)
}

// forget deletes at the new owners what was deleted at the old ones after it was copied.
func (r *rebalance) forget(ctx context.Context, w *Spread) error {
	if len(r.copied) == 0 {
		return nil
	}
	for n, s := range r.to {
		list, err := listKeys(ctx, s)
		if err != nil {
			return err
		}
		if err := errors.Join(r.forgetOf(ctx, list, n, w.writers[n]), list.close()); err != nil {
			return err
		}
	}
	return w.Flush(ctx)
}

func (r *rebalance) forgetOf(ctx context.Context, list *spool, n int, w *Writer) error {
	for {
		batch, err := list.next()
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, l := range batch {
			cas, ghost := r.copied[maphash.Bytes(seed, l.key)]
			if !ghost || r.after.Pick(l.key) != n {
				continue
			}
			if !w.KeepsCAS {
				cas = 0
			}
			r.out.Gone++
			if err := w.Delete(ctx, l.key, cas); err != nil {
				return err
			}
		}
	}
}
