package memcache

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	longestKey = 250
	// largestValue is what no server is told to hold more than.
	largestValue = 1 << 30
)

// Read yields every item of a server. The value of an item is the callee's for as long
// as it looks at it, and is used again for the next.
//
// All keys are listed before the first item is read, into a file that nobody else sees: while
// it lists, the server holds locks that a reading would wait for, and waits itself for whoever
// is slow to take the list.
func Read(ctx context.Context, s *Server) iter.Seq2[*Item, error] {
	return func(yield func(*Item, error) bool) {
		list, err := listKeys(ctx, s)
		if err != nil {
			yield(nil, err)
			return
		}
		goOn, err := readAll(ctx, s, list, yield)
		if err = errors.Join(err, list.close()); err != nil && goOn {
			yield(nil, err)
		}
	}
}

// readAll asks for what is listed; goOn is false once yield has been.
func readAll(ctx context.Context, s *Server, list *spool, yield func(*Item, error) bool) (goOn bool, err error) {
	c, err := s.dial(ctx)
	if err != nil {
		return true, err
	}
	r := reader{c: c}
	for goOn = true; goOn && err == nil; {
		var batch []listed
		if batch, err = list.next(); err != nil || len(batch) == 0 {
			break
		}
		goOn, err = r.batch(ctx, batch, yield)
	}
	// Of a connection that is broken no more is to be learned.
	if closed := c.close(); err == nil && goOn {
		err = closed
	}
	if err != nil {
		err = fmt.Errorf("cannot read the items of %s: %w", s.Addr, err)
	}
	return goOn, err
}

// reader reads the items of one server.
type reader struct {
	c    *conn
	out  bytes.Buffer
	item Item
	room []byte
}

// Lookup asks a server for some keys and yields those that it has, as Read does.
func Lookup(ctx context.Context, s *Server, keys [][]byte, yield func(*Item) error) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	r := reader{c: c}
	var stopped error
	each := func(i *Item, _ error) bool {
		stopped = yield(i)
		return stopped == nil
	}
	for some := range slices.Chunk(keys, keysAtOnce) {
		batch := make([]listed, len(some))
		for n, k := range some {
			batch[n].key = k
		}
		if _, err = r.batch(ctx, batch, each); err != nil || stopped != nil {
			break
		}
	}
	if err != nil || stopped != nil {
		return errors.Join(stopped, err, c.close())
	}
	return c.close()
}

// batch asks for all keys in one write and yields what is there of them.
func (r *reader) batch(ctx context.Context, batch []listed, yield func(*Item, error) bool) (goOn bool, err error) {
	r.out.Reset()
	for _, k := range batch {
		r.out.WriteString("mg ")
		coded := writeKey(&r.out, k.key)
		r.out.WriteString(" f t c v u")
		if coded {
			r.out.WriteString(" b")
		}
		r.out.WriteString("\r\n")
	}
	if err := r.c.alive(ctx); err != nil {
		return true, err
	}
	// Written beside the reading: a server that cannot get rid of its answers takes no more questions.
	wrote := make(chan error, 1)
	go func() {
		_, err := r.c.Write(r.out.Bytes())
		wrote <- err
	}()
	goOn = true
	for _, k := range batch {
		there, err := r.answer(ctx, k)
		if err != nil {
			_ = r.c.Close() // the writing, too, ends with it
			return true, errors.Join(err, ignoreClosed(<-wrote))
		}
		if there && goOn {
			goOn = yield(&r.item, nil)
		}
		if !goOn {
			_ = r.c.Close()
			break
		}
	}
	return goOn, ignoreClosed(<-wrote)
}

// ignoreClosed: what was broken off has been told already.
func ignoreClosed(err error) error {
	if err != nil && strings.Contains(err.Error(), "closed") {
		return nil
	}
	return err
}

// answer reads what the server says of one key.
func (r *reader) answer(ctx context.Context, k listed) (there bool, err error) {
	if err := r.c.ready(ctx, usualLine); err != nil {
		return false, err
	}
	line, err := r.c.line()
	if err != nil {
		return false, err
	}
	if line == "EN" { // it has gone meanwhile
		return false, nil
	}
	f := strings.Fields(line)
	if len(f) < 2 || f[0] != "VA" {
		return false, fmt.Errorf("%w to mg: %.200q", ErrReply, line)
	}
	size, err := strconv.Atoi(f[1])
	if err != nil || size < 0 || size > largestValue {
		return false, fmt.Errorf("%w to mg: %.200q", ErrReply, line)
	}
	r.item = Item{Key: k.key}
	if err := r.item.told(f[2:], time.Now()); err != nil {
		return false, err
	}
	r.item.exact(k.expiry)
	return true, r.value(ctx, size)
}

// value reads a value, and believes in its size no further than it comes.
func (r *reader) value(ctx context.Context, size int) error {
	const step = 1 << 20
	r.room = r.room[:0]
	for left := size + 2; left > 0; {
		n := min(left, step)
		at := len(r.room)
		if err := r.c.ready(ctx, n); err != nil {
			return err
		}
		r.room = slices.Grow(r.room, n)[:at+n]
		if _, err := io.ReadFull(r.c.in, r.room[at:]); err != nil {
			return err
		}
		left -= n
	}
	if !bytes.HasSuffix(r.room, []byte("\r\n")) {
		return fmt.Errorf("%w: a value of %d bytes does not end there", ErrReply, size)
	}
	r.item.Value = r.room[:size]
	return nil
}

// told takes in the flags of a meta reply.
func (i *Item) told(flags []string, now time.Time) error {
	for _, f := range flags {
		var err error
		switch f[0] {
		case 'f':
			var n uint64
			n, err = strconv.ParseUint(f[1:], 10, 32)
			i.Flags = uint32(n)
		case 'c':
			i.CAS, err = strconv.ParseUint(f[1:], 10, 64)
		case 't':
			var n int64
			if n, err = strconv.ParseInt(f[1:], 10, 64); err == nil && n >= 0 {
				i.ExpireAt = now.Truncate(time.Second).Add(time.Duration(n) * time.Second)
			}
		}
		if err != nil {
			return fmt.Errorf("%w: the flag %.50q", ErrReply, f)
		}
	}
	return nil
}

// clockSlack is by how much a time that was computed from what is left of it may be off: answers wait in
// buffers, and the clock of a server ticks once a second.
const clockSlack = 5 * time.Second

// exact takes the time of expiry that was listed, which is to the second, where the one computed is about the
// same; another one has been set meanwhile, or the server's clock is wrong.
func (i *Item) exact(expiry int64) {
	if expiry == 0 || i.ExpireAt.IsZero() {
		return
	}
	at := time.Unix(expiry, 0)
	if d := at.Sub(i.ExpireAt); -clockSlack <= d && d <= clockSlack {
		i.ExpireAt = at
	}
}

// writeKey writes a key as the meta protocol takes it, and tells whether it had to be coded.
func writeKey(out *bytes.Buffer, key []byte) (coded bool) {
	for _, b := range key {
		if b <= ' ' || b == 0x7f {
			coded = true
			break
		}
	}
	if coded {
		out.WriteString(base64.StdEncoding.EncodeToString(key))
	} else {
		out.Write(key)
	}
	return coded
}
