package memcached

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"holdfast.dev/internal/cache"
)

// tmpfsMagic tells a file system in memory.
const tmpfsMagic = 0x01021994

// leastKept is the least memory in megabytes with which memcached takes a memory file: it
// sets a page of one megabyte aside for each of its slab classes, of which there are 63 at most.
const leastKept = 64

// CanKeep tells whether there is a file system in memory with room for the node's items,
// with a tenth of it to spare, if those of all others were full: their files are only as
// large as they are filled, and a write for which there is no room any more would end memcached.
func (n *Nodes) CanKeep(s cache.MemcachedSpec) bool {
	at, err := n.node(s)
	if err != nil || at.memory == "" || itemMegabytes(s.Parameters) < leastKept {
		return false
	}
	if err := os.MkdirAll(n.cfg.MemoryDir, 0o700); err != nil {
		return false
	}
	var st unix.Statfs_t
	if err := unix.Statfs(n.cfg.MemoryDir, &st); err != nil || st.Type != tmpfsMagic {
		return false
	}
	free, whole := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	promised, err := unfilled(n.cfg.MemoryDir, filepath.Join(at.memory, itemsFile))
	if err != nil {
		return false
	}
	return free-promised-whole/10 >= int64(itemMegabytes(s.Parameters))<<20
}

// unfilled is how much more all files below a directory may come to hold than they do; one
// of them, which is to be written anew, gives back what it holds.
func unfilled(dir, own string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		held := st.Blocks * 512
		if path == own {
			sum -= held
			return nil
		}
		sum += max(0, st.Size-held)
		return nil
	})
	return sum, err
}
