//go:build !linux

package testkit

import "syscall"

// dieWithParent can do nothing here: engines of a killed test binary stay.
func dieWithParent(*syscall.SysProcAttr) {}
