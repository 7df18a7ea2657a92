package gateway

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// birth is when a directory was made. Its modification time, which stands in on
// file systems that keep no such date, moves with every object at its top.
func birth(dir string) (time.Time, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_BTIME|unix.STATX_MTIME, &st)
	switch {
	case err != nil:
		return time.Time{}, &os.PathError{Op: "statx", Path: dir, Err: err}
	case st.Mask&unix.STATX_BTIME != 0:
		return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)), nil
	}
	return time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)), nil
}
