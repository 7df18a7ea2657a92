package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The library makes a bucket in steps: the directory, its access control list, who
// owns its objects. A kill in between leaves a directory that is taken for a bucket,
// of which nobody can be told whose it is or what its list says. So a mark stands beside
// the directory until it is whole, and what still has one at a start was never
// acknowledged and goes.

// unborn begins the name of the mark; no bucket's name begins with a dot.
const unborn = ".unborn-"

// expect sets the mark of a bucket of the region in the working directory.
func expect(bucket string) error {
	f, err := os.OpenFile(unborn+bucket, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot mark a new bucket: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("cannot mark a new bucket: %w", err)
	}
	return syncFile(".")
}

// born makes a bucket last before it takes its mark away.
func born(bucket string) error {
	if err := errors.Join(syncFile(bucket), syncFile(".")); err != nil {
		return err
	}
	if err := os.Remove(unborn + bucket); err != nil {
		return fmt.Errorf("cannot unmark a new bucket: %w", err)
	}
	return nil
}

// sweepUnborn removes the buckets of a region that were never whole. One that holds
// anything stays, whatever its mark says.
func sweepUnborn(root, region string) error {
	marks, err := filepath.Glob(filepath.Join(root, region, unborn+"*"))
	if err != nil {
		return fmt.Errorf("cannot look for unfinished buckets: %w", err)
	}
	for _, mark := range marks {
		bucket := strings.TrimPrefix(filepath.Base(mark), unborn)
		err := os.Remove(filepath.Join(root, region, bucket))
		if err == nil {
			err = os.RemoveAll(filepath.Join(root, metaDir, region, bucket))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot remove the unfinished bucket %s: %w", bucket, err)
		}
		if err := os.Remove(mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove the mark of the bucket %s: %w", bucket, err)
		}
	}
	return nil
}
