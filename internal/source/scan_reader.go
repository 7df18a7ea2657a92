package source

import (
	"context"
	"fmt"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// reader is a connection that reads keys with their expiry, and knows how that
// is done on its server.
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

// commands is how many commands a transaction over n keys has, EXEC apart.
func (r *reader) commands(n int) int {
	if r.exact {
		return 1 + 2*n
	}
	return 3 + 2*n
}

// appendOpen, appendKey for each key, and appendClose append the commands that
// read keys in one transaction. The server answers each with a line, and EXEC
// with everything.
func (r *reader) appendOpen(dst []byte) []byte {
	dst = append(dst, "*1\r\n$5\r\nMULTI\r\n"...)
	if !r.exact {
		dst = append(dst, "*1\r\n$4\r\nTIME\r\n"...)
	}
	return dst
}

func (r *reader) appendKey(dst, key []byte) []byte {
	dst = append(dst, "*2\r\n$4\r\nDUMP\r\n"...)
	dst = resp.AppendBulk(dst, key)
	if r.exact {
		dst = append(dst, "*2\r\n$11\r\nPEXPIRETIME\r\n"...)
	} else {
		dst = append(dst, "*2\r\n$4\r\nPTTL\r\n"...)
	}
	return resp.AppendBulk(dst, key)
}

func (r *reader) appendClose(dst []byte) []byte {
	if !r.exact {
		dst = append(dst, "*1\r\n$4\r\nTIME\r\n"...)
	}
	return append(dst, "*1\r\n$4\r\nEXEC\r\n"...)
}

// answer is what EXEC gave for a group of keys.
type answer struct {
	// pairs are DUMP and PEXPIRETIME or PTTL, key by key.
	pairs []resp.Reply
	// now is the server's Unix time in milliseconds to add PTTL to; 0 where the
	// expiry is absolute. sure: it is the very millisecond of PTTL.
	now  int64
	sure bool
}

// open takes EXEC's reply for n keys apart.
func (r *reader) open(exec *resp.Reply, n int) (answer, error) {
	if err := exec.Err(); err != nil {
		return answer{}, err
	}
	want := 2 * n
	if !r.exact {
		want += 2
	}
	if exec.Kind != resp.Array || len(exec.Elems) != want {
		return answer{}, fmt.Errorf("cannot read the reply of EXEC: %d elements where %d were due", len(exec.Elems), want)
	}
	if r.exact {
		return answer{pairs: exec.Elems, sure: true}, nil
	}
	before, err := millis(&exec.Elems[0])
	if err != nil {
		return answer{}, err
	}
	after, err := millis(&exec.Elems[want-1])
	if err != nil {
		return answer{}, err
	}
	return answer{pairs: exec.Elems[1 : want-1], now: before, sure: before == after}, nil
}

// millis reads the reply of TIME, seconds and microseconds, as Unix milliseconds.
func millis(t *resp.Reply) (int64, error) {
	if err := t.Err(); err != nil {
		return 0, fmt.Errorf("cannot ask for the time: %w", err)
	}
	if len(t.Elems) != 2 {
		return 0, fmt.Errorf("cannot read the reply of TIME: it is %s", t.Kind)
	}
	sec, err := t.Elems[0].Number()
	if err != nil {
		return 0, err
	}
	usec, err := t.Elems[1].Number()
	if err != nil {
		return 0, err
	}
	return sec*1000 + usec/1000, nil
}

// fill makes an entry of key i of the answer. Without an error it returns false
// when the key is gone.
func (a *answer) fill(e *flow.Entry, i int) (bool, error) {
	dump, ttl := &a.pairs[2*i], &a.pairs[2*i+1]
	if err := dump.Err(); err != nil {
		return false, fmt.Errorf("cannot dump it: %w", err)
	}
	if err := ttl.Err(); err != nil {
		return false, fmt.Errorf("cannot ask for its expiry: %w", err)
	}
	if dump.IsNull() || ttl.Int == -2 {
		return false, nil
	}
	d, err := rdb.ParseDump(dump.Bytes)
	if err != nil {
		return false, err
	}
	e.Type, e.Value, e.Version = d.Type, d.Value, d.Version
	e.Idle, e.Freq = -1, -1
	e.ExpireAt = 0
	if ttl.Int >= 0 {
		// 0 milliseconds left is "expires now", not "never".
		e.ExpireAt = max(a.now+ttl.Int, 1)
	}
	return true, nil
}

// volatile tells whether key i of the answer expires.
func (a *answer) volatile(i int) bool {
	return a.pairs[2*i+1].Kind == resp.Int && a.pairs[2*i+1].Int >= 0
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
		there, err := a.fill(&e, 0)
		if err != nil {
			return nil, fmt.Errorf("cannot read key %q of database %d: %w", key, db, err)
		}
		if !there {
			return nil, nil
		}
		e.DB, e.Key = db, key
		e = e.Clone()
		return &e, nil
	}
}

// transact reads one key in one round trip.
func (r *reader) transact(key []byte) (answer, error) {
	cmds := r.appendClose(r.appendKey(r.appendOpen(nil), key))
	if err := r.conn.Send(cmds); err != nil {
		return answer{}, err
	}
	var refused error
	for range r.commands(1) {
		q, err := r.conn.Receive()
		if err != nil {
			return answer{}, err
		}
		if err := q.Err(); err != nil && refused == nil {
			refused = err
		}
	}
	exec, err := r.conn.Receive()
	if err != nil {
		return answer{}, err
	}
	if refused != nil {
		return answer{}, refused
	}
	return r.open(exec, 1)
}
