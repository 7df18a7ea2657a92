package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// sweepIncoming removes what imports have left that died before they were registered:
// directories that nobody has locked and no record speaks of.
func (in *installation) sweepIncoming(ctx context.Context) error {
	wanted := map[string]bool{}
	err := in.db.View(ctx, func(tx *store.Tx) error {
		all, err := records.Snapshots.List(tx, "")
		for i := range all {
			if s := &all[i]; s.Import != nil {
				wanted[filepath.Join(in.dir.incoming(), s.Region, s.Import.Staged)] = true
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	dirs, err := filepath.Glob(filepath.Join(in.dir.incoming(), "*", "*"))
	if err != nil {
		return fmt.Errorf("cannot look for what imports have left: %w", err)
	}
	for _, dir := range dirs {
		if wanted[dir] || isStaging(dir) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("cannot remove what an import has left: %w", err)
		}
	}
	return nil
}

// isStaging tells whether somebody fills a directory. While its lock is looked at it
// cannot be registered either: registering needs the records, which are ours now.
func isStaging(dir string) bool {
	f, err := os.Open(filepath.Join(dir, stagedLock))
	if errors.Is(err, fs.ErrNotExist) {
		st, err := os.Stat(dir)
		return err == nil && isYoung(st) // it has been made and not locked yet
	}
	if err != nil {
		return true
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// isYoung spares a directory between its making and its lock.
func isYoung(st fs.FileInfo) bool { return time.Since(st.ModTime()) < time.Minute }
