package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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
		err := a.piecewise(ctx, id.db, key)
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

// piecewise reads one value.
func (a *liveAttempt) piecewise(ctx context.Context, db int, key []byte) error {
	r, err := a.call(ctx, "TYPE", string(key))
	if err != nil {
		return err
	}
	e := flow.Entry{DB: db, Key: key, Version: a.version, Idle: -1, Freq: -1}
	p := &piece{a: a, key: string(key)}
	switch string(r.Bytes) {
	case "none":
		return a.gone(db, key)
	case "string":
		e.Type, err = rdb.TypeString, p.text(ctx)
	case "list":
		e.Type, err = rdb.TypeList, p.list(ctx)
	case "set":
		e.Type, err = rdb.TypeSet, p.scan(ctx, "SCARD", "SSCAN", 1)
	case "hash":
		e.Type, err = rdb.TypeHash, p.scan(ctx, "HLEN", "HSCAN", 2)
	case "zset":
		e.Type, err = rdb.TypeZSet2, p.scan(ctx, "ZCARD", "ZSCAN", 2)
	default:
		// Streams are kept in pieces that are dumped as they are, which is fast;
		// modules have no other way.
		return a.whole(db, key)
	}
	if errors.Is(err, errWhole) {
		a.note("key %q of database %d is a large hash with expiring fields: it was dumped at once", key, db)
		return a.whole(db, key)
	}
	if err != nil {
		return err
	}
	if e.ExpireAt, err = p.expiry(db); err != nil {
		return err
	}
	e.Value = p.value
	a.rep.Pieces++
	return a.keep(&e)
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
	a     *liveAttempt
	key   string
	value []byte
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
	r, err := p.a.call(ctx, args...)
	if resp.IsServerError(err, "WRONGTYPE") {
		return nil, errMoved
	}
	if err != nil {
		return nil, err
	}
	n := len(r.Bytes)
	for i := range r.Elems {
		n += len(r.Elems[i].Bytes)
		for j := range r.Elems[i].Elems {
			n += len(r.Elems[i].Elems[j].Bytes)
		}
	}
	p.a.limit.Read(n)
	return r, p.a.limit.Wait(ctx, 0)
}

func (p *piece) text(ctx context.Context) error {
	n, err := p.number(ctx, "STRLEN", p.key)
	if err != nil {
		return err
	}
	p.value = rdb.AppendLength(make([]byte, 0, n+9), uint64(n))
	for at := int64(0); at < n; at += pieceBytes {
		end := min(at+pieceBytes, n)
		r, err := p.call(ctx, "GETRANGE", p.key, strconv.FormatInt(at, 10), strconv.FormatInt(end-1, 10))
		if err != nil {
			return err
		}
		if int64(len(r.Bytes)) != end-at {
			return errMoved
		}
		p.value = append(p.value, r.Bytes...)
	}
	return nil
}

func (p *piece) list(ctx context.Context) error {
	n, err := p.number(ctx, "LLEN", p.key)
	if err != nil {
		return err
	}
	p.value = rdb.AppendLength(nil, uint64(n))
	for at := int64(0); at < n; at += pieceItems {
		end := min(at+pieceItems, n)
		r, err := p.call(ctx, "LRANGE", p.key, strconv.FormatInt(at, 10), strconv.FormatInt(end-1, 10))
		if err != nil {
			return err
		}
		if int64(len(r.Elems)) != end-at {
			return errMoved
		}
		for i := range r.Elems {
			p.value = rdb.AppendString(p.value, r.Elems[i].Bytes)
		}
	}
	return nil
}

// scan reads a set, hash or sorted set. While the server's table is resized
// elements come more than once.
func (p *piece) scan(ctx context.Context, count, scan string, width int) error {
	n, err := p.number(ctx, count, p.key)
	if err != nil {
		return err
	}
	p.value = rdb.AppendLength(nil, uint64(n))
	seen := make(map[string]struct{}, n)
	cursor := "0"
	for {
		r, err := p.call(ctx, scan, p.key, cursor, "COUNT", strconv.Itoa(pieceItems))
		if err != nil {
			return err
		}
		if len(r.Elems) != 2 {
			return fmt.Errorf("the reply of %s is %s", scan, r.Kind)
		}
		cursor = string(r.Elems[0].Bytes)
		fields := make([]string, 0, pieceItems)
		for items := r.Elems[1].Elems; len(items) >= width; items = items[width:] {
			name := string(items[0].Bytes)
			if _, had := seen[name]; had {
				continue
			}
			seen[name] = struct{}{}
			if p.value, err = appendElement(p.value, scan, items[:width]); err != nil {
				return err
			}
			fields = append(fields, name)
		}
		if scan == "HSCAN" {
			if err := p.fieldExpiries(ctx, fields); err != nil {
				return err
			}
		}
		if cursor == "0" {
			break
		}
	}
	if int64(len(seen)) != n {
		return errMoved
	}
	return nil
}

func appendElement(dst []byte, scan string, items []resp.Reply) ([]byte, error) {
	dst = rdb.AppendString(dst, items[0].Bytes)
	switch scan {
	case "HSCAN":
		dst = rdb.AppendString(dst, items[1].Bytes)
	case "ZSCAN":
		score, err := strconv.ParseFloat(string(items[1].Bytes), 64)
		if err != nil {
			return nil, fmt.Errorf("cannot read a score: %w", err)
		}
		dst = appendScore(dst, score)
	}
	return dst, nil
}

// errWhole: the value cannot be put together from pieces.
var errWhole = errors.New("the hash has expiring fields")

// fieldExpiries sees whether fields expire, which no plain encoding holds.
func (p *piece) fieldExpiries(ctx context.Context, fields []string) error {
	if !p.a.fieldsExpire() || len(fields) == 0 {
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
