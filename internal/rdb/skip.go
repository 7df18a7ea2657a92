package rdb

import "strconv"

func appendInt(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) }

// skipValue passes one value of a type as the given version writes it.
func (c *cursor) skipValue(typ byte, version int) error {
	switch typ {
	case TypeString, TypeHashZipmap, TypeListZiplist, TypeSetIntset, TypeZSetZiplist,
		TypeHashZiplist, TypeHashListpack, TypeZSetListpack, TypeSetListpack:
		return c.skipString()
	case TypeList, TypeSet, TypeQuicklist:
		return c.skipStrings(1)
	case TypeHash:
		return c.skipStrings(2)
	case TypeZSet:
		return c.skipEach(func() error { return c.skipTextScore() })
	case TypeZSet2:
		return c.skipEach(func() error { return c.skip(8) })
	case TypeQuicklist2:
		return c.skipQuicklist2()
	case TypeStream, TypeStream2, TypeStream3:
		return c.skipStream(typ)
	case TypeModule2:
		if _, err := c.length(); err != nil { // the module type's id
			return err
		}
		return c.skipModuleOps()
	}
	if version >= ValkeyVersion {
		if typ == TypeHash2 {
			return c.skipHash2()
		}
	} else {
		switch typ {
		case TypeHashTTLRC, TypeHashTTL:
			return c.skipHashTTL(typ)
		case TypeHashTTLPackedRC:
			return c.skipString()
		case TypeHashTTLPacked:
			if err := c.skip(8); err != nil { // the soonest expiry
				return err
			}
			return c.skipString()
		}
	}
	return c.fail("a value of type "+strconv.Itoa(int(typ)), ErrType)
}

// skipStrings passes a count and that many times per strings.
func (c *cursor) skipStrings(per uint64) error {
	n, err := c.count()
	if err != nil {
		return err
	}
	for range n * per {
		if err := c.skipString(); err != nil {
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

// skipEach passes a count and that many strings, each followed by what rest passes.
func (c *cursor) skipEach(rest func() error) error {
	n, err := c.count()
	if err != nil {
		return err
	}
	for range n {
		if err := c.skipString(); err != nil {
			return err
		}
		if err := rest(); err != nil {
			return err
		}
	}
	return nil
}

// skipTextScore passes a score of the old form: a length and digits, where the
// lengths 253 to 255 are the values that have no digits.
func (c *cursor) skipTextScore() error {
	n, err := c.byte()
	if err != nil || n >= 253 {
		return err
	}
	return c.skip(uint64(n))
}

// skipQuicklist2 passes nodes of a container kind (1 plain, 2 listpack) and a string.
func (c *cursor) skipQuicklist2() error {
	n, err := c.count()
	if err != nil {
		return err
	}
	for range n {
		if _, err := c.length(); err != nil {
			return err
		}
		if err := c.skipString(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cursor) skipHash2() error {
	return c.skipEach(func() error {
		if err := c.skipString(); err != nil {
			return err
		}
		return c.skip(8)
	})
}

func (c *cursor) skipHashTTL(typ byte) error {
	if typ == TypeHashTTL {
		if err := c.skip(8); err != nil { // the soonest expiry
			return err
		}
	}
	n, err := c.count()
	if err != nil {
		return err
	}
	for range n {
		if _, err := c.length(); err != nil {
			return err
		}
		if err := c.skipString(); err != nil {
			return err
		}
		if err := c.skipString(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cursor) skipLengths(n int) error {
	for range n {
		if _, err := c.length(); err != nil {
			return err
		}
	}
	return nil
}

// streamLengths is how many numbers follow a stream's nodes: items, last id (2),
// and since the second form first id (2), greatest deleted id (2), items ever added.
func streamLengths(typ byte) int {
	if typ == TypeStream {
		return 3
	}
	return 8
}

func (c *cursor) skipStream(typ byte) error {
	if err := c.skipStrings(2); err != nil { // nodes: first id, listpack
		return err
	}
	if err := c.skipLengths(streamLengths(typ)); err != nil {
		return err
	}
	groups, err := c.count()
	if err != nil {
		return err
	}
	for range groups {
		if err := c.skipGroup(typ); err != nil {
			return err
		}
	}
	return nil
}

func (c *cursor) skipGroup(typ byte) error {
	if err := c.skipString(); err != nil {
		return err
	}
	numbers := 2 // last delivered id
	if typ != TypeStream {
		numbers = 3 // and how many were read
	}
	if err := c.skipLengths(numbers); err != nil {
		return err
	}
	pending, err := c.count()
	if err != nil {
		return err
	}
	for range pending {
		if err := c.skipPending(); err != nil {
			return err
		}
	}
	times := uint64(8) // seen time
	if typ == TypeStream3 {
		times = 16 // and active time
	}
	return c.skipEach(func() error {
		if err := c.skip(times); err != nil {
			return err
		}
		own, err := c.count()
		if err != nil {
			return err
		}
		return c.skip(own * 16)
	})
}

func (c *cursor) skipPending() error {
	if err := c.skip(16 + 8); err != nil { // id, delivery time
		return err
	}
	return c.skipLengths(1) // deliveries
}

// skipModuleOps passes the annotated fields of a module's value up to their end mark.
func (c *cursor) skipModuleOps() error {
	for {
		op, err := c.length()
		if err != nil {
			return err
		}
		switch op {
		case modEOF:
			return nil
		case modSint, modUint:
			_, err = c.length()
		case modFloat:
			err = c.skip(4)
		case modDouble:
			err = c.skip(8)
		case modString:
			err = c.skipString()
		default:
			err = c.fail("unknown field in a module's value", ErrCorrupt)
		}
		if err != nil {
			return err
		}
	}
}
