package sink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A file that is being written has a name of its own, .NAME.DIGITS.part beside
// NAME, and its writer holds a lock on it. One without a lock was left by a writer
// that was killed; the next one of the same NAME removes it.

const partSuffix = ".part"

// newPart removes what others left, and begins a file with a lock of ours.
func newPart(path string) (*os.File, error) {
	if err := sweepParts(path); err != nil {
		return nil, err
	}
	for {
		f, err := os.CreateTemp(filepath.Dir(path), partPrefix(path)+"*"+partSuffix)
		if err != nil {
			return nil, err
		}
		// On a file system that knows no locks nobody will remove it either. But
		// between its making and its lock another writer may take it for left over.
		taken := errors.Is(lockFile(f), syscall.EWOULDBLOCK)
		there, err := os.Stat(f.Name())
		mine, serr := f.Stat()
		if !taken && err == nil && serr == nil && os.SameFile(there, mine) {
			return f, nil
		}
		if err := errors.Join(serr, f.Close()); err != nil {
			return nil, err
		}
	}
}

func partPrefix(path string) string { return "." + filepath.Base(path) + "." }

// sweepParts removes files that writers of the same name left behind.
func sweepParts(path string) error {
	dir := filepath.Dir(path)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil //nolint:nilerr // whether something can be written there is told by whoever does
	}
	for _, e := range list {
		if !isPart(e.Name(), path) || !e.Type().IsRegular() {
			continue
		}
		if err := removeUnlocked(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("cannot remove what an earlier run left: %w", err)
		}
	}
	return nil
}

// isPart tells whether a name is one that a writer of path chose.
func isPart(name, path string) bool {
	rest, ours := strings.CutPrefix(name, partPrefix(path))
	digits, part := strings.CutSuffix(rest, partSuffix)
	return ours && part && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// removeUnlocked removes a file, unless somebody writes it, or it is not ours to touch.
func removeUnlocked(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if lockFile(f) != nil {
		return nil
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// lockFile takes the lock, which the kernel keeps until the file is closed or its
// process ends. A file system without locks answers with an error too.
func lockFile(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("cannot lock %s: %w", f.Name(), err)
	}
	return nil
}
