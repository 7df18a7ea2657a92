//go:build !linux

package memcached

import "holdfast.dev/internal/cache"

// CanKeep tells whether the node's items can be kept: there is no file system in memory.
func (*Nodes) CanKeep(cache.MemcachedSpec) bool { return false }
