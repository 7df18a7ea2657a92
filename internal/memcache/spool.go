package memcache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// keysAtOnce are asked for in one write.
const keysAtOnce = 512

// listed is a key as a server lists it.
type listed struct {
	key []byte
	// expiry in seconds since 1970 by the clock of the server, 0 where it is not known or never.
	expiry int64
}

// spool is a list of keys in a file that has no name any more: it goes with the process.
type spool struct {
	f   *os.File
	out *bufio.Writer
	in  *bufio.Reader
	n   int64
	// room of an entry while it is written.
	room []byte
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

// add writes a key: its length in a byte, when it expires, and itself.
func (s *spool) add(l listed) error {
	s.n++
	b := append(s.room[:0], byte(len(l.key)))
	b = append(binary.AppendVarint(b, l.expiry), l.key...)
	s.room = b
	_, err := s.out.Write(b)
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
func (s *spool) next() ([]listed, error) {
	batch := make([]listed, 0, keysAtOnce)
	for len(batch) < keysAtOnce {
		n, err := s.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return batch, nil
		}
		if err != nil {
			return nil, err
		}
		l := listed{key: make([]byte, n)}
		if l.expiry, err = binary.ReadVarint(s.in); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(s.in, l.key); err != nil {
			return nil, err
		}
		batch = append(batch, l)
	}
	return batch, nil
}

func (s *spool) close() error { return s.f.Close() }
