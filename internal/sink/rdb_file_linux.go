package sink

import (
	"os"
	"syscall"
)

// syncFileRangeWrite begins to store and waits for nothing.
const syncFileRangeWrite = 2

// beginToStore has the kernel begin to store a part of a file. It is a hint: what
// goes wrong with storing is told by the Sync at the end, and a file system that
// cannot do it stores everything then.
func beginToStore(f *os.File, from, n int64) {
	_ = syscall.SyncFileRange(int(f.Fd()), from, n, syncFileRangeWrite)
}
