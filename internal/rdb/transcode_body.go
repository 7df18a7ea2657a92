package rdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Body is Transcode of a value that is read as it comes. It returns the type that
// the target reads and a function that writes the value, which is to be called once,
// before the reader's source moves on. What cannot be held by the target may show
// only there, after a part was written.
//
// Memory does not depend on the value's size, except for what is one block: packed
// lists, names of fields, sorted sets' members, a field's value where its expiry is
// behind it and belongs in front, single items of lists for readers before Redis 7.
// Lists of such nodes for readers before Redis 3.2 are held as a whole.
func (t *Transcoder) Body(typ byte, version int, value io.Reader) (byte, func(io.Writer) error, error) {
	dialect := 0
	if version >= ValkeyVersion {
		dialect = 1
	}
	if typ == TypeModule2 {
		return t.moduleBody(value)
	}
	if t.asIs[dialect][typ] {
		return typ, copyOf(value), nil
	}
	b := &bodyCopy{t: t, typ: typ, version: version}
	b.c = cursor{src: value, plain: true}
	v9 := Supports(t.target.Version, TypeQuicklist)
	to, streams := streamType(t.target.Version)
	switch class := ClassOf(typ); {
	case class == ClassStream && !streams:
		return 0, nil, t.target.lost(LossStream, "")
	case class == ClassStream:
		return to, b.stream(to), nil
	case typ == TypeQuicklist2 && v9:
		return TypeQuicklist, b.list, nil
	case typ == TypeZSet2:
		return TypeZSet, b.elements(value, TypeZSet), nil
	case typ == TypeHashTTLRC && shapeOf(typ, version) != nil, typ == TypeHashTTL && version < ValkeyVersion:
		to := t.bodyHashType()
		return to, b.elements(value, to), nil
	}
	return t.heldBody(typ, version, value)
}

func copyOf(r io.Reader) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, r, make([]byte, partSize))
		return err
	}
}

// moduleBody looks only at the name of the module.
func (t *Transcoder) moduleBody(value io.Reader) (byte, func(io.Writer) error, error) {
	r := bufio.NewReaderSize(value, partSize)
	head, err := r.Peek(9)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, nil, err
	}
	if err := t.target.module(head); err != nil {
		return 0, nil, err
	}
	return TypeModule2, copyOf(r), nil
}

// heldBody reads a value of one block whole.
func (t *Transcoder) heldBody(typ byte, version int, value io.Reader) (byte, func(io.Writer) error, error) {
	b, err := ReadHeld(value)
	if err != nil {
		return 0, nil, err
	}
	to, out, err := t.Transcode(typ, version, b)
	if err != nil {
		return 0, nil, err
	}
	return to, func(w io.Writer) error { _, err := w.Write(out); return err }, nil
}

// ReadHeld reads a value that must be held as one, of at most 512 MiB.
func ReadHeld(value io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(value, maxHeld+1))
	if err == nil && len(b) > maxHeld {
		err = fmt.Errorf("the value takes more than %d bytes and cannot be held as one: %w", maxHeld, ErrType)
	}
	return b, err
}

// bodyHashType is the type for hashes of fields that may expire: whether any does is
// seen too late to choose the plain one.
func (t *Transcoder) bodyHashType() byte {
	switch v := t.target.Version; {
	case v >= ValkeyVersion:
		return TypeHash2
	case Supports(v, TypeHashTTL):
		return TypeHashTTL
	}
	return TypeHash
}

// bodyCopy writes one value anew.
type bodyCopy struct {
	t       *Transcoder
	c       cursor
	typ     byte
	version int

	w       io.Writer
	to      byte
	out     []byte
	begun   bool   // the count was written
	inPart  bool   // a long string was begun
	held    []byte // one that must wait
	reduced bool
}

func (b *bodyCopy) flush() error {
	_, err := b.w.Write(b.out)
	b.out = b.out[:0]
	return err
}

func (b *bodyCopy) settle() error {
	if len(b.out) < partSize {
		return nil
	}
	return b.flush()
}

// stream leaves out what the target's form lacks.
func (b *bodyCopy) stream(to byte) func(io.Writer) error {
	return func(w io.Writer) error {
		s := streamCut{c: b.c, from: b.typ, to: to}
		s.flush = func() error {
			_, err := w.Write(s.out)
			s.out = s.out[:0]
			return err
		}
		if err := s.run(); err != nil {
			return err
		}
		b.t.stats.Reencoded++
		return s.flush()
	}
}

// list makes each node a ziplist.
func (b *bodyCopy) list(w io.Writer) error {
	b.w = w
	c, t := &b.c, b.t
	n, err := c.count()
	if err != nil {
		return err
	}
	b.out = AppendLength(b.out, n)
	for range n {
		c.mark = c.pos
		t.zip.reset()
		err := t.node(c)
		if err == nil && t.zip.n == 0 {
			err = errUnfit
		}
		if errors.Is(err, errUnfit) {
			return c.fail("a list node that readers of "+HeaderOf(t.target.Version).String()+" cannot hold", ErrCorrupt)
		}
		if err != nil {
			return err
		}
		b.out = AppendString(b.out, t.zip.bytes())
		if err := b.settle(); err != nil {
			return err
		}
	}
	if err := c.atEnd(); err != nil {
		return err
	}
	t.shrink()
	t.stats.Reencoded++
	return b.flush()
}

// elements writes one element after the other.
func (b *bodyCopy) elements(value io.Reader, to byte) func(io.Writer) error {
	return func(w io.Writer) error {
		b.w, b.to = w, to
		if to == TypeHashTTL {
			// The soonest expiry is not known yet. Counted from the epoch all expiries
			// mean the same; the engine finds the soonest by itself.
			b.out = binary.LittleEndian.AppendUint64(b.out, 1)
		}
		if err := b.t.dec.WalkBody(b.typ, b.version, value, b.element); err != nil {
			return err
		}
		b.count()
		b.t.stats.Reencoded++
		return b.flush()
	}
}

// count writes how many elements there are, once.
func (b *bodyCopy) count() {
	if !b.begun {
		b.begun = true
		b.out = AppendLength(b.out, b.t.dec.count)
	}
}

func (b *bodyCopy) element(e *Element) error {
	b.count()
	switch e.Kind {
	case KindScored:
		b.out = appendTextScore(AppendString(b.out, e.A), e.Score)
		return b.settle()
	case KindPart:
		return b.part(e)
	}
	if err := b.field(e); err != nil {
		return err
	}
	b.inPart = false
	return b.settle()
}

// part writes a part of a field's value, or holds it where what comes in front of
// the value is not known yet.
func (b *bodyCopy) part(e *Element) error {
	if b.waits() {
		if e.Whole > maxHeld {
			return fmt.Errorf("a field's value of %d bytes cannot be held as one: %w", e.Whole, ErrType)
		}
		b.held = append(b.held, e.B...)
		return nil
	}
	if !b.inPart {
		b.inPart = true
		if err := b.ttlAhead(e.ExpireAt); err != nil {
			return err
		}
		b.out = AppendLength(AppendString(b.out, e.A), e.Whole)
	}
	b.out = append(b.out, e.B...)
	return b.settle()
}

// waits tells whether a field's expiry is read after its value and written before it.
func (b *bodyCopy) waits() bool {
	return b.to == TypeHashTTL && b.version >= ValkeyVersion
}

func (b *bodyCopy) field(e *Element) error {
	if !b.inPart {
		if err := b.ttlAhead(e.ExpireAt); err != nil {
			return err
		}
		value := e.B
		if e.Parted {
			value = b.held
		}
		b.out = AppendString(AppendString(b.out, e.A), value)
		b.held = nil
	}
	if b.to == TypeHash2 {
		at := e.ExpireAt
		if at != 0 {
			at = fieldExpiry(at)
		}
		b.out = appendAbsolute(b.out, at)
	} else if b.inPart && b.to == TypeHash && e.ExpireAt != 0 && b.version >= ValkeyVersion {
		return b.drop() // it was not known when the value began
	}
	return nil
}

// ttlAhead writes what goes in front of a field.
func (b *bodyCopy) ttlAhead(at int64) error {
	if at != 0 {
		at = fieldExpiry(at)
	}
	switch b.to {
	case TypeHashTTL:
		if at > maxFieldExpiry {
			return b.t.target.lost(LossFieldTTL, "beyond 2^48 ms")
		}
		b.out = appendRelative(b.out, at, 1)
	case TypeHash:
		if at != 0 {
			return b.drop()
		}
	}
	return nil
}

// drop counts a field that loses its expiry, or refuses to.
func (b *bodyCopy) drop() error {
	if !b.t.target.DropFieldTTL {
		return b.t.target.lost(LossFieldTTL, "")
	}
	b.t.stats.DroppedFieldTTLs++
	if !b.reduced {
		b.reduced = true
		b.t.stats.ReducedHashes++
	}
	return nil
}
