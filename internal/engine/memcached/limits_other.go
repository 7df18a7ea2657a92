//go:build !linux

package memcached

import "fmt"

func openFiles() uint64 { return 0 }

func shorten(path string) (short string, done func(), err error) {
	return "", nil, fmt.Errorf("the data directory's path is too long for sockets: %s", path)
}
