package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
	"sync/atomic"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// Input is one RDB file to be read.
type Input struct {
	// Name is what messages call it.
	Name string
	// Open begins to read it. It is called once, with the context of Entries, and
	// what it returns must end its reads when that context does: see CloseOnDone.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Size is its length in bytes, 0 if it is not known.
	Size int64
}

// File is the RDB file at a path.
func File(path string) Input {
	in := Input{Name: path}
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
		in.Size = st.Size()
	}
	in.Open = func(ctx context.Context) (io.ReadCloser, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		return CloseOnDone(ctx, f), nil
	}
	return in
}

// CloseOnDone returns r such that it is closed when ctx ends: for files, pipes and
// connections, whose Close may be called while they are read and ends the reading.
func CloseOnDone(ctx context.Context, r io.ReadCloser) io.ReadCloser {
	c := &closing{ReadCloser: r, why: func() error { return context.Cause(ctx) }}
	c.stop = context.AfterFunc(ctx, c.close)
	return c
}

type closing struct {
	io.ReadCloser
	stop func() bool
	// why is the reason for which the context has ended, nil as long as it has not.
	why  func() error
	once sync.Once
	err  error
}

// Read ends with the context's reason where it was the context that closed the reader.
func (c *closing) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if why := c.why(); why != nil {
			err = why
		}
	}
	return n, err
}

func (c *closing) close() { c.once.Do(func() { c.err = c.ReadCloser.Close() }) }

// Close closes the reader, unless the context did. It may be called twice.
func (c *closing) Close() error {
	c.stop()
	c.close()
	return c.err
}

// FileInfo is what an RDB file says besides its entries.
type FileInfo struct {
	Name   string
	Header rdb.Header
	// Bytes read of it so far; when it was read to its end, its length.
	Bytes int64
	Aux   []rdb.Aux
	// Functions, and the modules' own data, which are no entries.
	Functions []rdb.FunctionLibrary
	ModuleAux [][]byte
	// SlotImports counts unfinished slot migrations.
	SlotImports int
	// Checksummed tells that the file had a checksum; it was right then.
	Checksummed bool
	// Complete tells that it was read to its end.
	Complete bool
}

// RDB reads one or many RDB files, one after the other.
type RDB struct {
	inputs []Input
	read   atomic.Int64
	hinted atomic.Int64

	mu     sync.Mutex
	files  []FileInfo
	libs   []rdb.FunctionLibrary
	open   io.Closer
	closed bool
}

// NewRDB returns a source of the files in order.
func NewRDB(inputs ...Input) *RDB { return &RDB{inputs: inputs} }

// Entries yields the entries of every file.
func (s *RDB) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return oneError(func(yield func(*flow.Entry) bool) error {
		for _, in := range s.inputs {
			if err := s.readFile(ctx, in, yield); err != nil {
				return fmt.Errorf("%s: %w", in.Name, err)
			}
		}
		return nil
	})
}

// readFile yields one file's entries.
func (s *RDB) readFile(ctx context.Context, in Input, yield func(*flow.Entry) bool) (err error) {
	body, err := in.Open(ctx)
	if err != nil {
		return fmt.Errorf("cannot open: %w", err)
	}
	if err := s.hold(body); err != nil {
		return errors.Join(err, body.Close())
	}
	defer func() {
		if cerr := s.release(); cerr != nil && err == nil && ctx.Err() == nil {
			err = fmt.Errorf("cannot close: %w", cerr)
		}
	}()
	before := s.read.Load()
	r := rdb.NewReader(body)
	r.StreamAbove(streamAbove)
	err = s.walk(ctx, r, before, yield)
	s.note(in.Name, r, err == nil)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, errStop) {
		err = cause
	}
	return err
}

// walk yields what r reads, keeping the counters that progress is told by.
func (s *RDB) walk(ctx context.Context, r *rdb.Reader, before int64, yield func(*flow.Entry) bool) error {
	header, err := r.Header()
	if err != nil {
		return err
	}
	e := flow.Entry{Version: header.Version}
	var hints, hinted int64
	lastDB, base := -1, s.hinted.Load()
	for n := 0; ; n++ {
		re, err := r.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped one would be the input's error, not the good end
			if n == 0 {
				s.noteFunctions(r.Functions())
			}
			s.read.Store(before + r.Offset())
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 {
			s.noteFunctions(r.Functions())
		}
		if re.DB != lastDB {
			lastDB = re.DB
			if h := r.Hint(); h.Known {
				hints += h.Keys
				if hints != hinted {
					hinted = hints
					s.hinted.Store(base + hinted)
				}
			}
		}
		fill(&e, re)
		if !yield(&e) {
			return errStop
		}
		if n&255 == 0 {
			s.read.Store(before + r.Offset())
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
	}
}

// streamAbove is from what size on a value of a file is not held in memory. The
// window that holds it grows to twice that, and what read it may hold a copy.
const streamAbove = 4 << 20

// fill makes an entry of the mover from one of the codec. Version stays.
func fill(e *flow.Entry, from *rdb.Entry) {
	e.DB, e.Key, e.Type, e.Value, e.Body = from.DB, from.Key, from.Type, from.Value, from.Body
	e.ExpireAt, e.Idle, e.Freq = from.ExpireAt, from.Idle, from.Freq
}

func (s *RDB) note(name string, r *rdb.Reader, complete bool) {
	h, err := r.Header()
	info := FileInfo{
		Name: name, Header: h, Bytes: r.Offset(), Aux: r.Aux(), Functions: r.Functions(),
		ModuleAux: r.ModuleAux(), SlotImports: r.SlotImports(), Checksummed: r.Checksummed(), Complete: complete && err == nil,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = append(s.files, info)
}

func (s *RDB) noteFunctions(libs []rdb.FunctionLibrary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.libs = append(s.libs, libs...)
}

// Functions are the libraries of the files begun so far: those of a file are
// known before its first entry is yielded.
func (s *RDB) Functions() []rdb.FunctionLibrary {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]rdb.FunctionLibrary(nil), s.libs...)
}

// Files tells about the files read so far, complete or not.
func (s *RDB) Files() []FileInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]FileInfo(nil), s.files...)
}

// Len is what the size hints read so far add up to: it grows as databases begin.
func (s *RDB) Len(context.Context) (int64, error) { return s.hinted.Load(), nil }

// Bytes tells how many bytes were read, and of how many; total is 0 where a
// file's size is not known.
func (s *RDB) Bytes() (read, total int64) {
	for _, in := range s.inputs {
		if in.Size == 0 {
			return s.read.Load(), 0
		}
		total += in.Size
	}
	return s.read.Load(), total
}

func (s *RDB) hold(c io.Closer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.open = c
	return nil
}

func (s *RDB) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		return nil
	}
	err := s.open.Close()
	s.open = nil
	return err
}

// Close stops a reading that is under way.
func (s *RDB) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.release()
}
