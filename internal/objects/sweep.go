package objects

import (
	"os"
	"path/filepath"
	"syscall"
)

// Sweep removes what writers that were killed have left in the store of a
// directory, however young it is. It is for whoever has the store to himself: a
// file that another process is just making, and has not locked yet, would go too.
// What cannot be removed stays, and is in nobody's way.
func Sweep(root string) { sweepPartials(filepath.Join(root, partialDir), anyAge) }

// removeUnlocked removes a file unless a writer that lives holds its lock.
func removeUnlocked(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		_ = os.Remove(path)
	}
	_ = f.Close()
}
