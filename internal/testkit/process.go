package testkit

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is a child in a process group of its own.
type process struct {
	pid  int
	gone chan struct{} // closed once it was waited for
	err  error         // how it ended; to be read after gone
}

// startProcess starts a program whose output is appended to a log.
func startProcess(dir, log string, env []string, path string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	p := &process{gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		// "The parent" is the thread that started the child, so it must last as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.gone)
		}
	}()
	err = <-started
	return p, errors.Join(err, out.Close())
}

// ended tells whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// state says how an ended process ended.
func (p *process) state() string {
	if p.err == nil {
		return "exit status 0"
	}
	return p.err.Error()
}

// kill ends the whole group: a fork that saves goes with its parent.
func (p *process) kill() error { return p.signal(-p.pid, syscall.SIGKILL) }

func (p *process) terminate() error { return p.signal(p.pid, syscall.SIGTERM) }

func (p *process) signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
