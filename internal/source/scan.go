package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// ScanOptions narrow and slow a Scan down. The zero value reads everything at full speed.
type ScanOptions struct {
	// Databases to read; nil reads all that are not empty.
	Databases []int
	// Rate limits the reading to so many keys per second, BytesRate to so many
	// bytes of keys and values; 0 does not.
	Rate      int
	BytesRate int64
	// Keep, if set, says whether a key is to be read at all. It is called once for
	// each key, from the goroutine of Entries.
	Keep func(db int, key []byte) bool
}

// Scan reads a live server with SCAN and DUMP, which any server allows that
// allows reading at all: it needs neither replication nor administration rights.
// Where MGET and INFO are allowed too it reads with fewer commands; see scan_group.go.
//
// Value and expiry of a key are read inside one transaction, so they belong to
// one instant. The expiry is exact to the millisecond on every version.
type Scan struct {
	opt resp.Options
	so  ScanOptions
	// shard: it is one of several, and whoever owns it looks after keys that move away.
	shard bool
	// readOnly: the server may be a replica in cluster mode, which is read like a primary.
	readOnly bool
	skipped  atomic.Int64
	unsure   atomic.Int64

	mu     sync.Mutex
	closed bool
	conns  map[*resp.Conn]struct{}

	// lookups serve one caller at a time, over a connection of their own.
	lookup sync.Mutex
	look   *reader
}

// NewScan returns a source that reads the server at opt; opt.DB does not matter.
func NewScan(opt resp.Options, so ScanOptions) *Scan {
	return &Scan{opt: opt, so: so, conns: map[*resp.Conn]struct{}{}}
}

// Entries yields every key of the chosen databases, database by database.
func (s *Scan) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return oneError(func(yield func(*flow.Entry) bool) error {
		r, err := s.dial(ctx)
		if err != nil {
			return err
		}
		defer s.drop(r.conn)
		dbs, err := s.databases(ctx, r)
		if err != nil {
			return err
		}
		limit := flow.NewLimiter(flow.Rate{Keys: int64(s.so.Rate), Bytes: s.so.BytesRate})
		var keys int64
		for _, db := range dbs {
			keys += db.Keys
		}
		calm := s.startThrottle(ctx, keys)
		defer calm.Close()
		for _, db := range dbs {
			if _, err := r.conn.Do(ctx, "SELECT", strconv.Itoa(db.DB)); err != nil {
				return fmt.Errorf("cannot select database %d: %w", db.DB, err)
			}
			w := newWalk(ctx, s, r, db, limit)
			w.calm = calm
			if err := errors.Join(w.run(ctx, yield), w.pipe.Close()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Len is the number of keys in the chosen databases as the server counts them,
// expired ones included.
func (s *Scan) Len(ctx context.Context) (int64, error) {
	r, err := s.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer s.drop(r.conn)
	dbs, err := s.databases(ctx, r)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, db := range dbs {
		n += db.Keys
	}
	return n, nil
}

// Vanished counts the keys that SCAN returned and that were gone when they were
// to be read: deleted or expired in between.
func (s *Scan) Vanished() int64 { return s.skipped.Load() }

// Inexact counts the keys whose expiry may be a millisecond early, because a
// server older than Redis 7.0 stood on the edge of a millisecond each time it
// was asked. On newer servers it is always 0.
func (s *Scan) Inexact() int64 { return s.unsure.Load() }

// databases are the chosen ones that are not empty.
func (s *Scan) databases(ctx context.Context, r *reader) ([]resp.Keyspace, error) {
	all, err := r.keyspaces(ctx)
	if err != nil || s.so.Databases == nil {
		return all, err
	}
	return slices.DeleteFunc(all, func(k resp.Keyspace) bool {
		return !slices.Contains(s.so.Databases, k.DB)
	}), nil
}

// Lookup reads one key now; nil means that it does not exist. The entry is the
// caller's to keep, but for its Body, which can be read until the next Lookup. It may be called while Entries runs, by one goroutine after another.
func (s *Scan) Lookup(ctx context.Context, db int, key []byte) (*flow.Entry, error) {
	s.lookup.Lock()
	defer s.lookup.Unlock()
	if s.look == nil {
		r, err := s.dial(ctx)
		if err != nil {
			return nil, err
		}
		s.look = r
	}
	e, err := s.look.lookup(ctx, db, key)
	if err != nil && !resp.IsServerError(err) {
		s.drop(s.look.conn)
		s.look = nil
	}
	return e, err
}

// dial makes a connection that Close will close.
func (s *Scan) dial(ctx context.Context) (*reader, error) {
	conn, err := resp.Dial(ctx, s.opt.WithDB(0))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	closed := s.closed
	s.conns[conn] = struct{}{}
	s.mu.Unlock()
	if closed {
		s.drop(conn)
		return nil, errClosed
	}
	r, err := newReader(ctx, conn)
	if err != nil {
		s.drop(conn)
		return nil, err
	}
	if s.readOnly && r.cluster {
		if _, err := conn.Do(ctx, "READONLY"); err != nil {
			s.drop(conn)
			return nil, fmt.Errorf("cannot read from a replica: %w", err)
		}
	}
	return r, nil
}

// drop hangs up. What could go wrong with that no longer matters to anyone.
func (s *Scan) drop(c *resp.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	_ = c.Close()
}

// Close hangs up; a reading that is under way ends with an error.
func (s *Scan) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var err error
	for c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}
