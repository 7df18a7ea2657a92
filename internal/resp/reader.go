package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Limits guard a Reader against a hostile or confused server.
type Limits struct {
	// Bytes that one whole reply may have on the wire.
	Bytes int
	// Elems that one whole reply may have, nested ones included.
	Elems int
	// Depth of nesting.
	Depth int
}

// DefaultLimits let every reply through that a real server gives: values up to
// 4 GiB, a million elements.
var DefaultLimits = Limits{Bytes: 1 << 32, Elems: 1 << 20, Depth: 16}

const (
	readBuffer = 64 << 10
	// A buffer that a large value made larger than this is given back after so
	// many smaller replies.
	keepBuffer  = 1 << 20
	keepReplies = 1000
	// The longest line: an error text or a number, never data.
	maxLine = 64 << 10
)

// ErrProtocol is at the root of every error about bytes that are not RESP.
var ErrProtocol = errors.New("not valid RESP")

// Reader reads replies from a stream.
type Reader struct {
	src io.Reader
	lim Limits
	buf []byte
	// buf[start:end] has been received and not been given out; the reply being
	// read begins at start and has been parsed up to pos.
	start, pos, end int
	root            Reply
	levels          [][]Reply
	elems           int
	// small counts the replies since the last large one.
	small int
	spill spill
	// push: what is being read is one.
	push bool
}

// NewReader returns a reader of src with DefaultLimits.
func NewReader(src io.Reader) *Reader { return NewReaderLimits(src, DefaultLimits) }

// NewReaderLimits returns a reader of src.
func NewReaderLimits(src io.Reader, lim Limits) *Reader {
	return &Reader{src: src, lim: lim, buf: make([]byte, readBuffer)}
}

// Buffered is the number of received bytes that belong to no reply yet given out.
func (r *Reader) Buffered() int { return r.end - r.pos }

// Next reads one reply. io.EOF means that the stream ended between two replies;
// io.ErrUnexpectedEOF, inside one.
func (r *Reader) Next() (*Reply, error) {
	for {
		if err := r.begin(); err != nil {
			return nil, err
		}
		if err := r.parse(&r.root, 0); err != nil {
			if errors.Is(err, io.EOF) && r.pos > r.start {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if r.root.Kind == attribute {
			continue
		}
		r.resolve()
		return &r.root, nil
	}
}

// begin forgets the reply before.
func (r *Reader) begin() error {
	r.start, r.push = r.pos, false
	if r.small++; r.small > keepReplies && len(r.buf) > keepBuffer && r.end-r.start < readBuffer {
		buf := make([]byte, readBuffer)
		r.end = copy(buf, r.buf[r.start:r.end])
		r.buf, r.start, r.pos = buf, 0, 0
	}
	if r.start == r.end {
		r.start, r.pos, r.end = 0, 0, 0
	}
	for i := range r.levels {
		r.levels[i] = r.levels[i][:0]
	}
	r.elems = 0
	return r.spill.reset()
}

// parse reads one reply into out, noting where bytes and elements are.
func (r *Reader) parse(out *Reply, depth int) error {
	at, end, err := r.line()
	if err != nil {
		return err
	}
	line := r.buf[r.start+at : r.start+end]
	if len(line) == 0 {
		return fmt.Errorf("%w: an empty line where a reply was due", ErrProtocol)
	}
	*out = Reply{Kind: Kind(line[0])}
	arg := line[1:]
	switch out.Kind {
	case Simple, Err, Double, BigNumber:
		out.at, out.n = at+1, len(arg)
		return nil
	case Int:
		out.Int, err = parseInt(arg)
		return err
	case Bool:
		return parseBool(out, arg)
	case Null:
		return nil
	case Bulk, BulkErr, Verbatim:
		return r.parseBulk(out, arg)
	case Array, Map, Set, Push, attribute:
		r.push = r.push || out.Kind == Push
		return r.parseAggregate(out, arg, depth)
	}
	return fmt.Errorf("%w: a reply cannot begin with %q", ErrProtocol, line[0])
}

func parseBool(out *Reply, arg []byte) error {
	if len(arg) != 1 || arg[0] != 't' && arg[0] != 'f' {
		return fmt.Errorf("%w: boolean %.20q", ErrProtocol, arg)
	}
	if arg[0] == 't' {
		out.Int = 1
	}
	return nil
}

func (r *Reader) parseBulk(out *Reply, arg []byte) error {
	n, err := parseInt(arg)
	if err != nil {
		return err
	}
	if n == -1 && out.Kind == Bulk {
		out.Kind = Null
		return nil
	}
	if n < 0 || n > int64(r.lim.Bytes) {
		return fmt.Errorf("%w: a string of %d bytes, the limit is %d", ErrProtocol, n, r.lim.Bytes)
	}
	if r.spills(out, n) {
		return r.parseSpilled(out, n)
	}
	if err := r.need(int(n) + 2); err != nil {
		return err
	}
	if r.buf[r.pos+int(n)] != '\r' || r.buf[r.pos+int(n)+1] != '\n' {
		return fmt.Errorf("%w: a string of %d bytes does not end where it says", ErrProtocol, n)
	}
	out.at, out.n = r.pos-r.start, int(n)
	r.pos += int(n) + 2
	if out.Kind == Verbatim {
		if n < 4 {
			return fmt.Errorf("%w: a verbatim string without a format", ErrProtocol)
		}
		out.at, out.n = out.at+4, out.n-4
	}
	return nil
}

// parseAggregate reads the elements of an aggregate into the level below. The
// elements of one aggregate lie side by side there, because whatever is nested
// in them goes one level further down.
func (r *Reader) parseAggregate(out *Reply, arg []byte, depth int) error {
	n, err := parseInt(arg)
	if err != nil {
		return err
	}
	if n == -1 && out.Kind == Array {
		out.Kind = Null
		return nil
	}
	if n < 0 || n > int64(r.lim.Elems) {
		return fmt.Errorf("%w: an array of %d elements, the limit is %d", ErrProtocol, n, r.lim.Elems)
	}
	if out.Kind == Map || out.Kind == attribute {
		n *= 2
	}
	if depth >= r.lim.Depth {
		return fmt.Errorf("%w: nested deeper than %d", ErrProtocol, r.lim.Depth)
	}
	if len(r.levels) == depth {
		r.levels = append(r.levels, nil)
	}
	out.at, out.n = len(r.levels[depth]), int(n)
	for range n {
		if r.elems++; r.elems > r.lim.Elems {
			return fmt.Errorf("%w: a reply of more than %d elements", ErrProtocol, r.lim.Elems)
		}
		// What is nested in the element goes to the level below, so this level does
		// not move while the element is read.
		r.levels[depth] = append(r.levels[depth], Reply{})
		e := &r.levels[depth][len(r.levels[depth])-1]
		for {
			if err := r.parse(e, depth+1); err != nil {
				return err
			}
			if e.Kind != attribute {
				break
			}
		}
	}
	return nil
}

// resolve turns the noted places into slices, now that the buffer stays where it is.
func (r *Reader) resolve() {
	r.resolveOne(&r.root, 0)
	if len(r.root.Elems) == 0 {
		return
	}
	for d := range r.levels {
		for i := range r.levels[d] {
			r.resolveOne(&r.levels[d][i], d+1)
		}
	}
}

func (r *Reader) resolveOne(p *Reply, depth int) {
	switch p.Kind {
	case Simple, Err, Bulk, BulkErr, Verbatim, Double, BigNumber:
		if p.spilled != nil {
			return
		}
		from := r.start + p.at
		p.Bytes = r.buf[from : from+p.n : from+p.n]
	case Array, Map, Set, Push:
		if p.n > 0 {
			p.Elems = r.levels[depth][p.at : p.at+p.n]
		}
	}
}

// line finds the next line and steps over it. It returns where the line is,
// without its end, relative to the start of the reply.
func (r *Reader) line() (at, end int, err error) {
	seen := 0
	for {
		if i := bytes.IndexByte(r.buf[r.pos+seen:r.end], '\n'); i >= 0 {
			stop := r.pos + seen + i
			if stop == r.pos || r.buf[stop-1] != '\r' {
				return 0, 0, fmt.Errorf("%w: a line that does not end in CR LF", ErrProtocol)
			}
			at, end = r.pos-r.start, stop-1-r.start
			r.pos = stop + 1
			return at, end, nil
		}
		seen = r.end - r.pos
		if seen > maxLine {
			return 0, 0, fmt.Errorf("%w: a line longer than %d bytes", ErrProtocol, maxLine)
		}
		if err := r.fill(); err != nil {
			if seen > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, 0, err
		}
	}
}

// need waits until n bytes after pos are there.
func (r *Reader) need(n int) error {
	if n > keepBuffer/2 {
		r.small = 0
	}
	for r.end-r.pos < n {
		if r.end-r.start > r.lim.Bytes+maxLine {
			return fmt.Errorf("%w: a reply of more than %d bytes", ErrProtocol, r.lim.Bytes)
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// fill receives more bytes. Only the reply being read is kept, and the buffer
// doubles when that fills it, so it never exceeds twice what really arrived.
func (r *Reader) fill() error {
	if r.end == len(r.buf) {
		if r.start > 0 {
			copy(r.buf, r.buf[r.start:r.end])
			r.pos, r.end, r.start = r.pos-r.start, r.end-r.start, 0
		} else {
			r.buf = slices.Grow(r.buf, len(r.buf))[:2*len(r.buf)]
		}
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.end:])
		if n < 0 || n > len(r.buf)-r.end {
			return fmt.Errorf("cannot read: %w", io.ErrNoProgress)
		}
		r.end += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// take hands out up to len(p) received bytes that no reply claimed.
func (r *Reader) take(p []byte) int {
	n := copy(p, r.buf[r.pos:r.end])
	r.pos += n
	r.start = r.pos
	return n
}

func parseInt(b []byte) (int64, error) {
	if len(b) == 0 || len(b) > 20 {
		return 0, fmt.Errorf("%w: number %.30q", ErrProtocol, b)
	}
	digits, neg := b, false
	if b[0] == '-' || b[0] == '+' {
		neg = b[0] == '-'
		digits = b[1:]
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' || n > (1<<63)/10 {
			return 0, fmt.Errorf("%w: number %.30q", ErrProtocol, b)
		}
		n = n*10 + uint64(c-'0')
	}
	if len(digits) == 0 || n > 1<<63 || n == 1<<63 && !neg {
		return 0, fmt.Errorf("%w: number %.30q", ErrProtocol, b)
	}
	if neg {
		return -int64(n), nil
	}
	return int64(n), nil
}
