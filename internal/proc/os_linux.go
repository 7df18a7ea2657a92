//go:build linux && !procps

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bootID changes with every start of the kernel.
var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("cannot read the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
})

// readStat reads /proc/<pid>/stat; os.ErrNotExist if there is no such process.
func readStat(pid int) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, syscall.ESRCH) { // it went while being read
		err = os.ErrNotExist
	}
	if err != nil {
		return stat{}, fmt.Errorf("cannot read the state of pid %d: %w", pid, err)
	}
	st, err := parseStat(b)
	if err != nil {
		return stat{}, fmt.Errorf("cannot read the state of pid %d: %w", pid, err)
	}
	return st, nil
}

// parseStat reads fields 3 (state), 5 (group), 6 (session), 20 (threads) and 22 (start). Field
// 2 is the program's name in parentheses and may itself contain any of them.
func parseStat(b []byte) (stat, error) {
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 20 {
		return stat{}, errors.New("unknown form of /proc/<pid>/stat")
	}
	group, err1 := strconv.Atoi(f[2])
	session, err2 := strconv.Atoi(f[3])
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	threads, err4 := strconv.Atoi(f[17])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return stat{}, err
	}
	return stat{state: State(f[0][0]), group: group, session: session, start: start, threads: threads}, nil
}

// pids lists the processes there are.
func pids() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var out []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			out = append(out, pid)
		}
	}
	return out, nil
}

// holders lists the processes other than this one that have the file as their
// descriptor lockFD. Processes that cannot be looked into are passed over.
func holders(_ string, file os.FileInfo) ([]int, error) {
	all, err := pids()
	if err != nil {
		return nil, err
	}
	var out []int
	for _, pid := range all {
		if pid == os.Getpid() {
			continue
		}
		fi, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, lockFD))
		if err == nil && os.SameFile(fi, file) {
			out = append(out, pid)
		}
	}
	return out, nil
}

// members lists the live processes of a session and group.
func members(leader int) ([]int, error) {
	all, err := pids()
	if err != nil {
		return nil, err
	}
	var out []int
	for _, pid := range all {
		st, err := readStat(pid)
		if err == nil && st.group == leader && st.session == leader && !st.dead() {
			out = append(out, pid)
		}
	}
	return out, nil
}

// pidfdHandle holds on to one process: its pid cannot come to mean another one.
type pidfdHandle struct{ f *os.File }

// openHandle opens a process; os.ErrNotExist if there is none with this pid.
func openHandle(pid int) (handle, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL): // before Linux 5.10
		return openPolling(pid)
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("cannot open pid %d: %w", pid, os.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("cannot open pid %d: %w", pid, err)
	}
	return &pidfdHandle{os.NewFile(uintptr(fd), "pidfd:"+strconv.Itoa(pid))}, nil
}

// wait uses the runtime's poller: no thread waits per process.
func (h *pidfdHandle) wait(limit <-chan struct{}) (bool, error) {
	conn, err := h.f.SyscallConn()
	if err != nil {
		return false, err
	}
	if err := h.f.SetReadDeadline(time.Time{}); err != nil {
		return false, err
	}
	over := make(chan struct{})
	stopped := make(chan error, 1)
	go func() {
		var err error
		select {
		case <-limit:
			err = h.f.SetReadDeadline(time.Unix(1, 0))
		case <-over:
		}
		stopped <- err
	}()
	gone := false
	err = conn.Read(func(fd uintptr) bool {
		gone = readable(int(fd))
		return gone
	})
	close(over)
	if stopErr := <-stopped; stopErr != nil && !errors.Is(stopErr, os.ErrClosed) {
		err = errors.Join(err, stopErr)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return gone, err
}

// readable tells whether a pidfd reports its process as ended.
func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n == 1 && p[0].Revents&unix.POLLIN != 0
	}
}

func (h *pidfdHandle) signal(sig syscall.Signal) error {
	conn, err := h.f.SyscallConn()
	if err != nil {
		return err
	}
	var sigErr error
	if err := conn.Control(func(fd uintptr) { sigErr = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sigErr, unix.ESRCH) {
		return nil
	}
	return sigErr
}

func (h *pidfdHandle) close() error { return h.f.Close() }
