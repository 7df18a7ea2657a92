package resp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// A server gives a value in one string, and a value may be larger than the memory
// there is. Strings that a reply has no room for in memory go into a file without
// a name, as they come, and are read from there.

// spillFrom is from what length on a string may be spilled. Shorter ones are
// held whatever the reply holds: a file is not for them.
const spillFrom = 4 << 10

// spillBuffer is how much of a string is written at once.
const spillBuffer = 256 << 10

// spill is where the strings of one reply lie that were not held in memory.
type spill struct {
	// above is how many bytes a reply may hold in memory; 0 means any.
	above int
	dir   string
	size  int64
	buf   []byte

	mu     sync.Mutex // holds file and closed, for close comes from another goroutine
	file   *os.File
	closed bool
}

// SpillError says that a reply could not be kept: the disk's fault, not the server's.
type SpillError struct{ Err error }

// Error names what failed and what to look after.
func (e *SpillError) Error() string {
	return "cannot keep a large value in a temporary file (TMPDIR names the directory, which needs room for the largest value): " + e.Err.Error()
}

// Unwrap is the error of the file.
func (e *SpillError) Unwrap() error { return e.Err }

// SpillAbove has strings of the replies to come that do not fit into so many bytes,
// together with what else the reply holds, written to a file instead of held: see
// Reply.Spilled. Strings below 4 KiB and those of pushes are always held. 0, which is
// where it begins, holds everything. The file is in a directory, "" being the system's for
// temporary files; it has no name and is gone when the process ends.
func (r *Reader) SpillAbove(limit int, dir string) { r.spill.above, r.spill.dir = max(limit, 0), dir }

// Close gives back the file that strings were spilled to, if there was one. The
// stream is the caller's to close. Close may be called by another goroutine, and twice.
func (r *Reader) Close() error { return r.spill.close() }

// SpillAbove is Reader.SpillAbove. It holds from the next reply on.
func (c *Conn) SpillAbove(limit int, dir string) { c.r.SpillAbove(limit, dir) }

// Spilled is the text of a Bulk that was written to a file, of which Bytes is nil
// then; nil if Bytes has it. Like Bytes it is valid until the next reply is read.
func (r *Reply) Spilled() *io.SectionReader { return r.spilled }

// spills tells whether a string of n bytes is to go to the file.
func (r *Reader) spills(out *Reply, n int64) bool {
	s := &r.spill
	return s.above > 0 && n >= spillFrom && out.Kind == Bulk && !r.push &&
		int64(r.pos-r.start)+n > int64(s.above)
}

// parseSpilled takes a string of n bytes to the file.
func (r *Reader) parseSpilled(out *Reply, n int64) error {
	s := &r.spill
	if s.size+n > int64(r.lim.Bytes) {
		return fmt.Errorf("%w: a reply of more than %d bytes", ErrProtocol, r.lim.Bytes)
	}
	if err := s.open(); err != nil {
		return err
	}
	from := s.size
	if err := r.pour(n); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := r.need(2); err != nil {
		return err
	}
	if r.buf[r.pos] != '\r' || r.buf[r.pos+1] != '\n' {
		return fmt.Errorf("%w: a string of %d bytes does not end where it says", ErrProtocol, n)
	}
	r.pos += 2
	out.at, out.n = r.pos-r.start, 0
	out.spilled = io.NewSectionReader(s.file, from, n)
	return nil
}

// pour moves n bytes of the stream to the file: those that were received already,
// and the rest around the buffer, in which the reply stays as it is.
func (r *Reader) pour(n int64) error {
	s := &r.spill
	had := int(min(n, int64(r.end-r.pos)))
	if err := s.write(r.buf[r.pos : r.pos+had]); err != nil {
		return err
	}
	r.end = r.pos + copy(r.buf[r.pos:], r.buf[r.pos+had:r.end])
	for left, idle := n-int64(had), 0; left > 0; {
		m, err := r.src.Read(s.buf[:min(left, spillBuffer)])
		if m < 0 || int64(m) > left {
			return fmt.Errorf("cannot read: %w", io.ErrNoProgress)
		}
		if werr := s.write(s.buf[:m]); werr != nil {
			return werr
		}
		left -= int64(m)
		if idle++; m > 0 {
			idle = 0
		}
		switch {
		case err != nil && left > 0:
			return err
		case idle == 100:
			return io.ErrNoProgress
		}
	}
	return nil
}

// open makes the file when it is first needed.
func (s *spill) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &SpillError{os.ErrClosed}
	}
	if s.file != nil {
		return nil
	}
	f, err := os.CreateTemp(s.dir, ".holdfast-value-*") // mode 0600
	if err != nil {
		return &SpillError{err}
	}
	if err := os.Remove(f.Name()); err != nil {
		return &SpillError{errors.Join(err, f.Close())}
	}
	s.file, s.buf = f, make([]byte, spillBuffer)
	return nil
}

func (s *spill) write(p []byte) error {
	n, err := s.file.WriteAt(p, s.size)
	s.size += int64(n)
	if err != nil {
		return &SpillError{err}
	}
	return nil
}

// reset forgets what the reply before left, and gives its room on the disk back.
func (s *spill) reset() error {
	if s.size == 0 {
		return nil
	}
	s.size = 0
	if err := s.file.Truncate(0); err != nil && !errors.Is(err, os.ErrClosed) {
		return &SpillError{err}
	}
	return nil
}

// close gives the file back. What is in it cannot be read any more.
func (s *spill) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed = true; s.file == nil {
		return nil
	}
	if err := s.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return &SpillError{err}
	}
	return nil
}
