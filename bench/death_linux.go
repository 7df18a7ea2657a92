package main

import "syscall"

// dieWithParent has the kernel kill the engine when the bench is killed.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
