//go:build !linux

package gateway

import "syscall"

// tieToParent keeps the terminal's signals from the child. That it ends with its
// parent rests on the end of its standard input alone here.
func tieToParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
