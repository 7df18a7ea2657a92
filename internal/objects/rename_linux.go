package objects

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames old to path and fails with ErrExist when path is taken. File
// systems without the flag still have hard links.
func renameNew(old, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return linkNew(old, path)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: old, New: path, Err: err}
	}
	return nil
}
