//go:build !linux

package proc

import (
	"errors"
	"os"
)

func wholeBlocks(*os.File, int64) int64 { return 0 }

func collapse(*os.File, int64) error { return errors.ErrUnsupported }
