package sink

import (
	"fmt"
	"io"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// A value too large for one command is written by many: so much, or so many
// elements, by each. Either takes a server about a millisecond.
const (
	pieceBytes = 1 << 20
	pieceItems = 2000
)

// pieceOut is where the commands go.
type pieceOut interface {
	// commands takes n whole commands, and keeps none of their bytes.
	commands(b []byte, n int) error
	// begin takes the beginning of one command, part more of it, end the rest.
	begin(b []byte) error
	part(b []byte) error
	end(b []byte) error
}

// pieces makes the commands that build one value under a name.
type pieces struct {
	out pieceOut
	to  pieceTarget
	key []byte
	// count is how many elements, or bytes of a string, were written; lasting how
	// many of them do not expire by themselves.
	count, lasting int64

	verb  string // of the command whose arguments come together
	args  []byte
	n     int
	after []byte // commands that must follow it
	many  int
	long  bool // an argument that comes in parts was begun
	buf   []byte
	one   []byte
	// restore makes the RESTORE for an entry in memory.
	restore func(*flow.Entry) ([]byte, error)
}

// pieceTarget is what has to be known of a server.
type pieceTarget struct {
	rdb.Target
	// bulk is the longest argument and string that it takes in bytes, 0 where it does not tell.
	bulk int64
}

// write makes the commands for a value.
func (p *pieces) write(e *flow.Entry, value io.Reader) error {
	if rdb.ClassOf(e.Type) == rdb.ClassStream {
		return p.stream(e, value)
	}
	var d rdb.Decoder
	if err := d.WalkBody(e.Type, e.Version, value, p.element); err != nil {
		return err
	}
	return p.flush()
}

func (p *pieces) element(e *rdb.Element) error {
	switch e.Kind {
	case rdb.KindPart:
		return p.part(e)
	case rdb.KindString:
		if e.Parted {
			return p.flushAppend()
		}
		p.count += int64(len(e.A))
		return p.add("APPEND", e.A)
	}
	p.count++
	p.lasting++
	if e.Parted && e.Kind != rdb.KindField {
		return p.endLong(nil)
	}
	switch e.Kind {
	case rdb.KindItem:
		return p.add("RPUSH", e.A)
	case rdb.KindMember:
		return p.add("SADD", e.A)
	case rdb.KindScored:
		var score [32]byte
		return p.add("ZADD", appendScore(score[:0], e.Score), e.A)
	case rdb.KindField:
		return p.field(e)
	}
	return fmt.Errorf("a value of this type cannot be written in pieces: %w", rdb.ErrType)
}

// appendScore appends a score in digits that give the same bits again.
func appendScore(dst []byte, f float64) []byte {
	return strconv.AppendFloat(dst, f, 'g', -1, 64) // infinities are +Inf and -Inf, which engines read
}

// add adds arguments to the command under way.
func (p *pieces) add(verb string, args ...[]byte) error {
	for _, a := range args {
		if err := p.fits(int64(len(a))); err != nil {
			return err
		}
	}
	if p.verb != verb {
		if err := p.flush(); err != nil {
			return err
		}
		p.verb = verb
	}
	for _, a := range args {
		p.args = resp.AppendBulk(p.args, a)
	}
	p.n += len(args)
	if len(p.args)+len(p.after) >= pieceBytes || p.n >= pieceItems || verb == "APPEND" {
		return p.flush()
	}
	return nil
}

// fits refuses what the server would end the connection for.
func (p *pieces) fits(n int64) error {
	if p.to.bulk > 0 && n > p.to.bulk {
		return fmt.Errorf("a string of %d bytes is longer than the server takes: its proto-max-bulk-len is %d; raise it (CONFIG SET proto-max-bulk-len %d) and begin anew", n, p.to.bulk, n)
	}
	return nil
}

// flush hands on the command under way and what must follow it.
func (p *pieces) flush() error {
	b, n := p.buf[:0], 0
	if p.n > 0 {
		b = p.head(b, p.verb, p.n)
		b = append(b, p.args...)
		n++
	}
	b = append(b, p.after...)
	n += p.many
	p.args, p.n, p.after, p.many = p.args[:0], 0, p.after[:0], 0
	p.buf = b[:0]
	if n == 0 {
		return nil
	}
	return p.out.commands(b, n)
}

// head appends a command up to its key, with so many arguments to come.
func (p *pieces) head(dst []byte, verb string, args int) []byte {
	dst = resp.AppendArray(dst, 2+args)
	dst = resp.AppendString(dst, verb)
	return resp.AppendBulk(dst, p.key)
}

// follow adds a command behind the one under way.
func (p *pieces) follow(cmd []byte) error {
	p.after = append(p.after, cmd...)
	p.many++
	if len(p.args)+len(p.after) >= pieceBytes || p.many >= pieceItems {
		return p.flush()
	}
	return nil
}

// part takes a part of a string that is too long to be held.
func (p *pieces) part(e *rdb.Element) error {
	if e.Of == rdb.KindModule {
		return fmt.Errorf("a value of this type cannot be written in pieces: %w", rdb.ErrType)
	}
	if err := p.fits(int64(e.Whole)); err != nil {
		return err
	}
	if e.Of == rdb.KindString {
		p.count += int64(len(e.B))
		return p.append(e.B)
	}
	if !p.long {
		if err := p.flush(); err != nil {
			return err
		}
		p.long = true
		b := p.buf[:0]
		switch e.Of {
		case rdb.KindItem:
			b = p.head(b, "RPUSH", 1)
		case rdb.KindMember:
			b = p.head(b, "SADD", 1)
		default:
			b = resp.AppendBulk(p.head(b, "HSET", 2), e.A)
		}
		b = resp.AppendBulkHead(b, int(e.Whole))
		p.buf = b[:0]
		if err := p.out.begin(b); err != nil {
			return err
		}
	}
	return p.out.part(e.B)
}

// append collects parts of a string for APPEND.
func (p *pieces) append(b []byte) error {
	p.verb = "APPEND"
	if p.n == 0 {
		// The length goes in front: it is put there when the piece is handed on.
		p.n = 1
		p.args = p.args[:0]
	}
	p.args = append(p.args, b...)
	if len(p.args) < pieceBytes {
		return nil
	}
	return p.flushAppend()
}

// flushAppend hands on a collected part of a string.
func (p *pieces) flushAppend() error {
	if p.n == 0 {
		return nil
	}
	b := p.head(p.buf[:0], "APPEND", 1)
	b = resp.AppendBulk(b, p.args)
	p.args, p.n, p.buf = p.args[:0], 0, b[:0]
	return p.out.commands(b, 1)
}

// endLong ends the command of an argument that came in parts.
func (p *pieces) endLong(then []byte) error {
	p.long = false
	if err := p.out.end(resp.AppendEnd(nil)); err != nil {
		return err
	}
	if then == nil {
		return nil
	}
	return p.follow(then)
}

// field writes a field of a hash, and when it expires.
func (p *pieces) field(e *rdb.Element) error {
	var expire []byte
	if e.ExpireAt != 0 {
		if err := p.fieldTTL(); err != nil {
			return err
		}
		if p.keepsFieldTTL() {
			p.lasting--
			expire = p.head(nil, "HPEXPIREAT", 4)
			expire = resp.AppendInt(expire, max(e.ExpireAt, 1))
			expire = append(expire, "$6\r\nFIELDS\r\n$1\r\n1\r\n"...)
			expire = resp.AppendBulk(expire, e.A)
		}
	}
	if e.Parted {
		return p.endLong(expire)
	}
	if expire == nil {
		return p.add("HSET", e.A, e.B)
	}
	if err := p.add("HSET", e.A, e.B); err != nil {
		return err
	}
	return p.follow(expire)
}

// keepsFieldTTL: the server has hash fields that expire.
func (p *pieces) keepsFieldTTL() bool {
	return p.to.Version >= rdb.ValkeyVersion || p.to.Version >= rdb.MaxRedisVersion
}

func (p *pieces) fieldTTL() error {
	if p.keepsFieldTTL() || p.to.DropFieldTTL {
		return nil
	}
	return &rdb.LossError{What: rdb.LossFieldTTL, Target: p.to.Target}
}
