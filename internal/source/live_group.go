package source

import (
	"fmt"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// clockKeys is how many expiries are asked for between two looks at the clock,
// on servers that tell only what is left.
const clockKeys = 16

// liveGroup is a request for some keys of one database: first the expiries of
// all, then the values. A key that changes in between is told of, and read again.
type liveGroup struct {
	db       int
	keys     *liveKeys
	from, n  int
	ttl, sel bool
	// text: they are taken for strings. See takeStrings.
	text bool
	// strings are the short ones found among the keys.
	strings int
}

// appendGroup appends the commands and says how many they are.
func (a *liveAttempt) appendGroup(dst []byte, g *liveGroup) ([]byte, int) {
	cmds := g.n
	if g.sel {
		dst = resp.AppendCommand(dst, "SELECT", strconv.Itoa(g.db))
		cmds++
	}
	if g.ttl {
		var n int
		dst, n = a.appendExpiries(dst, g)
		cmds += n
	}
	if g.text {
		return a.appendStrings(dst, g), cmds
	}
	for i := range g.n {
		dst = append(dst, "*2\r\n$4\r\nDUMP\r\n"...)
		dst = resp.AppendBulk(dst, g.keys.key(g.from+i))
	}
	return dst, cmds
}

// appendExpiries appends the commands that ask when the keys of a group expire.
func (a *liveAttempt) appendExpiries(dst []byte, g *liveGroup) ([]byte, int) {
	if a.r.exact {
		for i := range g.n {
			dst = append(dst, "*2\r\n$11\r\nPEXPIRETIME\r\n"...)
			dst = resp.AppendBulk(dst, g.keys.key(g.from+i))
		}
		return dst, g.n
	}
	dst = append(dst, "*1\r\n$4\r\nTIME\r\n"...)
	for i := range g.n {
		dst = append(dst, "*2\r\n$4\r\nPTTL\r\n"...)
		dst = resp.AppendBulk(dst, g.keys.key(g.from+i))
	}
	return append(dst, "*1\r\n$4\r\nTIME\r\n"...), g.n + 2
}

// takeGroup stores what the server answers to a group.
func (a *liveAttempt) takeGroup(g *liveGroup, next func() (*resp.Reply, error)) error {
	if g.sel {
		if _, err := good(next); err != nil {
			return fmt.Errorf("cannot select database %d: %w", g.db, err)
		}
	}
	now, sure, err := a.takeExpiries(g, next)
	if err != nil {
		return err
	}
	for i := range g.n {
		key := g.keys.key(g.from + i)
		r, err := a.value(next)
		if err != nil {
			return fmt.Errorf("cannot read key %q of database %d: %w", key, g.db, err)
		}
		a.dumps++
		left := int64(-1)
		if g.ttl {
			left = a.ttls[i]
		}
		if r.IsNull() || left == -2 {
			if err := a.gone(g.db, key); err != nil {
				return err
			}
			continue
		}
		e := &a.entry
		e.DB, e.Key = g.db, key
		there, err := takeDump(e, r)
		if err != nil {
			return fmt.Errorf("cannot read key %q of database %d: %w", key, g.db, err)
		}
		a.version = e.Version
		if !there {
			if err := a.gone(g.db, key); err != nil {
				return err
			}
			continue
		}
		if e.Type == rdb.TypeString && e.Body == nil && int64(len(e.Value)) < a.shortBytes() {
			g.strings++
		}
		if err := a.keepUntil(e, left, now, sure); err != nil {
			return err
		}
	}
	return nil
}

// keepUntil stores what was read of a key that expires in left milliseconds after
// now, never if that is negative. One whose expiry is not sure is read again.
func (a *liveAttempt) keepUntil(e *flow.Entry, left, now int64, sure bool) error {
	e.ExpireAt = 0
	if left >= 0 {
		// 0 milliseconds left is "expires now", not "never".
		e.ExpireAt = max(now+left, 1)
		if !sure {
			a.unsure++
			a.moved++
			a.cap.again(e.DB, e.Key)
		}
	}
	a.limit.Read(int(sizeOf(e)))
	return a.keep(e)
}

// value is the next reply over the connection for data, which may be spilled, or
// whatever else next gives.
func (a *liveAttempt) value(next func() (*resp.Reply, error)) (*resp.Reply, error) {
	a.conn.SpillAbove(spillAbove, a.s.lo.Dir)
	defer a.conn.SpillAbove(0, "")
	return good(next)
}

// takeExpiries reads the expiries of a group into a.ttls; now is to be added to them.
func (a *liveAttempt) takeExpiries(g *liveGroup, next func() (*resp.Reply, error)) (now int64, sure bool, err error) {
	a.ttls = a.ttls[:0]
	if !g.ttl {
		return 0, true, nil
	}
	if !a.r.exact {
		if now, err = a.takeTime(next); err != nil {
			return 0, false, err
		}
	}
	for i := range g.n {
		r, err := good(next)
		if err != nil {
			return 0, false, fmt.Errorf("cannot ask when key %q of database %d expires: %w", g.keys.key(g.from+i), g.db, err)
		}
		a.ttls = append(a.ttls, r.Int)
	}
	if a.r.exact {
		return 0, true, nil
	}
	then, err := a.takeTime(next)
	return now, now == then, err
}

func (a *liveAttempt) takeTime(next func() (*resp.Reply, error)) (int64, error) {
	r, err := good(next)
	if err != nil {
		return 0, fmt.Errorf("cannot ask for the time: %w", err)
	}
	return millis(r)
}

// good is the next reply, unless that is an error.
func good(next func() (*resp.Reply, error)) (*resp.Reply, error) {
	r, err := next()
	if err != nil {
		return nil, err
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

// groups cuts keys of a database into groups.
func (a *liveAttempt) groups(db int, keys *liveKeys, ttl bool, each func(g *liveGroup)) {
	step := keys.len()
	if ttl && !a.r.exact {
		step = clockKeys
	}
	for from := 0; from < keys.len(); from += step {
		each(&liveGroup{db: db, keys: keys, from: from, n: min(step, keys.len()-from), ttl: ttl, text: keys.text})
	}
}

// weight is what a group counts among those in flight: a key for each that is
// dumped, half of one for each string.
func (g *liveGroup) weight() int {
	if g.text {
		return (g.n + 1) / 2
	}
	return g.n
}
