package gateway

import "syscall"

// tieToParent makes the kernel kill the child when the thread that started it
// dies, and keeps the terminal's signals from it: its parent tells it when to end.
func tieToParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
