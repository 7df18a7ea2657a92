//go:build !linux

package objects

// renameNew renames old to path and fails with ErrExist when path is taken.
func renameNew(old, path string) error { return linkNew(old, path) }
