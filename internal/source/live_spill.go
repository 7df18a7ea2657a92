package source

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// keySpill is a file without a name that keys wait in when they are too many for
// memory. It gives them back in the order in which they came; a key may come twice.
//
// A record: database + 1, length of key (uvarint each), key.
type keySpill struct {
	f    *os.File
	keys int // that wait
	// from and to are where those that wait begin and end.
	from, to int64
}

func newKeySpill(dir string) (*keySpill, error) {
	f, err := namelessFile(dir)
	if err != nil {
		return nil, err
	}
	return &keySpill{f: f}, nil
}

// namelessFile makes a file that is gone when it is closed, whatever ends this process.
func namelessFile(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	f, err := os.CreateTemp(dir, ".holdfast-spool-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("cannot make a spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make a spool: %w", err), f.Close())
	}
	return f, nil
}

// put appends keys.
func (s *keySpill) put(keys map[touched]struct{}) error {
	w := bufio.NewWriterSize(io.NewOffsetWriter(s.f, s.to), spoolBuffer)
	var n int64
	for t := range keys {
		var head [2 * binary.MaxVarintLen64]byte
		b := binary.AppendUvarint(head[:0], uint64(t.db+1))
		b = binary.AppendUvarint(b, uint64(len(t.key)))
		n += int64(len(b) + len(t.key))
		// A bufio.Writer keeps its first error for Flush.
		_, _ = w.Write(b)
		_, _ = w.WriteString(t.key)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("cannot note which keys changed: %w", err)
	}
	s.to += n
	s.keys += len(keys)
	return nil
}

// take gives back so many keys, or so many bytes of them.
func (s *keySpill) take(keys, bytes int) (map[touched]struct{}, error) {
	in := bufio.NewReaderSize(io.NewSectionReader(s.f, s.from, s.to-s.from), spoolBuffer)
	out := make(map[touched]struct{}, min(keys, s.keys))
	for n := 0; n < keys && bytes > 0 && s.keys > 0; n++ {
		db, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, s.fail(err)
		}
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, s.fail(err)
		}
		key := make([]byte, size)
		if _, err := io.ReadFull(in, key); err != nil {
			return nil, s.fail(err)
		}
		head := len(binary.AppendUvarint(binary.AppendUvarint(nil, db), size))
		s.from += int64(head) + int64(size)
		s.keys--
		bytes -= int(size)
		out[touched{int(db) - 1, string(key)}] = struct{}{}
	}
	if s.keys == 0 {
		return out, s.reset()
	}
	return out, nil
}

// reset forgets everything.
func (s *keySpill) reset() error {
	s.keys, s.from, s.to = 0, 0, 0
	if err := s.f.Truncate(0); err != nil {
		return s.fail(err)
	}
	return nil
}

func (s *keySpill) fail(err error) error {
	return fmt.Errorf("cannot read back which keys changed: %w", err)
}

// Close gives the file back.
func (s *keySpill) Close() error { return s.f.Close() }
