package source

import (
	"fmt"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// A group of keys is read in one transaction, so that value and expiry of each
// belong to one instant. The fewer commands, the less the server has to do:
//
//   - One MGET reads the strings among the keys at half the cost of a DUMP each: no
//     checksum, no attempt to compress. The others answer nil to it and are read again by DUMP.
//   - While no key of a database has an expiry, INFO keyspace at the end of the
//     transaction proves it for that very instant, and no key is asked for its own.
//
// Expiries are asked for before the values: between them and the clock of an old
// server must lie nothing that takes time.

// way is how a group is read. The zero value works wherever reading works.
type way struct {
	// strings are read by one MGET, instead of every key by DUMP.
	strings bool
	// eternal: INFO shall prove that no key has an expiry.
	eternal bool
}

// group is what one transaction reads.
type group struct {
	way
	n   int
	key func(i int) []byte
}

// appendGroup appends the transaction and says how many commands it has.
func (r *reader) appendGroup(dst []byte, g group) ([]byte, int) {
	dst = append(dst, "*1\r\n$5\r\nMULTI\r\n"...)
	n := 2
	if !g.eternal {
		var asked int
		dst, asked = r.appendExpiries(dst, g)
		n += asked
	}
	if g.strings {
		dst = append(resp.AppendArray(dst, g.n+1), "$4\r\nMGET\r\n"...)
		for i := range g.n {
			dst = resp.AppendBulk(dst, g.key(i))
		}
		n++
	} else {
		for i := range g.n {
			dst = append(dst, "*2\r\n$4\r\nDUMP\r\n"...)
			dst = resp.AppendBulk(dst, g.key(i))
		}
		n += g.n
	}
	if g.eternal {
		dst = append(dst, "*2\r\n$4\r\nINFO\r\n$8\r\nkeyspace\r\n"...)
		n++
	}
	return append(dst, "*1\r\n$4\r\nEXEC\r\n"...), n
}

func (r *reader) appendExpiries(dst []byte, g group) ([]byte, int) {
	ask := "*2\r\n$11\r\nPEXPIRETIME\r\n"
	if !r.exact {
		ask = "*2\r\n$4\r\nPTTL\r\n"
		dst = append(dst, "*1\r\n$4\r\nTIME\r\n"...)
	}
	for i := range g.n {
		dst = append(dst, ask...)
		dst = resp.AppendBulk(dst, g.key(i))
	}
	if r.exact {
		return dst, g.n
	}
	return append(dst, "*1\r\n$4\r\nTIME\r\n"...), g.n + 2
}

// take reads the replies of a transaction of so many commands. The answer is
// valid until the next reply is asked for.
func (r *reader) take(next func() (*resp.Reply, error), commands int, g group, db int) (answer, error) {
	var refused error
	for range commands - 1 {
		q, err := next()
		if err != nil {
			return answer{}, err
		}
		if q.Kind == resp.Err && refused == nil {
			refused = q.Err()
		}
	}
	exec, err := next()
	if err != nil {
		return answer{}, err
	}
	if refused != nil {
		return answer{}, refused
	}
	return r.open(exec, g, db)
}

// answer is what EXEC gave for a group of keys.
type answer struct {
	way
	// values are the replies of DUMP, or the elements of MGET's; expiries those of
	// PEXPIRETIME or PTTL, and none where there is no expiry.
	values, expiries []resp.Reply
	// now is the server's Unix time in milliseconds to add PTTL to; 0 where the
	// expiry is absolute. sure: it is the very millisecond of PTTL.
	now  int64
	sure bool
	// mortal: INFO did not prove that no key has an expiry, and nothing else is told.
	mortal bool
}

// open takes EXEC's reply apart.
func (r *reader) open(exec *resp.Reply, g group, db int) (answer, error) {
	if err := exec.Err(); err != nil {
		return answer{}, err
	}
	a := answer{way: g.way, sure: true}
	rest := exec.Elems
	want := r.elements(g)
	if exec.Kind != resp.Array || len(rest) != want {
		return answer{}, fmt.Errorf("cannot read the reply of EXEC: %d elements where %d were due", len(rest), want)
	}
	if g.eternal {
		info := &rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		if mortal, err := hasExpiries(info, db); err != nil || mortal {
			return answer{mortal: true}, err
		}
	} else {
		var err error
		if rest, err = a.takeExpiries(rest, g.n, r.exact); err != nil {
			return answer{}, err
		}
	}
	if g.strings {
		if err := rest[0].Err(); err != nil {
			return answer{}, err
		}
		if rest = rest[0].Elems; len(rest) != g.n {
			return answer{}, fmt.Errorf("cannot read the reply of MGET: %d elements where %d were due", len(rest), g.n)
		}
	}
	a.values = rest
	return a, nil
}

// elements is how many the reply of EXEC has: INFO or the expiries, and the values.
func (r *reader) elements(g group) int {
	n := g.n
	if g.strings {
		n = 1
	}
	switch {
	case g.eternal:
		return n + 1
	case r.exact:
		return n + g.n
	}
	return n + g.n + 2
}

// takeExpiries keeps the expiries of n keys and returns what follows them.
func (a *answer) takeExpiries(rest []resp.Reply, n int, exact bool) ([]resp.Reply, error) {
	if exact {
		a.expiries = rest[:n]
		return rest[n:], nil
	}
	before, err := millis(&rest[0])
	if err != nil {
		return nil, err
	}
	after, err := millis(&rest[n+1])
	if err != nil {
		return nil, err
	}
	a.now, a.sure, a.expiries = before, before == after, rest[1:n+1]
	return rest[n+2:], nil
}

// hasExpiries tells whether INFO keyspace counts keys with an expiry in a database.
func hasExpiries(info *resp.Reply, db int) (bool, error) {
	if err := info.Err(); err != nil {
		return false, err
	}
	all, err := resp.ParseKeyspaces(info.Bytes)
	if err != nil {
		return false, err
	}
	for _, k := range all {
		if k.DB == db {
			return k.Expires != 0, nil
		}
	}
	// Without its line the database is empty, or this is no INFO as we know it.
	return true, nil
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

// found is what an answer knows of a key.
type found int

const (
	// present: it was read.
	present found = iota
	// gone: it does not exist.
	gone
	// unread: it is no string, or gone.
	unread
)

// fill makes an entry of key i of the answer. Its value is the answer's own bytes,
// except that of a string, which is made in text.
func (a *answer) fill(e *flow.Entry, i int, text *[]byte) (found, error) {
	value := &a.values[i]
	if err := value.Err(); err != nil {
		return 0, fmt.Errorf("cannot get its value: %w", err)
	}
	expireAt := int64(0)
	if !a.eternal {
		ttl := &a.expiries[i]
		if err := ttl.Err(); err != nil {
			return 0, fmt.Errorf("cannot ask for its expiry: %w", err)
		}
		if ttl.Int == -2 {
			return gone, nil
		}
		if ttl.Int >= 0 {
			// 0 milliseconds left is "expires now", not "never".
			expireAt = max(a.now+ttl.Int, 1)
		}
	}
	switch {
	case value.IsNull() && a.strings:
		return unread, nil
	case value.IsNull():
		return gone, nil
	case a.strings:
		takeString(e, value, text)
	default:
		there, err := takeDump(e, value)
		if err != nil {
			return 0, err
		}
		if !there {
			return gone, nil
		}
	}
	e.Idle, e.Freq, e.ExpireAt = -1, -1, expireAt
	return present, nil
}

// stringVersion is the RDB version of strings read by MGET: any reads them.
const stringVersion = 9

// volatile tells whether key i of the answer expires.
func (a *answer) volatile(i int) bool {
	return !a.eternal && a.expiries[i].Kind == resp.Int && a.expiries[i].Int >= 0
}
