package rdb

import "strconv"

// walk passes one value in steps, so that none of it needs to stay in the window:
// the same shapes that cursor.pass follows, with what is under way on a stack.
type walk struct {
	c     *cursor
	stack []level
	left  uint64 // bytes of the string or number being passed
}

// level is a list of parts that is passed so many times more.
type level struct {
	parts []part
	i     int
	times uint64
}

func newWalk(c *cursor, typ byte, version int) (*walk, error) {
	shape := shapeOf(typ, version)
	if shape == nil {
		return nil, c.fail("a value of type "+strconv.Itoa(int(typ)), ErrType)
	}
	return &walk{c: c, stack: []level{{parts: shape, times: 1}}}, nil
}

// step passes at least a byte, or says that the value is at its end. It asks for
// no more than a dozen bytes to be in the window at once.
func (w *walk) step() (end bool, err error) {
	if w.left > 0 {
		return false, w.some()
	}
	for len(w.stack) > 0 {
		top := &w.stack[len(w.stack)-1]
		if top.i < len(top.parts) {
			return false, w.part(top)
		}
		top.i = 0
		if top.times--; top.times == 0 {
			w.stack = w.stack[:len(w.stack)-1]
		}
	}
	return true, nil
}

// some passes what the window holds of the bytes that are left.
func (w *walk) some() error {
	c := w.c
	if err := c.need(1); err != nil {
		return err
	}
	n := min(w.left, uint64(len(c.buf)-c.pos))
	c.pos += int(n)
	w.left -= n
	return nil
}

// part passes the next part, of a string only its head.
func (w *walk) part(top *level) (err error) {
	c, p := w.c, &top.parts[top.i]
	top.i++
	var n uint64
	switch p.kind {
	case partString:
		w.left, err = c.stringHead()
	case partBytes:
		w.left = p.n
	case partLength:
		_, err = c.length()
	case partCount:
		if n, err = c.count(); n > 0 {
			w.stack = append(w.stack, level{parts: p.of, times: n})
		}
	case partRun:
		n, err = c.count()
		w.left = n * p.n
	case partScore:
		w.left, err = c.scoreLength()
	case partModule:
		var more bool
		if w.left, more, err = c.moduleOp(); more {
			top.i--
		}
	}
	if w.left > maxLength {
		return c.fail("length beyond any value", ErrCorrupt)
	}
	return err
}
