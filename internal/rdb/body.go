package rdb

import (
	"errors"
	"io"
)

// StreamAbove makes the reader hand out values that take more than so many bytes,
// or hold a compressed string that is longer than that when it is plain, as
// Entry.Body instead of Entry.Value: read by whoever wants them, passed over
// otherwise, in the memory of the window alone. 0, which is where it begins, has
// every value assembled.
func (r *Reader) StreamAbove(limit int) { r.above = max(limit, 0) }

// errLarge: the value is beyond the limit. It never leaves this package.
var errLarge = errors.New("the value is large")

// errPassed is what a body says that is read too late.
var errPassed = errors.New("the entry is not valid any more: the next one was asked for")

// body reads the bytes of one large value, and finds their end on the way.
type body struct {
	r   *Reader
	w   *walk
	end bool
}

// Read returns the next bytes of the value and io.EOF behind them.
func (b *body) Read(p []byte) (int, error) {
	if b.r.body != b {
		return 0, errPassed
	}
	if b.r.failed != nil {
		return 0, b.r.failed
	}
	c := &b.r.c
	if err := b.ahead(min(len(p), bufferSize/4)); err != nil {
		b.r.failed = err
		return 0, err
	}
	n := copy(p, c.buf[c.mark:c.pos])
	c.mark += n
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// ahead walks until so many bytes can be given out, or the value is at its end.
func (b *body) ahead(n int) error {
	c := &b.r.c
	for !b.end && c.pos-c.mark < n {
		end, err := b.w.step()
		if err != nil {
			return err
		}
		b.end = end
	}
	return nil
}

// drain passes over what was not read.
func (b *body) drain() error {
	c := &b.r.c
	for !b.end {
		c.mark = c.pos
		end, err := b.w.step()
		if err != nil {
			return err
		}
		b.end = end
	}
	c.mark = c.pos
	return nil
}

// stream makes a body of the value that begins at index from of the window. The
// window will slide, so the key is kept beside it.
func (r *Reader) stream(typ byte, key []byte, from int) error {
	c := &r.c
	c.pos = from
	w, err := newWalk(c, typ, r.header.Version)
	if err != nil {
		return err
	}
	r.keyBytes = append(r.keyBytes[:0], key...)
	c.mark = c.pos
	r.body = &body{r: r, w: w}
	e := &r.entry
	e.Key, e.Value, e.Body = r.keyBytes, nil, r.body
	return nil
}
