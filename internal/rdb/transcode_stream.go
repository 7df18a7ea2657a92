package rdb

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
	c cursor
	// What lies before the cursor's mark is copied or left out.
	out      []byte
	from, to byte
	// flush, if set, takes out when much has come together.
	flush func() error
}

// keep copies everything up to here that is not yet copied.
func (s *streamCut) keep() error {
	s.out = append(s.out, s.c.buf[s.c.mark:s.c.pos]...)
	s.c.mark = s.c.pos
	if s.flush != nil && len(s.out) >= flushAt {
		return s.flush()
	}
	return nil
}

// drop leaves out everything up to here.
func (s *streamCut) drop() { s.c.mark = s.c.pos }

func (s *streamCut) run() error {
	c := &s.c
	if err := s.each(func() error { return c.pass(streamNodeShape) }); err != nil {
		return err
	}
	if err := c.skipLengths(streamLengths(s.to)); err != nil {
		return err
	}
	if err := s.keep(); err != nil {
		return err
	}
	if err := c.skipLengths(streamLengths(s.from) - streamLengths(s.to)); err != nil {
		return err
	}
	s.drop()
	if err := s.each(s.group); err != nil {
		return err
	}
	return s.c.atEnd()
}

var (
	streamNodeShape = []part{{kind: partString}, {kind: partString}}
	pendingShape    = []part{{kind: partBytes, n: 16 + 8}, {kind: partLength}}
)

// each copies a count and what pass passes so many times, one after the other.
func (s *streamCut) each(pass func() error) error {
	n, err := s.c.count()
	if err != nil {
		return err
	}
	for range n {
		if err := s.keep(); err != nil {
			return err
		}
		if err := pass(); err != nil {
			return err
		}
	}
	return s.keep()
}

func (s *streamCut) group() error {
	c := &s.c
	if err := c.skipString(); err != nil {
		return err
	}
	if err := c.skipLengths(2); err != nil { // last delivered id
		return err
	}
	if err := s.keep(); err != nil {
		return err
	}
	if s.from != TypeStream {
		if err := c.skipLengths(1); err != nil { // how many were read
			return err
		}
		if s.to == TypeStream {
			s.drop()
		}
	}
	if err := s.each(func() error { return c.pass(pendingShape) }); err != nil {
		return err
	}
	return s.each(s.consumer)
}

func (s *streamCut) consumer() error {
	c := &s.c
	if err := c.skipString(); err != nil {
		return err
	}
	if err := c.skip(8); err != nil { // seen time
		return err
	}
	if err := s.keep(); err != nil {
		return err
	}
	if s.from == TypeStream3 {
		if err := c.skip(8); err != nil { // active time
			return err
		}
		if s.to != TypeStream3 {
			s.drop()
		}
	}
	return s.each(func() error { return c.skip(16) })
}
