package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// partialDir holds objects that are being written, inside the store's root so that
// a rename never crosses file systems. It is no possible key prefix: Dir refuses it.
const partialDir = ".partial"

// dir is a Store over a directory tree: key "a/b" is the file root/a/b.
type dir struct {
	root  string
	sweep sync.Once // removes what killed writers left, before the first write
}

// Dir returns the store of the directory root, which is made when it is missing.
// Keys map to paths, so "a" and "a/b" cannot both be there (ErrBadKey).
func Dir(root string) (Store, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("cannot open object directory %s: %w", root, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open object directory: %w", err)
	}
	return &dir{root: abs}, nil
}

func (d *dir) path(key string) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	if first, _, _ := strings.Cut(key, "/"); first == partialDir {
		return "", fmt.Errorf("key %q: %w", key, ErrBadKey)
	}
	return filepath.Join(d.root, filepath.FromSlash(key)), nil
}

func (d *dir) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, Info{}, err
	}
	path, err := d.path(key)
	if err != nil {
		return nil, Info{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, Info{}, dirError("open", key, err)
	}
	info, err := openInfo(f, key, offset)
	if err != nil {
		return nil, Info{}, errors.Join(err, f.Close())
	}
	// A committed file is never written again, only replaced by name, so the open
	// file is one version to its end.
	return &dirReader{f: f, key: key, left: info.Size - offset, err: ctx.Err}, info, nil
}

func openInfo(f *os.File, key string, offset int64) (Info, error) {
	st, err := f.Stat()
	if err != nil {
		return Info{}, dirError("open", key, err)
	}
	if st.IsDir() {
		return Info{}, fmt.Errorf("cannot open object %s: %w", key, ErrNotExist)
	}
	if offset < 0 || offset > st.Size() {
		return Info{}, fmt.Errorf("cannot open object %s at %d: it has %d bytes", key, offset, st.Size())
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return Info{}, dirError("open", key, err)
	}
	return fileInfo(key, st), nil
}

// dirReader fails when the file is cut short under it instead of ending early.
type dirReader struct {
	f    *os.File
	key  string
	left int64
	err  func() error
}

func (r *dirReader) Read(p []byte) (int, error) {
	if err := r.err(); err != nil {
		return 0, err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.f.Read(p)
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && r.left > 0 {
		return n, fmt.Errorf("cannot read object %s: it was cut short: %w", r.key, io.ErrUnexpectedEOF)
	}
	return n, err
}

func (r *dirReader) Close() error { return r.f.Close() }

func (d *dir) Stat(ctx context.Context, key string) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	path, err := d.path(key)
	if err != nil {
		return Info{}, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return Info{}, dirError("stat", key, err)
	}
	if st.IsDir() {
		return Info{}, fmt.Errorf("cannot stat object %s: %w", key, ErrNotExist)
	}
	return fileInfo(key, st), nil
}

func (d *dir) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		infos, err := d.walk(ctx, prefix)
		if err != nil {
			yield(Info{}, fmt.Errorf("cannot list objects: %w", err))
			return
		}
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// walk collects first and sorts by whole key: the order of a directory walk differs
// from the order of keys around "/".
func (d *dir) walk(ctx context.Context, prefix string) ([]Info, error) {
	var infos []Info
	err := filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != d.root:
			return nil // removed meanwhile
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir() && path == filepath.Join(d.root, partialDir):
			return fs.SkipDir
		case !e.Type().IsRegular():
			return nil
		}
		rel, err := filepath.Rel(d.root, path)
		if err != nil {
			return err
		}
		key := filepath.ToSlash(rel)
		if !strings.HasPrefix(key, prefix) {
			return nil
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			infos = append(infos, fileInfo(key, st))
		}
		return err
	})
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return infos, err
}

func (d *dir) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := d.path(key)
	if err != nil {
		return err
	}
	if st, err := os.Lstat(path); err == nil && st.IsDir() {
		return nil // a prefix, not an object
	}
	if err := os.Remove(path); err != nil {
		if err := dirError("delete", key, err); !errors.Is(err, ErrNotExist) {
			return err
		}
		return nil
	}
	// Empty directories are nobody's objects. Removing one that has just been filled
	// again fails, and that is right.
	for parent := filepath.Dir(path); parent != d.root; parent = filepath.Dir(parent) {
		if os.Remove(parent) != nil {
			break
		}
	}
	return nil
}

func fileInfo(key string, st fs.FileInfo) Info {
	tag := strconv.FormatInt(st.ModTime().UnixNano(), 16) + "-" + strconv.FormatInt(st.Size(), 16)
	return Info{Key: key, Size: st.Size(), ETag: tag, ModTime: st.ModTime()}
}

// dirError names what was tried and maps the system's errors to our sentinels.
func dirError(verb, key string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR) && verb != "create" && verb != "commit":
		err = fmt.Errorf("%w (%w)", ErrNotExist, err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		err = fmt.Errorf("%w: another object stands in its way (%w)", ErrBadKey, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = fmt.Errorf("%w (%w)", ErrNoSpace, err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w (%w)", ErrAccessDenied, err)
	}
	return fmt.Errorf("cannot %s object %s: %w", verb, key, err)
}
