//go:build !linux

package main

import "syscall"

// dieWithParent cannot be had here: killing the bench outright leaves its engines running.
func dieWithParent(*syscall.SysProcAttr) {}
