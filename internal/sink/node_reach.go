package sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// reach finds the node for a key where it has to be connected to, or another
// database has to be selected.
func (s *Server) reach(ctx context.Context, db int, key []byte) (*node, error) {
	name := string(key)
	since, d := time.Now(), firstRest
	for {
		if n := s.owner(name); n.conn != nil && n.known[db] {
			s.selectDB(n, db)
			return n, nil
		}
		// Whoever answers may change who is responsible.
		if err := s.answered(ctx); err != nil {
			return nil, err
		}
		n := s.owner(name)
		err := s.ensure(ctx, n, db)
		var refused *dbError
		switch {
		case err == nil:
			return n, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.As(err, &refused):
			return nil, err
		case time.Since(since) > s.opt.Patience:
			return nil, fmt.Errorf("cannot restore key %q of database %d into %s: %w; it was tried for %s", key, db, s.addr, err, s.opt.Patience)
		}
		if s.routes != nil {
			_ = s.refresh(ctx, nil) // if nobody answers, the next try says so
		}
		if err := rest(ctx, d); err != nil {
			return nil, err
		}
		d = min(2*d, longestRest)
	}
}

// dbError says that a server does not have a database, or does not let us use it.
type dbError struct{ err error }

func (e *dbError) Error() string { return e.err.Error() }
func (e *dbError) Unwrap() error { return e.err }

// selectDB selects a database that is known to exist with the next commands.
func (s *Server) selectDB(n *node, db int) {
	if n.db == db {
		return
	}
	s.bytes += n.end(appendSelect(n.begin(commandFrame), db), flying{db: db, aux: true})
	n.db = db
}

// ensure connects to a node that has nothing in flight, and selects a database. Whether there is
// one is waited for the first time: commands behind a SELECT that fails would
// write to another database.
func (s *Server) ensure(ctx context.Context, n *node, db int) error {
	if n.conn == nil {
		if err := s.reconnect(ctx, n); err != nil {
			return err
		}
	}
	if n.known[db] {
		s.selectDB(n, db)
		return nil
	}
	_, err := n.conn.Do(ctx, "SELECT", strconv.Itoa(db))
	switch {
	case err == nil:
		n.known[db], n.db = true, db
		return nil
	case resp.IsServerError(err) && !resp.IsServerError(err, passing...):
		return &dbError{fmt.Errorf("cannot select database %d of %s: %w", db, n.opt, err)}
	}
	_ = n.drop() // it is dead, or will be asked anew
	return err
}

// reconnect connects to a node, for the first time or once more.
func (s *Server) reconnect(ctx context.Context, n *node) error {
	opt := n.opt
	opt.DialTimeout = redialTimeout
	c, err := resp.Dial(ctx, opt)
	if err != nil {
		return err
	}
	life, err := lifelineOf(ctx, c)
	became := formerNone
	if err == nil && n.met {
		became, err = succeed(ctx, c, n.life, life)
	}
	if err != nil {
		return errors.Join(err, c.Close()) // the next try finds out what became of the former
	}
	n.became = became
	if n.met {
		s.events.Reconnects++
	}
	if n.became == formerRestart {
		n.known = map[int]bool{0: true}
		s.events.Restarts = append(s.events.Restarts, n.addr+" was started again")
	}
	n.life = life
	n.connect(c, s.window)
	n.guard(ctx)
	return nil
}

// doubt notes a key of which an old version may still be carried out.
func (s *Server) doubt(key flow.Key) {
	if s.unsure == nil {
		s.unsure = map[flow.Key]struct{}{}
	}
	s.unsure[key] = struct{}{}
}
