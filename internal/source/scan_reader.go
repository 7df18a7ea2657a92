package source

import (
	"context"
	"fmt"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// reader is a connection that reads keys with their expiry, and knows how that
// is done on its server; scan_group.go has the commands.
type reader struct {
	conn *resp.Conn
	srv  resp.Server
	// exact: the server has PEXPIRETIME. Without it PTTL is asked between two
	// TIMEs, and when both show the same millisecond, so did PTTL's clock.
	exact bool
	// cluster: keys of different slots cannot share a transaction.
	cluster bool
	// noInfo: the user may not call INFO.
	noInfo bool
	// plain: the server refused a transaction with MGET or INFO in it, so keys are
	// read by DUMP and the command that tells the expiry, and by nothing else.
	plain bool
}

// How often a single key is read again on an old server until both TIMEs agree.
// One transaction of four commands takes some microseconds, so that even the
// second try is rare.
const clockTries = 8

func newReader(ctx context.Context, conn *resp.Conn) (*reader, error) {
	r := &reader{conn: conn}
	srv, err := conn.Server(ctx)
	switch {
	case err == nil:
	case resp.IsServerError(err, "NOPERM"):
		r.noInfo = true
		srv = conn.Greeting()
		if srv.Engine == "" {
			return nil, fmt.Errorf("cannot tell the server's version without the right to call INFO or HELLO: %w", err)
		}
	default:
		return nil, err
	}
	r.srv, r.cluster, r.exact = srv, srv.Mode == "cluster", srv.AtLeast(7, 0)
	if r.cluster {
		// No CLIENT NO-TOUCH: while a slot is being moved away, Valkey 8.1.1 dies of a
		// key of it that such a client queues in MULTI.
		return r, nil
	}
	// Reading must not make keys look used. Servers before 7.2 cannot help it.
	if _, err := conn.Do(ctx, "CLIENT", "NO-TOUCH", "ON"); err != nil && !resp.IsServerError(err) {
		return nil, err
	}
	return r, nil
}

// The databases that are tried where INFO is not allowed.
const maxDatabases = 1024

// keyspaces lists the databases that are not empty.
func (r *reader) keyspaces(ctx context.Context) ([]resp.Keyspace, error) {
	if !r.noInfo {
		return r.conn.Keyspaces(ctx)
	}
	var out []resp.Keyspace
	for db := range maxDatabases {
		if _, err := r.conn.Do(ctx, "SELECT", strconv.Itoa(db)); err != nil {
			if db > 0 && resp.IsServerError(err, "ERR", "NOPERM") {
				return out, nil // past the last one
			}
			return nil, fmt.Errorf("cannot select database %d: %w", db, err)
		}
		n, err := r.conn.Do(ctx, "DBSIZE")
		if err != nil {
			return nil, fmt.Errorf("cannot count the keys of database %d: %w", db, err)
		}
		if n.Int > 0 {
			out = append(out, resp.Keyspace{DB: db, Keys: n.Int})
		}
	}
	return out, nil
}

// lookup reads one key. The entry is the caller's.
func (r *reader) lookup(ctx context.Context, db int, key []byte) (*flow.Entry, error) {
	if _, err := r.conn.Do(ctx, "SELECT", strconv.Itoa(db)); err != nil {
		return nil, fmt.Errorf("cannot select database %d: %w", db, err)
	}
	release := r.conn.Guard(ctx)
	defer release()
	var e flow.Entry
	for try := 1; ; try++ {
		a, err := r.transact(key)
		if err != nil {
			return nil, fmt.Errorf("cannot read key %q of database %d: %w", key, db, err)
		}
		if !a.sure && try < clockTries && a.volatile(0) {
			continue
		}
		found, err := a.fill(&e, 0, nil)
		if err != nil {
			return nil, fmt.Errorf("cannot read key %q of database %d: %w", key, db, err)
		}
		if found != present {
			return nil, nil
		}
		e.DB, e.Key = db, key
		e = e.Clone()
		return &e, nil
	}
}

// transact reads one key in one round trip.
func (r *reader) transact(key []byte) (answer, error) {
	g := group{n: 1, key: func(int) []byte { return key }}
	cmds, n := r.appendGroup(nil, g)
	if err := r.conn.Send(cmds); err != nil {
		return answer{}, err
	}
	r.conn.SpillAbove(spillAbove, "")
	defer r.conn.SpillAbove(0, "")
	return r.take(r.conn.Receive, n, g, 0)
}
