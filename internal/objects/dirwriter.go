package objects

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

func (d *dir) Create(ctx context.Context, key string, opts PutOptions) (Writer, error) {
	path, err := d.path(key)
	if err != nil {
		return nil, err
	}
	if opts.IfAbsent {
		if _, err := d.Stat(ctx, key); err == nil {
			return nil, fmt.Errorf("cannot create object %s: %w", key, ErrExist)
		} else if !errors.Is(err, ErrNotExist) {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.newPartial()
	if err != nil {
		return nil, dirError("create", key, err)
	}
	return &dirWriter{dir: d, f: f, key: key, path: path, opts: opts, err: ctx.Err, sum: sha256.New()}, nil
}

// newPartial makes a locked temporary file. The lock tells a sweeper, of this
// process or another, that its writer lives.
func (d *dir) newPartial() (*os.File, error) {
	tmp := filepath.Join(d.root, partialDir)
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return nil, err
	}
	d.sweep.Do(func() { sweepPartials(tmp, isYoung) })
	f, err := os.CreateTemp(tmp, "object-*")
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// sweepPartials removes the temporary files of writers that are gone. What it
// cannot remove stays for the next time: it is in nobody's way. A file that a
// writer has made and not locked yet is spared by its age.
func sweepPartials(tmp string, spared func(fs.FileInfo) bool) {
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return
	}
	for _, e := range entries {
		st, err := e.Info()
		if err == nil && st.Mode().IsRegular() && !spared(st) {
			removeUnlocked(filepath.Join(tmp, e.Name()))
		}
	}
}

func anyAge(fs.FileInfo) bool { return false }

func isYoung(st fs.FileInfo) bool { return time.Since(st.ModTime()) < time.Minute }

type dirWriter struct {
	dir       *dir
	f         *os.File
	key, path string
	opts      PutOptions
	err       func() error // of Create's context
	sum       hash.Hash
	size      int64
	failed    error
	done      bool
}

func (w *dirWriter) Write(p []byte) (int, error) {
	if w.done {
		return 0, fmt.Errorf("cannot write object %s: %w", w.key, os.ErrClosed)
	}
	if w.failed == nil {
		w.failed = w.err()
	}
	if w.failed != nil {
		return 0, w.failed
	}
	n, err := w.f.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	if err != nil {
		w.failed = dirError("write", w.key, err)
	}
	return n, w.failed
}

func (w *dirWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	err := errors.Join(os.Remove(w.f.Name()), w.f.Close())
	if err != nil {
		return fmt.Errorf("cannot abort object %s: %w", w.key, err)
	}
	return nil
}

func (w *dirWriter) Commit(ctx context.Context) (Info, error) {
	if w.done {
		return Info{}, fmt.Errorf("cannot commit object %s: %w", w.key, os.ErrClosed)
	}
	err := cmp.Or(w.failed, w.err(), ctx.Err())
	var st fs.FileInfo
	if err == nil {
		st, err = w.f.Stat()
	}
	if err == nil {
		err = w.publish()
	}
	if err != nil {
		return Info{}, joinAbort(err, w)
	}
	w.done = true
	// The bytes are synced and named: a failing close could not undo that, and
	// reporting it would call a stored object missing.
	_ = w.f.Close()
	info := fileInfo(w.key, st)
	info.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	return info, nil
}

// publish syncs the bytes, gives them their name, and syncs the directories that
// hold the name.
func (w *dirWriter) publish() error {
	if err := w.f.Sync(); err != nil {
		return dirError("commit", w.key, err)
	}
	// A Delete may remove the empty parent between MkdirAll and the rename.
	for try := 0; ; try++ {
		err := os.MkdirAll(filepath.Dir(w.path), 0o700)
		if err == nil {
			err = w.name()
		}
		if err == nil {
			break
		}
		if errors.Is(err, fs.ErrNotExist) && try < 10 {
			continue
		}
		return dirError("commit", w.key, err)
	}
	if err := syncDirs(w.dir.root, filepath.Dir(w.path)); err != nil {
		return dirError("commit", w.key, errors.Join(err, os.Remove(w.path)))
	}
	return nil
}

func (w *dirWriter) name() error {
	if !w.opts.IfAbsent {
		return os.Rename(w.f.Name(), w.path)
	}
	return renameNew(w.f.Name(), w.path)
}

// linkNew names old as path unless path is taken: link fails where rename would replace.
func linkNew(old, path string) error {
	if err := os.Link(old, path); err != nil {
		return err
	}
	// The object is there: what stays of the old name is swept later.
	_ = os.Remove(old)
	return nil
}

// syncDirs syncs dir and its parents up to root.
func syncDirs(root, dir string) error {
	for {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		if dir == root {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}
