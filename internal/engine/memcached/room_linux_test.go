package memcached

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast.dev/internal/cache"
)

func TestCanKeep(t *testing.T) {
	shm, err := os.MkdirTemp("/dev/shm", "holdfast-test-")
	if err != nil {
		t.Skipf("there is no file system in memory: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(shm) })
	var st unix.Statfs_t
	if err := unix.Statfs(shm, &st); err != nil {
		t.Fatal(err)
	}
	whole := int64(st.Blocks) * st.Bsize
	if st.Type != tmpfsMagic || int64(st.Bavail)*st.Bsize < whole/10+96<<20 {
		t.Skip("there is no room in the file system in memory")
	}
	s := cache.MemcachedSpec{Cluster: "r/c", Node: "0001", Parameters: map[string]string{"max_cache_memory": "64"}}
	can := func(dir string, s cache.MemcachedSpec) bool {
		return New(Config{DataDir: t.TempDir(), MemoryDir: dir}).CanKeep(s)
	}
	if !can(filepath.Join(shm, "new"), s) {
		t.Error("64 MB cannot be kept where there are 96")
	}
	small := s
	small.Parameters = map[string]string{"max_cache_memory": "63"}
	if can(shm, small) {
		t.Error("63 MB can be kept, for which there may be more slab classes than pages")
	}
	if can("", s) {
		t.Error("they can be kept nowhere")
	}
	if can("/proc/self", s) {
		t.Error("they can be kept where there is no file system in memory")
	}
	huge := s
	huge.Parameters = map[string]string{"max_cache_memory": "1000000000"}
	if can(shm, huge) {
		t.Error("a petabyte can be kept")
	}
	// A file that may grow to take all there is leaves nothing to others, but is no hindrance to itself.
	own := filepath.Join(shm, "r c 0001")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, itemsFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(own, itemsFile), whole); err != nil {
		t.Fatal(err)
	}
	other := s
	other.Node = "0002"
	if can(shm, other) || !can(shm, s) {
		t.Errorf("with a file as large as the file system: %t for another node, %t for its own", can(shm, other), can(shm, s))
	}
}
