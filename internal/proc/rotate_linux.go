package proc

import (
	"os"

	"golang.org/x/sys/unix"
)

// wholeBlocks returns how many of the first size bytes can be removed from the
// front of the file, 0 if its file system cannot do that. At least a byte stays,
// as the kernel demands.
func wholeBlocks(f *os.File, size int64) int64 {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || st.Bsize <= 0 {
		return 0
	}
	if st.Type != unix.EXT4_SUPER_MAGIC && st.Type != unix.XFS_SUPER_MAGIC {
		return 0
	}
	block := int64(st.Bsize) //nolint:unconvert // it has 32 bits on some architectures
	return (size - 1) / block * block
}

// collapse removes the first n bytes while others may append.
func collapse(f *os.File, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, n)
}
