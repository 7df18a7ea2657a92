package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

const (
	// pieceBytes of a string, or pieceItems of a collection, are asked for at once.
	pieceBytes = 256 << 10
	pieceItems = 500
	// itemsBytes of a collection are about the most that is asked for at once.
	itemsBytes = 1 << 20
	// pieceTries is how often a large value is begun before it is left to the cut.
	pieceTries = 2
)

// errMoved: the value changed while it was read in pieces.
var errMoved = errors.New("the value changed while it was read")

// largeKey is a key with the memory that its value takes.
type largeKey struct {
	touched
	size int64
}

// pieces reads the large values that a walk left out. One that changes
// meanwhile is told of and read again; one that keeps changing is read in the cut.
func (a *liveAttempt) pieces(ctx context.Context, w *liveWalk) error {
	for _, large := range w.big {
		id := large.touched
		if a.tries[id]++; a.tries[id] > pieceTries {
			a.hot[id] = large.size
			continue
		}
		if err := a.selectDB(ctx, id.db); err != nil {
			return err
		}
		key := []byte(id.key)
		err := a.piecewise(ctx, id.db, key, large.size)
		switch {
		case errors.Is(err, errMoved):
			a.moved++
			a.cap.again(id.db, key)
		case err != nil:
			return fmt.Errorf("cannot read key %q of database %d: %w", key, id.db, err)
		}
		if err := a.tick(); err != nil {
			return err
		}
	}
	w.big = nil
	return nil
}

// piecewise reads one value, that takes so many bytes of the server's memory.
func (a *liveAttempt) piecewise(ctx context.Context, db int, key []byte, size int64) error {
	r, err := a.call(ctx, "TYPE", string(key))
	if err != nil {
		return err
	}
	e := flow.Entry{DB: db, Key: key, Version: a.version, Idle: -1, Freq: -1}
	p := &piece{a: a, key: string(key), size: size}
	var read func(context.Context) error
	switch string(r.Bytes) {
	case "none":
		return a.gone(db, key)
	case "string":
		e.Type, read = rdb.TypeString, p.text
	case "list":
		e.Type, read = rdb.TypeList, p.list
	case "set":
		e.Type, read = rdb.TypeSet, p.members("SCARD", "SSCAN", 1)
	case "hash":
		e.Type, read = rdb.TypeHash, p.members("HLEN", "HSCAN", 2)
	case "zset":
		e.Type, read = rdb.TypeZSet2, p.members("ZCARD", "ZSCAN", 2)
	default:
		// Streams are kept in pieces that are dumped as they are, which is fast;
		// modules have no other way.
		return a.whole(db, key)
	}
	err = a.together(&e, p, func() error { return read(ctx) })
	if errors.Is(err, errWhole) {
		a.note("key %q of database %d is a large hash with expiring fields: it was dumped at once", key, db)
		return a.whole(db, key)
	}
	return err
}

// together puts a value together in the spool, where it is of no account until it
// is whole, so that its size takes no memory.
func (a *liveAttempt) together(e *flow.Entry, p *piece, read func() error) (err error) {
	sp := a.sp
	if a.direct() {
		if a.own == nil {
			if a.own, err = newSpool(a.s.lo.Dir); err != nil {
				return err
			}
		}
		sp = a.own
	}
	if p.value, err = sp.begin(e); err != nil {
		return err
	}
	if err = read(); err == nil {
		e.ExpireAt, err = p.expiry(e.DB)
	}
	if err != nil {
		return errors.Join(err, p.value.undo())
	}
	if err := p.value.end(e.ExpireAt); err != nil {
		return err
	}
	a.rep.Pieces++
	if !a.direct() {
		return a.filed(e, p.value.at)
	}
	return errors.Join(a.outOf(e, p.value), a.own.reset())
}

// outOf hands on what was put together.
func (a *liveAttempt) outOf(e *flow.Entry, r *spoolRecord) error {
	body, err := r.body()
	if err != nil {
		return err
	}
	if body.Size() > int64(spillAbove) {
		e.Body = body
		return a.keep(e)
	}
	e.Value = make([]byte, body.Size())
	if _, err := io.ReadFull(body, e.Value); err != nil {
		return a.own.fail(err)
	}
	return a.keep(e)
}

// whole reads one value at once.
func (a *liveAttempt) whole(db int, key []byte) error {
	keys := &liveKeys{}
	keys.add(key)
	g := &liveGroup{db: db, keys: keys, n: 1, ttl: true}
	cmds, n := a.appendGroup(a.pipe.Begin(), g)
	a.pipe.EndMany(cmds, n)
	return a.takeGroup(g, a.next)
}

// piece is a value being put together.
type piece struct {
	a   *liveAttempt
	key string
	// size is what the server says that the value takes of its memory.
	size  int64
	value *spoolRecord
	buf   []byte
}

// items is how many of n elements are asked for at once: fewer if they are large.
func (p *piece) items(n int64) int64 {
	return min(max(itemsBytes/max(p.size/max(n, 1), 1), 1), pieceItems)
}

// put appends to the value: a length, and strings as they came.
func (p *piece) put(b []byte) error {
	p.buf = b[:0]
	_, err := p.value.Write(b)
	return err
}

func (p *piece) putLength(n int64) error { return p.put(rdb.AppendLength(p.buf, uint64(n))) }

func (p *piece) putString(r *resp.Reply) error {
	if r.Spilled() == nil {
		return p.put(rdb.AppendString(p.buf, r.Bytes))
	}
	if err := p.putLength(bytesOf(r)); err != nil {
		return err
	}
	return p.putBytes(r)
}

func (p *piece) putBytes(r *resp.Reply) error {
	var err error
	if file := r.Spilled(); file != nil {
		_, err = io.Copy(p.value, file)
	} else {
		_, err = p.value.Write(r.Bytes)
	}
	return err
}

func (p *piece) number(ctx context.Context, args ...string) (int64, error) {
	r, err := p.a.call(ctx, args...)
	if resp.IsServerError(err, "WRONGTYPE") {
		return 0, errMoved
	}
	if err != nil {
		return 0, err
	}
	return r.Int, nil
}

func (p *piece) call(ctx context.Context, args ...string) (*resp.Reply, error) {
	p.a.conn.SpillAbove(spillAbove, p.a.s.lo.Dir)
	r, err := p.a.call(ctx, args...)
	p.a.conn.SpillAbove(0, "")
	if resp.IsServerError(err, "WRONGTYPE") {
		return nil, errMoved
	}
	if err != nil {
		return nil, err
	}
	p.a.limit.Read(int(bytesOf(r)))
	return r, p.a.limit.Wait(ctx, 0)
}

// bytesOf is how many bytes the strings of a reply have.
func bytesOf(r *resp.Reply) int64 {
	n := int64(len(r.Bytes))
	if file := r.Spilled(); file != nil {
		n = file.Size()
	}
	for i := range r.Elems {
		n += bytesOf(&r.Elems[i])
	}
	return n
}

func (p *piece) text(ctx context.Context) error {
	n, err := p.number(ctx, "STRLEN", p.key)
	if err != nil {
		return err
	}
	if err := p.putLength(n); err != nil {
		return err
	}
	for at := int64(0); at < n; at += pieceBytes {
		end := min(at+pieceBytes, n)
		r, err := p.call(ctx, "GETRANGE", p.key, strconv.FormatInt(at, 10), strconv.FormatInt(end-1, 10))
		if err != nil {
			return err
		}
		if bytesOf(r) != end-at {
			return errMoved
		}
		if err := p.putBytes(r); err != nil {
			return err
		}
	}
	return nil
}

func (p *piece) list(ctx context.Context) error {
	n, err := p.number(ctx, "LLEN", p.key)
	if err != nil {
		return err
	}
	if err := p.putLength(n); err != nil {
		return err
	}
	step := p.items(n)
	for at := int64(0); at < n; at += step {
		end := min(at+step, n)
		r, err := p.call(ctx, "LRANGE", p.key, strconv.FormatInt(at, 10), strconv.FormatInt(end-1, 10))
		if err != nil {
			return err
		}
		if int64(len(r.Elems)) != end-at {
			return errMoved
		}
		for i := range r.Elems {
			if err := p.putString(&r.Elems[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// errTwice: elements came more than once.
var errTwice = errors.New("elements came more than once")

// members reads a set, hash or sorted set. As long as nobody writes to it, SCAN gives
// every element at least once, and more than once only while the server's table
// shrinks. So as many elements as there are have come once each; if more came, they
// are read again with a memory of eight bytes or some more for each.
func (p *piece) members(count, scan string, width int) func(context.Context) error {
	return func(ctx context.Context) error {
		n, err := p.number(ctx, count, p.key)
		if err != nil {
			return err
		}
		err = p.scan(ctx, scan, width, n, nil)
		if errors.Is(err, errTwice) {
			if err := p.value.restart(); err != nil {
				return err
			}
			err = p.scan(ctx, scan, width, n, newSeen(n))
		}
		return err
	}
}

// scan reads n elements, and leaves out those that were seen, if that is known.
func (p *piece) scan(ctx context.Context, scan string, width int, n int64, seen *seen) error {
	if err := p.putLength(n); err != nil {
		return err
	}
	step, met, cursor := strconv.FormatInt(p.items(n), 10), int64(0), "0"
	for {
		r, err := p.call(ctx, scan, p.key, cursor, "COUNT", step)
		if err != nil {
			return err
		}
		if len(r.Elems) != 2 {
			return fmt.Errorf("the reply of %s is %s", scan, r.Kind)
		}
		cursor = string(r.Elems[0].Bytes)
		var fields []string
		for items := r.Elems[1].Elems; len(items) >= width; items = items[width:] {
			name, err := text(&items[0])
			if err != nil {
				return err
			}
			if seen != nil && !seen.add(seen.mark(name)) {
				continue
			}
			if met++; met > n && seen == nil {
				return errTwice
			}
			if err := p.putElement(scan, items[:width]); err != nil {
				return err
			}
			if scan == "HSCAN" && p.a.fieldsExpire() {
				fields = append(fields, string(name))
			}
		}
		if err := p.fieldExpiries(ctx, fields); err != nil {
			return err
		}
		if cursor == "0" {
			break
		}
	}
	if met != n {
		return errMoved
	}
	return nil
}

func (p *piece) putElement(scan string, items []resp.Reply) error {
	if err := p.putString(&items[0]); err != nil {
		return err
	}
	switch scan {
	case "HSCAN":
		return p.putString(&items[1])
	case "ZSCAN":
		score, err := strconv.ParseFloat(string(items[1].Bytes), 64)
		if err != nil {
			return fmt.Errorf("cannot read a score: %w", err)
		}
		return p.put(appendScore(p.buf, score))
	}
	return nil
}

// errWhole: the value cannot be put together from pieces.
var errWhole = errors.New("the hash has expiring fields")

// fieldExpiries sees whether fields expire, which no plain encoding holds.
func (p *piece) fieldExpiries(ctx context.Context, fields []string) error {
	if len(fields) == 0 {
		return nil
	}
	args := append([]string{"HPEXPIRETIME", p.key, "FIELDS", strconv.Itoa(len(fields))}, fields...)
	r, err := p.call(ctx, args...)
	if resp.IsServerError(err, "NOPERM") || resp.UnknownCommand(err) {
		return errWhole // not known is not no
	}
	if err != nil {
		return err
	}
	for i := range r.Elems {
		if r.Elems[i].Int >= 0 {
			return errWhole
		}
	}
	return nil
}

// fieldsExpire tells whether fields of hashes can expire on this server.
func (a *liveAttempt) fieldsExpire() bool {
	s := a.r.srv
	return s.Engine == "redis" && (s.Major > 7 || s.Major == 7 && s.Minor >= 4) || s.Engine == "valkey" && s.Major >= 9
}

// expiry is the key's, in Unix milliseconds, 0 for none.
func (p *piece) expiry(db int) (int64, error) {
	keys := &liveKeys{}
	keys.addString(p.key)
	g := &liveGroup{db: db, keys: keys, n: 1, ttl: true}
	for range clockTries {
		cmds, n := p.a.appendExpiries(p.a.pipe.Begin(), g)
		p.a.pipe.EndMany(cmds, n)
		now, sure, err := p.a.takeExpiries(g, p.a.next)
		if err != nil {
			return 0, err
		}
		switch left := p.a.ttls[0]; {
		case left == -2:
			return 0, errMoved
		case left < 0:
			return 0, nil
		case sure:
			return max(now+left, 1), nil
		}
	}
	return 0, errMoved
}

// appendScore appends a score as TypeZSet2 has it.
func appendScore(dst []byte, score float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(score))
}
