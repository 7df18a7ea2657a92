package bridge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// mark is where the journal was written to its end in one piece: a place from which
// both sides can be resumed. It is a line of a segment's index.
type mark struct {
	// ReplID and A name the place in the source's history, B the one in ours.
	ReplID string `json:"id"`
	A      int64  `json:"a"`
	B      int64  `json:"b"`
	// Up is the database that the source's stream is in, Down the target's; -1 before the first SELECT.
	Up   int `json:"u"`
	Down int `json:"d"`
	// Sum is the checksum of the bytes since the mark before.
	Sum uint32 `json:"c"`
	// Dirty are keys that began to wait for a refresh, Clean those that got it.
	Dirty []keyID `json:"+,omitempty"`
	Clean []keyID `json:"clean,omitempty"`
}

// keyID is a key of a database.
type keyID struct {
	DB  int
	Key string
}

// MarshalJSON writes the key as bytes: it need not be text.
func (k keyID) MarshalJSON() ([]byte, error) { return json.Marshal([2]any{k.DB, []byte(k.Key)}) }

// UnmarshalJSON reads it.
func (k *keyID) UnmarshalJSON(b []byte) error {
	var key []byte
	if err := json.Unmarshal(b, &[2]any{&k.DB, &key}); err != nil {
		return err
	}
	k.Key = string(key)
	return nil
}

// errFull says that the journal holds as much as it may.
var errFull = errors.New("the journal is full")

// segment is one file of the stream for the target, with its index beside it.
type segment struct {
	base, size int64
	data, idx  *os.File
}

func (s *segment) end() int64 { return s.base + s.size }

// journal is the stream for the target, from the oldest byte that it may still ask
// for, in files of a directory. One goroutine appends; others read and trim.
type journal struct {
	dir         string
	segmentSize int64
	limit       int64

	mu    sync.Mutex
	segs  []*segment
	last  mark
	dirty map[keyID]bool
	grew  chan struct{}
}

const (
	dataSuffix  = ".stream"
	indexSuffix = ".index"
)

// newJournal begins a journal at a mark, in place of what may be there.
func newJournal(dir string, segmentSize, limit int64, at mark) (*journal, error) {
	if err := clearJournal(dir); err != nil {
		return nil, err
	}
	j := &journal{dir: dir, segmentSize: segmentSize, limit: limit, last: at, dirty: map[keyID]bool{}, grew: make(chan struct{})}
	if err := j.rotate(); err != nil {
		return nil, err
	}
	return j, nil
}

// clearJournal deletes the journal of a directory.
func clearJournal(dir string) error {
	bases, err := segmentsOf(dir)
	if err != nil {
		return err
	}
	for _, base := range bases {
		if err := removeSegment(dir, base); err != nil {
			return err
		}
	}
	return nil
}

func removeSegment(dir string, base int64) error {
	for _, suffix := range []string{indexSuffix, dataSuffix} {
		if err := os.Remove(segmentPath(dir, base, suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot clear the journal: %w", err)
		}
	}
	return nil
}

func segmentPath(dir string, base int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, suffix))
}

// segmentsOf lists the first offsets of the segments in a directory, in order.
func segmentsOf(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the journal: %w", err)
	}
	var out []int64
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), indexSuffix); ok {
			if base, err := strconv.ParseInt(name, 10, 64); err == nil {
				out = append(out, base)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// rotate begins a segment; its index begins with all that has to be known of what was before.
func (j *journal) rotate() error {
	if n := len(j.segs); n > 0 {
		// Only the last segment is checked when a journal is opened.
		if err := errors.Join(j.segs[n-1].data.Sync(), j.segs[n-1].idx.Sync()); err != nil {
			return fmt.Errorf("cannot write the journal: %w", err)
		}
	}
	s := &segment{base: j.last.B}
	var err error
	if s.data, err = os.OpenFile(segmentPath(j.dir, s.base, dataSuffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	if s.idx, err = os.OpenFile(segmentPath(j.dir, s.base, indexSuffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return errors.Join(fmt.Errorf("cannot write the journal: %w", err), s.data.Close())
	}
	first := j.last
	first.Dirty, first.Clean, first.Sum = nil, nil, 0
	for k := range j.dirty {
		first.Dirty = append(first.Dirty, k)
	}
	j.segs = append(j.segs, s)
	return j.note(s, first)
}

func (j *journal) note(s *segment, m mark) error {
	line, err := json.Marshal(m)
	if err == nil {
		_, err = s.idx.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	return nil
}

// append adds bytes and the mark at their end. The target may have them from then on.
func (j *journal) append(out []byte, m mark) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.held()+int64(len(out)) > j.limit {
		return errFull
	}
	s := j.segs[len(j.segs)-1]
	if s.size >= j.segmentSize {
		if err := j.rotate(); err != nil {
			return err
		}
		s = j.segs[len(j.segs)-1]
	}
	if _, err := s.data.WriteAt(out, s.size); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	m.B, m.Sum = j.last.B+int64(len(out)), crc32.ChecksumIEEE(out)
	if err := j.note(s, m); err != nil {
		return err
	}
	s.size += int64(len(out))
	j.apply(m)
	close(j.grew)
	j.grew = make(chan struct{})
	return nil
}

func (j *journal) apply(m mark) {
	for _, k := range m.Dirty {
		j.dirty[k] = true
	}
	for _, k := range m.Clean {
		delete(j.dirty, k)
	}
	m.Dirty, m.Clean = nil, nil
	j.last = m
}

// end is the offset after the last byte, base that of the oldest one.
func (j *journal) end() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last.B
}

func (j *journal) base() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segs[0].base
}

func (j *journal) mark() mark {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// waiting are the keys that wait for a refresh.
func (j *journal) waiting() []keyID {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []keyID
	for k := range j.dirty {
		out = append(out, k)
	}
	return out
}

// held wants mu held.
func (j *journal) held() int64 { return j.last.B - j.segs[0].base }

func (j *journal) bytes() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.held()
}

// read reads what there is at an offset, and returns a channel that is closed when
// there is more, where there is nothing.
func (j *journal) read(p []byte, off int64) (int, <-chan struct{}, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if off < j.segs[0].base || off > j.last.B {
		return 0, nil, fmt.Errorf("the journal holds %d to %d, not %d", j.segs[0].base, j.last.B, off)
	}
	for _, s := range j.segs {
		if off < s.end() {
			n, err := s.data.ReadAt(p[:min(int64(len(p)), s.end()-off)], off-s.base)
			if err != nil {
				return n, nil, fmt.Errorf("cannot read the journal: %w", err)
			}
			return n, nil, nil
		}
	}
	return 0, j.grew, nil
}

// trim lets go of the segments that lie wholly before an offset.
func (j *journal) trim(upTo int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.segs) > 1 && j.segs[0].end() <= upTo {
		s := j.segs[0]
		if err := errors.Join(s.close(), removeSegment(j.dir, s.base)); err != nil {
			return err
		}
		j.segs = j.segs[1:]
	}
	return nil
}

func (s *segment) close() error { return errors.Join(s.data.Close(), s.idx.Close()) }

// close keeps the files.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	for _, s := range j.segs {
		err = errors.Join(err, s.close())
	}
	j.segs = nil
	return err
}

// openJournal opens what a process left that ended or was killed. What it had not
// written to the end is cut off. An error means that it is of no use.
func openJournal(dir string, segmentSize, limit int64) (_ *journal, err error) {
	bases, err := segmentsOf(dir)
	if err != nil {
		return nil, err
	}
	if len(bases) == 0 {
		return nil, errors.New("there is no journal")
	}
	j := &journal{dir: dir, segmentSize: segmentSize, limit: limit, dirty: map[keyID]bool{}, grew: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.close())
		}
	}()
	for i, base := range bases {
		if err := j.reopen(base, i == len(bases)-1); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// reopen adds a segment, and checks the bytes of the last.
func (j *journal) reopen(base int64, check bool) error {
	s := &segment{base: base}
	var err error
	if s.data, err = os.OpenFile(segmentPath(j.dir, base, dataSuffix), os.O_RDWR, 0); err != nil {
		return fmt.Errorf("cannot open the journal: %w", err)
	}
	if s.idx, err = os.OpenFile(segmentPath(j.dir, base, indexSuffix), os.O_RDWR, 0); err != nil {
		return errors.Join(fmt.Errorf("cannot open the journal: %w", err), s.data.Close())
	}
	if len(j.segs) > 0 && j.last.B != base {
		return errors.Join(fmt.Errorf("the journal has a gap from %d to %d", j.last.B, base), s.close())
	}
	j.segs = append(j.segs, s)
	clear(j.dirty) // the first mark of a segment tells all
	good, err := j.replay(s, check)
	if err != nil {
		return err
	}
	if _, err := s.idx.Seek(good, io.SeekStart); err != nil {
		return fmt.Errorf("cannot open the journal: %w", err)
	}
	return errors.Join(s.idx.Truncate(good), s.data.Truncate(s.size))
}

// replay reads the marks as far as they are whole and what they say is there, and
// returns how many bytes of the index that is.
func (j *journal) replay(s *segment, check bool) (good int64, err error) {
	info, err := s.data.Stat()
	if err != nil {
		return 0, fmt.Errorf("cannot open the journal: %w", err)
	}
	data := bufio.NewReaderSize(io.NewSectionReader(s.data, 0, info.Size()), 1<<20)
	lines := bufio.NewReader(s.idx)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // torn, or the end
		}
		var m mark
		if json.Unmarshal(bytes.TrimSpace(line), &m) != nil || m.B < s.end() || m.B-s.base > info.Size() {
			break
		}
		if check && !sumIs(data, m.B-s.end(), m.Sum) {
			break
		}
		j.apply(m)
		s.size = m.B - s.base
		good += int64(len(line))
	}
	if good == 0 {
		return 0, errors.New("the journal has no whole mark")
	}
	return good, nil
}

// sumIs tells whether the next n bytes have a checksum.
func sumIs(r io.Reader, n int64, want uint32) bool {
	h := crc32.NewIEEE()
	got, err := io.CopyN(h, r, n)
	return err == nil && got == n && h.Sum32() == want
}
