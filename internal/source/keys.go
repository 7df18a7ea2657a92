package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// Keys reads given keys of a live server as Scan reads all: many at a time, value
// and expiry of one instant. A key that does not exist is left out.
type Keys struct {
	*Scan
	keys []flow.Key
}

// NewKeys returns a source of the keys; AnyDB stands for every database. opt.DB does not matter.
func NewKeys(opt resp.Options, keys []flow.Key) *Keys {
	return &Keys{NewScan(opt, ScanOptions{}), keys}
}

// Len is how many keys are asked for.
func (s *Keys) Len(context.Context) (int64, error) { return int64(len(s.keys)), nil }

// Entries yields the keys that exist, database by database, each once.
func (s *Keys) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return oneError(func(yield func(*flow.Entry) bool) error {
		if len(s.keys) == 0 {
			return nil
		}
		r, err := s.dial(ctx)
		if err != nil {
			return err
		}
		defer s.drop(r.conn)
		dbs, err := r.keyspaces(ctx)
		if err != nil {
			return err
		}
		for _, db := range dbs {
			if err := s.read(ctx, r, db, yield); err != nil {
				return err
			}
		}
		return nil
	})
}

// keysBatch keys share the memory that their names are kept in until they were read.
const keysBatch = 1000

// read reads the keys that are asked for in one database.
func (s *Keys) read(ctx context.Context, r *reader, ks resp.Keyspace, yield func(*flow.Entry) bool) error {
	if _, err := r.conn.Do(ctx, "SELECT", strconv.Itoa(ks.DB)); err != nil {
		return fmt.Errorf("cannot select database %d: %w", ks.DB, err)
	}
	w := newWalk(ctx, s.Scan, r, ks, flow.NewLimiter(flow.Rate{}))
	w.done = true // nothing is to be listed
	once := make(map[string]struct{}, len(s.keys))
	b := w.batch()
	for _, k := range s.keys {
		if _, had := once[k.Name]; had || k.DB != ks.DB && k.DB != AnyDB {
			continue
		}
		once[k.Name] = struct{}{}
		if b.add([]byte(k.Name)); len(b.ends) == keysBatch {
			w.enqueue(b)
			b = w.batch()
		}
	}
	w.enqueue(b)
	return errors.Join(w.run(ctx, yield), w.pipe.Close())
}

// listServer hands each key of one server to yield; false means that yield has had enough.
func listServer(ctx context.Context, opt resp.Options, yield func(db int, key []byte) bool) (bool, error) {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	r, err := newReader(ctx, conn)
	if err != nil {
		return false, err
	}
	dbs, err := r.keyspaces(ctx)
	if err != nil {
		return false, err
	}
	for _, db := range dbs {
		if _, err := conn.Do(ctx, "SELECT", strconv.Itoa(db.DB)); err != nil {
			return false, fmt.Errorf("cannot select database %d: %w", db.DB, err)
		}
		more, err := listDatabase(ctx, conn, db.DB, yield)
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// listDatabase lists the selected database; false means that yield has had enough.
func listDatabase(ctx context.Context, conn *resp.Conn, db int, yield func(int, []byte) bool) (bool, error) {
	cursor := "0"
	for {
		r, err := conn.Do(ctx, "SCAN", cursor, "COUNT", strconv.Itoa(scanCount))
		if err != nil {
			return false, fmt.Errorf("cannot list the keys of database %d: %w", db, err)
		}
		if len(r.Elems) != 2 {
			return false, fmt.Errorf("the reply of SCAN is %s", r.Kind)
		}
		for i := range r.Elems[1].Elems {
			if !yield(db, r.Elems[1].Elems[i].Bytes) {
				return false, nil
			}
		}
		if cursor = string(r.Elems[0].Bytes); cursor == "0" {
			return true, nil
		}
	}
}
