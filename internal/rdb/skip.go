package rdb

import "strconv"

func appendInt(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) }

// skipValue passes one value of a type as the given version writes it.
func (c *cursor) skipValue(typ byte, version int) error {
	if typ == TypeString {
		return c.skipString()
	}
	shape := shapeOf(typ, version)
	if shape == nil {
		return c.fail("a value of type "+strconv.Itoa(int(typ)), ErrType)
	}
	return c.pass(shape)
}

// pass passes the parts of a value.
func (c *cursor) pass(parts []part) error {
	for i := range parts {
		p := &parts[i]
		var err error
		switch p.kind {
		case partString:
			err = c.skipString()
		case partBytes:
			err = c.skip(p.n)
		case partLength:
			_, err = c.length()
		case partCount:
			err = c.passEach(p.of)
		case partRun:
			var n uint64
			if n, err = c.count(); err == nil {
				err = c.skip(n * p.n)
			}
		case partScore:
			var n uint64
			if n, err = c.scoreLength(); err == nil {
				err = c.skip(n)
			}
		case partModule:
			err = c.skipModuleOps()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// passEach passes a count and that many times the parts.
func (c *cursor) passEach(parts []part) error {
	n, err := c.count()
	if err != nil {
		return err
	}
	for range n {
		if err := c.pass(parts); err != nil {
			return err
		}
	}
	return nil
}

// count reads a number of elements; each takes a byte at least, so one that no
// input can hold is refused, and multiplying it is safe.
func (c *cursor) count() (uint64, error) {
	n, err := c.length()
	if err == nil && n > maxLength {
		return 0, c.fail("more elements than any input holds", ErrCorrupt)
	}
	return n, err
}

// scoreLength reads the length of a score's digits in the old form, where the
// lengths 253 to 255 are the values that have no digits.
func (c *cursor) scoreLength() (uint64, error) {
	n, err := c.byte()
	if err != nil || n >= 253 {
		return 0, err
	}
	return uint64(n), nil
}

func (c *cursor) skipLengths(n int) error {
	for range n {
		if _, err := c.length(); err != nil {
			return err
		}
	}
	return nil
}

// skipModuleOps passes the annotated fields of a module's value up to their end mark.
func (c *cursor) skipModuleOps() error {
	for {
		n, more, err := c.moduleOp()
		if err != nil || !more {
			return err
		}
		if err := c.skip(n); err != nil {
			return err
		}
	}
}

// moduleOp reads the head of one annotated field and returns how many bytes of it
// follow; more is false at the end mark.
func (c *cursor) moduleOp() (n uint64, more bool, err error) {
	op, err := c.length()
	if err != nil {
		return 0, false, err
	}
	switch op {
	case modEOF:
		return 0, false, nil
	case modSint, modUint:
		_, err = c.length()
	case modFloat:
		n = 4
	case modDouble:
		n = 8
	case modString:
		n, err = c.stringHead()
	default:
		err = c.fail("unknown field in a module's value", ErrCorrupt)
	}
	return n, true, err
}
