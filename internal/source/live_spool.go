package source

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"holdfast.dev/internal/flow"
)

const (
	// spoolBuffer is what is collected before it is written, and read at a time.
	spoolBuffer = 1 << 20
	// spoolMark opens the file, so that no record is at offset 0.
	spoolMark = "holdfast spool 1\n"
	// spoolFixed is the length of value, expiry, type and version in a record;
	// spoolHead bounds all that precedes the key.
	spoolFixed = 8 + 8 + 1 + 2
	spoolHead  = 2*binary.MaxVarintLen64 + spoolFixed
)

// spool is a file that entries are appended to. It has no name: it is removed
// when it is made, so that nothing is left behind whatever ends this process.
//
// A record: length of key, database (uvarint each), length of value, expiry (8 bytes
// each), type, version (2), key, value.
type spool struct {
	f   *os.File
	dir string
	// buf is what has not been written; done bytes have.
	buf  []byte
	done int64
	tmp  []byte
}

// newSpool makes the file in a directory; "" is the system's one for temporary files.
func newSpool(dir string) (*spool, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	f, err := namelessFile(dir)
	if err != nil {
		return nil, err
	}
	s := &spool{f: f, dir: dir, buf: make([]byte, 0, spoolBuffer+spoolBuffer/4)}
	return s, s.reset()
}

// reset forgets everything.
func (s *spool) reset() error {
	if err := s.f.Truncate(0); err != nil {
		return s.fail(err)
	}
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return s.fail(err)
	}
	s.buf, s.done = append(s.buf[:0], spoolMark...), 0
	return nil
}

func (s *spool) fail(err error) error {
	return fmt.Errorf("cannot use the spool in %s: %w", s.dir, err)
}

// size is the number of bytes that the spool holds.
func (s *spool) size() int64 { return s.done + int64(len(s.buf)) }

// add appends an entry and returns where it is.
func (s *spool) add(e *flow.Entry) (int64, error) {
	r, err := s.begin(e)
	if err != nil {
		return 0, err
	}
	if e.Body != nil {
		if _, err := io.CopyBuffer(r, e.Body, make([]byte, bodyBuffer)); err != nil {
			return 0, errors.Join(err, r.undo())
		}
	} else if _, err := r.Write(e.Value); err != nil {
		return 0, err
	}
	return r.at, r.end(e.ExpireAt)
}

// bodyBuffer is how much of a large value is copied at once.
const bodyBuffer = 64 << 10

// spoolRecord is a record whose value is being written. Its length and expiry are
// told when it ends.
type spoolRecord struct {
	s *spool
	// at is where the record is, told where the length of its value is, and value
	// where that begins.
	at, told, value int64
}

// begin begins the record of an entry.
func (s *spool) begin(e *flow.Entry) (*spoolRecord, error) {
	r := &spoolRecord{s: s, at: s.size()}
	b := binary.AppendUvarint(s.buf, uint64(len(e.Key)))
	b = binary.AppendUvarint(b, uint64(e.DB))
	r.told = s.done + int64(len(b))
	b = append(b, make([]byte, 16)...)
	b = append(b, e.Type)
	b = binary.LittleEndian.AppendUint16(b, uint16(e.Version))
	s.buf = append(b, e.Key...)
	r.value = s.size()
	if len(s.buf) >= spoolBuffer {
		return r, s.flush()
	}
	return r, nil
}

// Write appends to the value.
func (r *spoolRecord) Write(p []byte) (int, error) {
	s := r.s
	if len(p) > spoolBuffer {
		// Too large to be copied once more.
		if err := s.flush(); err != nil {
			return 0, err
		}
		n, err := s.f.Write(p)
		s.done += int64(n)
		if err != nil {
			return n, s.fail(err)
		}
		return n, nil
	}
	s.buf = append(s.buf, p...)
	if len(s.buf) >= spoolBuffer {
		return len(p), s.flush()
	}
	return len(p), nil
}

// size is the length of the value so far.
func (r *spoolRecord) size() int64 { return r.s.size() - r.value }

// end makes the record whole.
func (r *spoolRecord) end(expireAt int64) error {
	var told [16]byte
	binary.LittleEndian.PutUint64(told[:], uint64(r.size()))
	binary.LittleEndian.PutUint64(told[8:], uint64(expireAt))
	s := r.s
	if r.told >= s.done {
		copy(s.buf[r.told-s.done:], told[:])
		return nil
	}
	if _, err := s.f.WriteAt(told[:], r.told); err != nil { // all of a head is written at once
		return s.fail(err)
	}
	return nil
}

// undo takes the record back, and restart its value.
func (r *spoolRecord) undo() error    { return r.s.cut(r.at) }
func (r *spoolRecord) restart() error { return r.s.cut(r.value) }

// body reads the value of a record that has ended, until the spool is reset.
func (r *spoolRecord) body() (*io.SectionReader, error) {
	n := r.size()
	if err := r.s.flush(); err != nil {
		return nil, err
	}
	return io.NewSectionReader(r.s.f, r.value, n), nil
}

// cut forgets what comes after an offset.
func (s *spool) cut(at int64) error {
	if at >= s.done {
		s.buf = s.buf[:at-s.done]
		return nil
	}
	if err := s.f.Truncate(at); err != nil {
		return s.fail(err)
	}
	if _, err := s.f.Seek(at, io.SeekStart); err != nil {
		return s.fail(err)
	}
	s.buf, s.done = s.buf[:0], at
	return nil
}

func (s *spool) flush() error {
	n, err := s.f.Write(s.buf)
	s.done += int64(n)
	if err != nil {
		return s.fail(err)
	}
	s.buf = s.buf[:0]
	return nil
}

// holds tells whether the record at an offset is one of this key.
func (s *spool) holds(at int64, db int, key []byte) (bool, error) {
	var b []byte
	if at >= s.done {
		b = s.buf[at-s.done:]
	} else {
		if want := spoolHead + len(key); cap(s.tmp) < want {
			s.tmp = make([]byte, 2*want)
		}
		b = s.tmp[:spoolHead+len(key)]
		n, err := s.f.ReadAt(b, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, s.fail(err)
		}
		// The rest of a record may still be in the buffer.
		b = append(b[:n], s.buf[:min(len(s.buf), len(b)-n)]...)
	}
	var nums [2]uint64
	for i := range nums {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return false, s.fail(io.ErrUnexpectedEOF)
		}
		nums[i], b = v, b[n:]
	}
	if nums[0] != uint64(len(key)) || nums[1] != uint64(db) {
		return false, nil
	}
	if len(b) < spoolFixed+len(key) {
		return false, s.fail(io.ErrUnexpectedEOF)
	}
	return string(b[spoolFixed:spoolFixed+len(key)]) == string(key), nil
}

// walk hands out every record with its offset. The entry is valid during the call;
// a value of more than spillAbove bytes is its Body.
func (s *spool) walk(visit func(at int64, e *flow.Entry) error) error {
	if err := s.flush(); err != nil {
		return err
	}
	at := int64(len(spoolMark))
	in := bufio.NewReaderSize(io.NewSectionReader(s.f, at, s.done-at), spoolBuffer)
	e := flow.Entry{Idle: -1, Freq: -1}
	var buf []byte
	for at < s.done {
		n, left, b, err := readRecord(in, &e, buf)
		if err != nil {
			return s.fail(err)
		}
		if err := visit(at, &e); err != nil {
			return err
		}
		if err := skip(in, left); err != nil {
			return s.fail(err)
		}
		at += n
		if buf = b; cap(buf) > 2*spillAbove {
			buf = nil
		}
	}
	return nil
}

// skip passes over what was not read of a body.
func skip(in *bufio.Reader, left *io.LimitedReader) error {
	if left == nil {
		return nil
	}
	_, err := io.CopyN(io.Discard, in, left.N)
	return err
}

// readRecord reads one record into e, whose bytes are in the returned buffer,
// and says how long it is. A large value is left to be read.
func readRecord(in *bufio.Reader, e *flow.Entry, buf []byte) (int64, *io.LimitedReader, []byte, error) {
	var nums [2]uint64
	size := int64(spoolFixed)
	for i := range nums {
		v, err := binary.ReadUvarint(in)
		if err != nil {
			return 0, nil, buf, err
		}
		nums[i] = v
		size += int64(len(binary.AppendUvarint(nil, v)))
	}
	var fixed [spoolFixed]byte
	if _, err := io.ReadFull(in, fixed[:]); err != nil {
		return 0, nil, buf, err
	}
	value := int64(binary.LittleEndian.Uint64(fixed[:]))
	held := int(nums[0])
	if value <= int64(spillAbove) {
		held += int(value)
	}
	if cap(buf) < held {
		buf = make([]byte, held)
	}
	buf = buf[:held]
	if _, err := io.ReadFull(in, buf); err != nil {
		return 0, nil, buf, err
	}
	e.DB, e.Key, e.Value, e.Body = int(nums[1]), buf[:nums[0]:nums[0]], buf[nums[0]:], nil
	e.ExpireAt = int64(binary.LittleEndian.Uint64(fixed[8:]))
	e.Type, e.Version = fixed[16], int(binary.LittleEndian.Uint16(fixed[17:]))
	size += int64(nums[0]) + value
	if value <= int64(spillAbove) {
		return size, nil, buf, nil
	}
	left := &io.LimitedReader{R: in, N: value}
	e.Value, e.Body = nil, &sized{left, value}
	return size, left, buf, nil
}

// Close gives the file back.
func (s *spool) Close() error { return s.f.Close() }
