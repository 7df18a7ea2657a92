package rdb

import "strconv"

// streamType is the newest form of streams that readers of a version know, and
// whether they know any.
func streamType(version int) (byte, bool) {
	for _, typ := range []byte{TypeStream3, TypeStream2, TypeStream} {
		if Supports(version, typ) {
			return typ, true
		}
	}
	return 0, false
}

// stream leaves out of a stream what the target's form lacks. The nodes with the
// entries, nearly all of the bytes, are copied as they are.
func (t *Transcoder) stream(typ byte, value []byte) (byte, error) {
	to, ok := streamType(t.target.Version)
	if !ok {
		return 0, t.target.lost(LossStream, "")
	}
	s := streamCut{c: cursor{buf: value}, out: t.out, from: typ, to: to}
	err := s.run()
	t.out = s.out
	return to, err
}

// streamCut copies a stream and leaves parts out.
type streamCut struct {
	c        cursor
	kept     int // up to where the value is copied or left out
	out      []byte
	from, to byte
}

// keep copies everything up to here that is not yet copied.
func (s *streamCut) keep() {
	s.out = append(s.out, s.c.buf[s.kept:s.c.pos]...)
	s.kept = s.c.pos
}

// drop leaves out everything up to here.
func (s *streamCut) drop() { s.kept = s.c.pos }

func (s *streamCut) run() error {
	c := &s.c
	if err := c.skipStrings(2); err != nil {
		return err
	}
	if err := c.skipLengths(streamLengths(s.to)); err != nil {
		return err
	}
	s.keep()
	if err := c.skipLengths(streamLengths(s.from) - streamLengths(s.to)); err != nil {
		return err
	}
	s.drop()
	groups, err := c.count()
	if err != nil {
		return err
	}
	for range groups {
		if err := s.group(); err != nil {
			return err
		}
	}
	s.keep()
	if c.pos != len(c.buf) {
		return c.fail(strconv.Itoa(len(c.buf)-c.pos)+" bytes follow the value", ErrCorrupt)
	}
	return nil
}

func (s *streamCut) group() error {
	c := &s.c
	if err := c.skipString(); err != nil {
		return err
	}
	if err := c.skipLengths(2); err != nil { // last delivered id
		return err
	}
	s.keep()
	if s.from != TypeStream {
		if err := c.skipLengths(1); err != nil { // how many were read
			return err
		}
		if s.to == TypeStream {
			s.drop()
		}
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
	return c.skipEach(s.consumer)
}

// consumer copies what follows a consumer's name.
func (s *streamCut) consumer() error {
	c := &s.c
	if err := c.skip(8); err != nil { // seen time
		return err
	}
	s.keep()
	if s.from == TypeStream3 {
		if err := c.skip(8); err != nil { // active time
			return err
		}
		if s.to != TypeStream3 {
			s.drop()
		}
	}
	owned, err := c.count()
	if err != nil {
		return err
	}
	return c.skip(owned * 16)
}
