package rdb

import (
	"errors"
	"fmt"
	"io"
	"iter"
)

// Reader reads one RDB file from beginning to end. It reads ahead, so what
// follows the file in the source is to be taken from Rest. It is not safe for
// use by several goroutines at once.
type Reader struct {
	c       cursor
	header  Header
	started bool
	// failed is what every further call returns: io.EOF after the good end.
	failed error

	db       int
	entry    Entry
	keyBytes []byte // holds the key where the window does not
	above    int    // see StreamAbove
	body     *body  // of the entry last returned
	summed   bool

	aux         []Aux
	functions   []FunctionLibrary
	moduleAux   [][]byte
	slotImports int
	kept        int // bytes of functions and moduleAux
	hint        SizeHint
}

// SizeHint is what a file says about the size of a database ahead of its keys.
type SizeHint struct {
	// DB is the database, Keys its keys and Volatile those of them that
	// expire, as the engine counted them when it began to write.
	DB             int
	Keys, Volatile int64
	// Known is false while no hint was seen for the current database.
	Known bool
}

// NewReader returns a reader of the RDB file that r begins with.
func NewReader(r io.Reader) *Reader {
	return &Reader{c: cursor{src: r}}
}

// Header reads the file's first bytes if they are not read yet. A version that
// is not read here is a *VersionError inside the error.
func (r *Reader) Header() (Header, error) {
	if !r.started && r.failed == nil {
		r.started = true
		if err := r.readHeader(); err != nil {
			r.failed = err
		}
	}
	if r.failed != nil && !errors.Is(r.failed, io.EOF) {
		return r.header, r.failed
	}
	return r.header, nil
}

func (r *Reader) readHeader() error {
	b, err := r.c.take(9)
	if err != nil {
		return err
	}
	bad := func(msg string) error { return &Error{Offset: 0, Msg: msg, Err: ErrMagic} }
	var digits string
	switch {
	case string(b[:5]) == "REDIS":
		digits = string(b[5:])
	case string(b[:6]) == "VALKEY":
		r.header.Valkey = true
		digits = string(b[6:])
	default:
		return bad(fmt.Sprintf("it begins with %q, not with REDIS or VALKEY", b))
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return bad(fmt.Sprintf("it begins with %q, which names no version", b))
		}
		r.header.Version = r.header.Version*10 + int(d-'0')
	}
	if !r.header.known() {
		return &Error{Offset: 0, Msg: "header", Err: &VersionError{Header: r.header}}
	}
	return nil
}

// Next returns the next entry, which is valid until the next call. At the end of
// the file, with its checksum right, it returns io.EOF; every other error is
// final too and comes again with each further call.
func (r *Reader) Next() (*Entry, error) {
	if _, err := r.Header(); err != nil {
		return nil, err
	}
	if r.failed != nil {
		return nil, r.failed
	}
	if err := r.next(); err != nil {
		r.failed = err
		return nil, err
	}
	return &r.entry, nil
}

// Entries yields what Next returns, without the final io.EOF.
func (r *Reader) Entries() iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		for {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (r *Reader) next() error {
	c := &r.c
	e := &r.entry
	e.ExpireAt, e.Idle, e.Freq = 0, -1, -1
	if r.body != nil {
		if err := r.body.drain(); err != nil {
			return err
		}
		r.body, e.Body = nil, nil
	}
	for {
		c.mark = c.pos
		op, err := c.byte()
		if err != nil {
			return err
		}
		if op < opSlotImport {
			return r.readEntry(op)
		}
		if op == opEOF {
			return r.readEnd()
		}
		if err := r.readOpcode(op); err != nil {
			return err
		}
	}
}

// readEntry reads key and value of a type. Both must be in the window together
// in the end, so they are remembered relative to its mark, which moves with it.
func (r *Reader) readEntry(typ byte) error {
	c := &r.c
	e := &r.entry
	key, scratch, err := c.str(r.keyBytes[:0])
	if err != nil {
		return err
	}
	r.keyBytes = scratch
	encoded := len(scratch) > 0
	from := c.pos - c.mark
	keyLen := len(key)
	e.Type, e.Version, e.DB = typ, r.header.Version, r.db
	if r.above > 0 {
		c.limit = from + r.above
	}
	err = c.skipValue(typ, r.header.Version)
	c.limit = 0
	from += c.mark
	if !encoded {
		key = c.buf[from-keyLen : from : from]
	}
	if err == errLarge || err == nil && r.above > 0 && c.pos-from > r.above { //nolint:errorlint // our own mark, never wrapped
		return r.stream(typ, key, from)
	}
	if err != nil {
		return err
	}
	e.Key, e.Value = key, c.buf[from:c.pos:c.pos]
	return nil
}

// readEnd checks what follows the end mark: from version 5 on, the CRC64 of
// everything before it, or zero from an engine that was told not to sum.
func (r *Reader) readEnd() error {
	c := &r.c
	if !r.header.Valkey && r.header.Version < 5 {
		return io.EOF
	}
	if err := c.need(8); err != nil {
		return err
	}
	c.sumTo(c.pos)
	want, err := c.uint64()
	if err != nil {
		return err
	}
	c.mark = c.pos
	if want == 0 {
		return io.EOF
	}
	if want != c.sum {
		c.pos -= 8
		return c.fail(fmt.Sprintf("the file says %016x, its content gives %016x", want, c.sum), ErrChecksum)
	}
	r.summed = true
	return io.EOF
}

// Aux returns the informational fields seen so far, the first 1024 of them; those of the file as a
// whole come before its first entry.
func (r *Reader) Aux() []Aux { return r.aux }

// Functions returns the libraries seen so far; they come before the first entry.
func (r *Reader) Functions() []FunctionLibrary { return r.functions }

// ModuleAux returns the modules' own data seen so far, raw; it stands before the
// first entry, after the last, or both.
func (r *Reader) ModuleAux() [][]byte { return r.moduleAux }

// SlotImports counts the unfinished slot migrations that the file tells of; keys
// of such slots may be incomplete.
func (r *Reader) SlotImports() int { return r.slotImports }

// Hint returns the size hint of the database being read.
func (r *Reader) Hint() SizeHint { return r.hint }

// Offset is how many bytes of the file were consumed.
func (r *Reader) Offset() int64 { return r.c.offset() }

// Checksummed tells, after io.EOF, whether the file had a checksum (which was
// then right). Files of versions before 5 and of engines with rdbchecksum no have none.
func (r *Reader) Checksummed() bool { return r.summed }

// Rest returns, after io.EOF, a reader of what follows the file in the source.
func (r *Reader) Rest() io.Reader {
	rest := &sliceReader{b: r.c.buf[r.c.pos:], end: io.EOF}
	if r.c.late != nil {
		rest.end = r.c.late
		return rest
	}
	return io.MultiReader(rest, r.c.src)
}

// sliceReader reads b and ends with an error of its own.
type sliceReader struct {
	b   []byte
	end error
}

func (s *sliceReader) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, s.end
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}
