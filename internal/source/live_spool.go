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
	// spoolHead bounds what precedes the key of a record: three lengths, expiry,
	// type and version.
	spoolHead = 3*binary.MaxVarintLen64 + 8 + 1 + 2
)

// spool is a file that entries are appended to. It has no name: it is removed
// when it is made, so that nothing is left behind whatever ends this process.
//
// A record: length of key, database, length of value (uvarint each), expiry (8
// bytes), type, version (2), key, value.
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
	at := s.size()
	b := binary.AppendUvarint(s.buf, uint64(len(e.Key)))
	b = binary.AppendUvarint(b, uint64(e.DB))
	b = binary.AppendUvarint(b, uint64(len(e.Value)))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.ExpireAt))
	b = append(b, e.Type)
	b = binary.LittleEndian.AppendUint16(b, uint16(e.Version))
	s.buf = append(b, e.Key...)
	if len(e.Value) > spoolBuffer {
		// Too large to be copied once more.
		if err := s.flush(); err != nil {
			return 0, err
		}
		n, err := s.f.Write(e.Value)
		s.done += int64(n)
		if err != nil {
			return 0, s.fail(err)
		}
		return at, nil
	}
	s.buf = append(s.buf, e.Value...)
	if len(s.buf) >= spoolBuffer {
		return at, s.flush()
	}
	return at, nil
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
	var nums [3]uint64
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
	if len(b) < 11+len(key) {
		return false, s.fail(io.ErrUnexpectedEOF)
	}
	return string(b[11:11+len(key)]) == string(key), nil
}

// walk hands out every record with its offset. The entry is valid during the call.
func (s *spool) walk(visit func(at int64, e *flow.Entry) error) error {
	if err := s.flush(); err != nil {
		return err
	}
	at := int64(len(spoolMark))
	in := bufio.NewReaderSize(io.NewSectionReader(s.f, at, s.done-at), spoolBuffer)
	e := flow.Entry{Idle: -1, Freq: -1}
	var body []byte
	for at < s.done {
		n, b, err := readRecord(in, &e, body)
		if err != nil {
			return s.fail(err)
		}
		if err := visit(at, &e); err != nil {
			return err
		}
		at += n
		if body = b; cap(body) > 8*spoolBuffer {
			body = nil
		}
	}
	return nil
}

// readRecord reads one record into e, whose bytes are in the returned buffer,
// and says how long it is.
func readRecord(in *bufio.Reader, e *flow.Entry, buf []byte) (int64, []byte, error) {
	var nums [3]uint64
	size := int64(11)
	for i := range nums {
		v, err := binary.ReadUvarint(in)
		if err != nil {
			return 0, buf, err
		}
		nums[i] = v
		size += int64(len(binary.AppendUvarint(nil, v)))
	}
	var fixed [11]byte
	if _, err := io.ReadFull(in, fixed[:]); err != nil {
		return 0, buf, err
	}
	body := int(nums[0] + nums[2])
	if cap(buf) < body {
		buf = make([]byte, body)
	}
	buf = buf[:body]
	if _, err := io.ReadFull(in, buf); err != nil {
		return 0, buf, err
	}
	e.DB, e.Key, e.Value = int(nums[1]), buf[:nums[0]:nums[0]], buf[nums[0]:]
	e.ExpireAt = int64(binary.LittleEndian.Uint64(fixed[:]))
	e.Type, e.Version = fixed[8], int(binary.LittleEndian.Uint16(fixed[9:]))
	return size + int64(body), buf, nil
}

// Close gives the file back.
func (s *spool) Close() error { return s.f.Close() }
