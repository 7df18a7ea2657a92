package memcached

import (
	"errors"
	"syscall"
)

// isNotEmpty tells whether a directory was not removed because something is in it.
func isNotEmpty(err error) bool {
	return errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST)
}
