package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// Picks reads keys of one server over one connection that it keeps, for those who
// ask for some keys after the other. It belongs to one goroutine.
type Picks struct {
	*Scan
	r  *reader
	db int
}

// NewPicks returns one for the server at opt; opt.DB does not matter. A replica in
// cluster mode is read like a primary.
func NewPicks(opt resp.Options) *Picks { return &Picks{Scan: NewScan(opt, ScanOptions{}), db: -1} }

// NewReplicaScan is NewScan for a server that may be a replica in cluster mode.
func NewReplicaScan(opt resp.Options, so ScanOptions) *Scan {
	s := NewScan(opt, so)
	s.readOnly = true
	return s
}

// at selects a database, over a new connection where there is none.
func (p *Picks) at(ctx context.Context, db int) error {
	if p.r == nil {
		p.readOnly = true
		r, err := p.dial(ctx)
		if err != nil {
			return err
		}
		p.r, p.db = r, -1
	}
	if p.db == db {
		return nil
	}
	if _, err := p.r.conn.Do(ctx, "SELECT", strconv.Itoa(db)); err != nil {
		return fmt.Errorf("cannot select database %d: %w", db, err)
	}
	p.db = db
	return nil
}

// Read hands those of some different keys of a database that exist to yield, in any
// order. An entry is valid during the call.
func (p *Picks) Read(ctx context.Context, db int, keys [][]byte, yield func(*flow.Entry) bool) error {
	if err := p.at(ctx, db); err != nil {
		return err
	}
	// It is told that keys expire, so that each is asked for its own expiry.
	w := newWalk(ctx, p.Scan, p.r, resp.Keyspace{DB: db, Expires: 1}, flow.NewLimiter(flow.Rate{}))
	w.done = true // nothing is to be listed
	for len(keys) > 0 {
		part := keys[:min(len(keys), keysBatch)]
		keys = keys[len(part):]
		b := w.batch()
		for _, k := range part {
			b.add(k)
		}
		w.enqueue(b)
	}
	return errors.Join(w.run(ctx, yield), w.pipe.Close())
}

// Missing are those of some keys of a database that do not exist. Values are not read.
func (p *Picks) Missing(ctx context.Context, db int, keys [][]byte) (out [][]byte, err error) {
	if err := p.at(ctx, db); err != nil {
		return nil, err
	}
	pipe := resp.NewPipe(ctx, p.r.conn, 0)
	defer func() { err = errors.Join(err, pipe.Close()) }()
	for _, k := range keys {
		b := resp.AppendArray(pipe.Begin(), 2)
		pipe.End(resp.AppendBulk(resp.AppendString(b, "EXISTS"), k))
	}
	for _, k := range keys {
		r, err := pipe.Next()
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("cannot look for key %q of database %d: %w", k, db, err)
		}
		if r.Int == 0 {
			out = append(out, k)
		}
	}
	return out, nil
}

// ListNode hands each key of one node to yield, some perhaps twice, and no values; the key
// is valid during the call. It ends early when yield returns false.
func ListNode(ctx context.Context, opt resp.Options, yield func(db int, key []byte) bool) error {
	_, err := listServer(ctx, opt, yield)
	return err
}
