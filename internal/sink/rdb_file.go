package sink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// file is a Target under a path.
type file struct {
	path string
	f    *os.File
	done bool
	// written bytes, of which the kernel was told to begin to store so many; flushed are durable.
	written, begun, flushed int64
}

// File begins a file that appears at path when it is committed, in place of what
// may be there. Until then it has a name of its own beside it. What a killed
// process left under such a name is removed.
func File(path string) (Target, error) {
	f, err := newPart(path)
	if err != nil {
		return nil, fmt.Errorf("cannot create %s: %w", path, err)
	}
	return &file{path: path, f: f}, nil
}

// Reread opens the file under the name that it has until it is committed.
func (t *file) Reread() (*os.File, error) {
	f, err := os.Open(t.f.Name())
	if err != nil {
		return nil, fmt.Errorf("cannot read %s back: %w", t.path, err)
	}
	return f, nil
}

// storeEvery is after how many bytes the kernel is told to store what it has. Left
// alone it begins at the end, when there is nothing else to do but to wait for it.
const storeEvery = 8 << 20

func (t *file) Write(p []byte) (int, error) {
	n, err := t.f.Write(p)
	if t.written += int64(n); t.written-t.begun >= storeEvery {
		beginToStore(t.f, t.begun, t.written-t.begun)
		t.begun = t.written
	}
	return n, err
}

// Flush makes what was written durable.
func (t *file) Flush() error {
	if t.flushed == t.written && t.written > 0 {
		return nil
	}
	if err := t.f.Sync(); err != nil {
		return fmt.Errorf("cannot make %s durable: %w", t.path, err)
	}
	t.flushed = t.written
	return nil
}

func (t *file) Commit(ctx context.Context) (err error) {
	if t.done {
		return nil
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := t.f.Chmod(0o600); err != nil {
		return fmt.Errorf("cannot close %s to others: %w", t.path, err)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	// While it is open its lock keeps others from taking it for left over.
	if err := os.Rename(t.f.Name(), t.path); err != nil {
		return fmt.Errorf("cannot name %s: %w", t.path, err)
	}
	t.done = true
	if err := t.f.Close(); err != nil {
		return fmt.Errorf("cannot close %s: %w", t.path, err)
	}
	return syncDir(filepath.Dir(t.path))
}

// syncDir makes a new name in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot make the name durable: %w", err)
	}
	if err := d.Sync(); err != nil {
		return errors.Join(fmt.Errorf("cannot make the name durable: %w", err), d.Close())
	}
	return d.Close()
}

func (t *file) Abort() error {
	if t.done {
		return nil
	}
	t.done = true
	cerr := t.f.Close()
	if errors.Is(cerr, os.ErrClosed) {
		cerr = nil
	}
	return errors.Join(cerr, os.Remove(t.f.Name()))
}
