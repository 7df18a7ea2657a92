package memcache

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// keysAtOnce are asked for in one write.
const keysAtOnce = 512

// spool is a list of keys in a file that has no name any more: it goes with the process.
type spool struct {
	f   *os.File
	out *bufio.Writer
	in  *bufio.Reader
	n   int64
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "holdfast-keys-*")
	if err != nil {
		return nil, fmt.Errorf("cannot make a file for the list of keys: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &spool{f: f, out: bufio.NewWriterSize(f, 64<<10)}, nil
}

// add writes a key: its length in a byte, and itself.
func (s *spool) add(key []byte) error {
	s.n++
	if err := s.out.WriteByte(byte(len(key))); err != nil {
		return err
	}
	_, err := s.out.Write(key)
	return err
}

// rewind ends the writing.
func (s *spool) rewind() error {
	if err := s.out.Flush(); err != nil {
		return err
	}
	_, err := s.f.Seek(0, io.SeekStart)
	s.in = bufio.NewReaderSize(s.f, 64<<10)
	return err
}

// next returns some keys, none at the end.
func (s *spool) next() ([][]byte, error) {
	var batch [][]byte
	for len(batch) < keysAtOnce {
		n, err := s.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return batch, nil
		}
		if err != nil {
			return nil, err
		}
		key := make([]byte, n)
		if _, err := io.ReadFull(s.in, key); err != nil {
			return nil, err
		}
		batch = append(batch, key)
	}
	return batch, nil
}

func (s *spool) close() error { return s.f.Close() }
