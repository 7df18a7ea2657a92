package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// fullSync is a snapshot on its way: it is received at full speed into a file
// without a name, and read from there as fast as it can be applied, from the
// beginning on while it still grows.
type fullSync struct {
	file *os.File
	info Info
	// applying: somebody reads it, who closes it; guarded by the feed's lock.
	applying bool

	mu      sync.Mutex
	grown   *sync.Cond
	written int64
	read    int64
	ended   bool
	err     error // io.EOF once all of it is there
}

func newFullSync(dir string, info Info) (*fullSync, error) {
	f, err := namelessFile(dir)
	if err != nil {
		return nil, err
	}
	s := &fullSync{file: f, info: info}
	s.grown = sync.NewCond(&s.mu)
	return s, nil
}

// receive copies the snapshot into the file. Its error is that of the connection
// or of the disk; whoever reads gets it too.
func (s *fullSync) receive(body io.Reader) error {
	_, err := io.CopyBuffer(fullWriter{s}, body, make([]byte, streamBuffer))
	if err == nil {
		s.end(io.EOF)
		return nil
	}
	s.end(fmt.Errorf("the snapshot broke off: %w", err))
	return err
}

// end says that nothing more comes.
func (s *fullSync) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, err
	}
	s.grown.Broadcast()
}

// diskError is an error of the spool, which no new connection cures.
type diskError struct{ err error }

func (e *diskError) Error() string { return "cannot keep the snapshot: " + e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

// fullWriter is the file as its writer sees it.
type fullWriter struct{ s *fullSync }

func (w fullWriter) Write(p []byte) (int, error) {
	n, err := w.s.file.WriteAt(p, w.s.written) // written changes here alone
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.written += int64(n)
	w.s.grown.Broadcast()
	if err != nil {
		err = &diskError{err}
	}
	return n, err
}

// Read gives what was received, and waits for more.
func (s *fullSync) Read(p []byte) (int, error) {
	s.mu.Lock()
	for s.read == s.written && !s.ended {
		s.grown.Wait()
	}
	at, n, err := s.read, min(int64(len(p)), s.written-s.read), s.err
	s.mu.Unlock()
	if n == 0 && len(p) > 0 {
		return 0, err
	}
	m, err := s.file.ReadAt(p[:n], at)
	s.mu.Lock()
	s.read += int64(m)
	s.mu.Unlock()
	if errors.Is(err, io.EOF) {
		err = nil // of the file; more may come
	}
	return m, err
}

// whole tells whether all of it was received, and how many bytes were.
func (s *fullSync) whole() (bool, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended && errors.Is(s.err, io.EOF), s.written
}

// Close gives the file back. Nobody may read or write any more.
func (s *fullSync) Close() error { return s.file.Close() }
