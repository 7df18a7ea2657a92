package proc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// handle is a hold on one process.
type handle interface {
	// wait returns true once the process has ended, false once limit is closed
	// before that (nil: never) and an error when the handle is closed. One wait at
	// a time.
	wait(limit <-chan struct{}) (bool, error)
	// signal sends to this process and to no other; one that has ended is no error.
	signal(syscall.Signal) error
	close() error
}

// open takes hold of the very process that ref names; nil if it is gone.
func open(ref Ref) (handle, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if ref.PID <= 0 || ref.BootID != boot {
		return nil, nil
	}
	h, err := openHandle(ref.PID)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// The start time is compared after opening: if it fits now, then what was
	// opened is the process meant, for a pid is not given twice to one process.
	st, err := readStat(ref.PID)
	if err == nil && st.start == ref.StartTime && !st.dead() {
		return h, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return nil, errors.Join(err, h.close())
}

// pollEvery is how often a pollingHandle looks.
const pollEvery = 50 * time.Millisecond

// pollingHandle is a handle where the kernel has none: pid and start time.
type pollingHandle struct {
	pid    int
	start  uint64
	once   sync.Once
	closed chan struct{}
}

func openPolling(pid int) (handle, error) {
	st, err := readStat(pid)
	if err != nil {
		return nil, err
	}
	return &pollingHandle{pid: pid, start: st.start, closed: make(chan struct{})}, nil
}

func (h *pollingHandle) gone() (bool, error) {
	st, err := readStat(h.pid)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return err == nil && (st.start != h.start || st.dead()), err
}

func (h *pollingHandle) wait(limit <-chan struct{}) (bool, error) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		if gone, err := h.gone(); gone || err != nil {
			return gone, err
		}
		select {
		case <-t.C:
		case <-limit:
			return false, nil
		case <-h.closed:
			return false, os.ErrClosed
		}
	}
}

func (h *pollingHandle) signal(sig syscall.Signal) error {
	if gone, err := h.gone(); gone || err != nil {
		return err
	}
	if err := syscall.Kill(h.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("cannot signal pid %d: %w", h.pid, err)
	}
	return nil
}

func (h *pollingHandle) close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}
