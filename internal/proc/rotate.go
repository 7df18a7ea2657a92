package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// rotateEvery is how often the sizes of logs are looked at.
const rotateEvery = time.Second

// rotateLoop rotates the logs of tracked processes until Close.
func (s *Supervisor) rotateLoop() {
	t := time.NewTicker(rotateEvery)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		for _, path := range s.logs() {
			if err := rotate(path, s.opts.LogBytes, s.opts.LogKeep); err != nil {
				s.opts.Logger.Error("cannot rotate a log", "error", err)
			}
		}
	}
}

func (s *Supervisor) logs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, p := range s.procs {
		if p.ref.Log != "" && !p.over() {
			out = append(out, p.ref.Log)
		}
	}
	return out
}

// rotate moves the content of the log to <path>.1 once it has limit bytes, what
// was there to <path>.2, and so on, and drops what would come after keep. The
// writer keeps its open file, so the content is copied and then cut off:
//
// On Linux with ext4 or XFS the front of the file is removed in whole blocks and
// what was appended meanwhile stays: no byte is lost. A line may go across
// <path>.1 and the log. Elsewhere the file is cut to nothing, and bytes written
// within the few microseconds between the last look and the cut are lost.
//
// A kill in between leaves bytes in both files, never in none.
func rotate(path string, limit int64, keep int) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot rotate %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil || fi.Size() < limit {
		return err
	}
	draft := path + ".draft"
	if err := moveFront(f, fi.Size(), draft, func() error { return shift(path, draft, keep) }); err != nil {
		return fmt.Errorf("cannot rotate %s: %w", path, err)
	}
	return nil
}

// moveFront copies about the first size bytes of f to the file draft, calls
// publish, and removes them from f.
func moveFront(f *os.File, size int64, draft string, publish func() error) (err error) {
	to, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	whole := wholeBlocks(f, size)
	n := whole
	if n == 0 {
		n = size
	}
	if n, err = io.Copy(to, io.NewSectionReader(f, 0, n)); err != nil {
		return err
	}
	if err := publish(); err != nil {
		return err
	}
	if whole > 0 && collapse(f, whole) == nil {
		return nil
	}
	// It cannot drop its front after all. What has come meanwhile goes along; then
	// cut with as little delay as can be.
	for {
		m, err := io.Copy(to, io.NewSectionReader(f, n, 1<<40))
		if err != nil {
			return err
		}
		if n += m; m == 0 {
			return f.Truncate(0)
		}
	}
}

// shift makes draft the newest of the rotated files.
func shift(path, draft string, keep int) error {
	name := func(i int) string { return fmt.Sprintf("%s.%d", path, i) }
	for i := keep - 1; i >= 1; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Rename(draft, name(1))
}
