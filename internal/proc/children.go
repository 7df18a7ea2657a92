package proc

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
)

// SignalChildren sends a signal to every descendant of a process that is still in
// its group, and not to the process itself. It returns how many there were; none
// is no error, and neither is a process that has ended.
func (s *Supervisor) SignalChildren(ref Ref, sig syscall.Signal) (n int, err error) {
	h, err := open(ref)
	if h == nil {
		return 0, err
	}
	// While the leader lives the number of its group is not given to another.
	defer func() { err = errors.Join(err, h.close()) }()
	all, err := members(ref.PID)
	if err != nil {
		return 0, fmt.Errorf("cannot list the children of %s: %w", ref, err)
	}
	for _, pid := range all {
		if pid == ref.PID {
			continue
		}
		if err := signalMember(ref.PID, pid, sig); err != nil {
			return n, fmt.Errorf("cannot signal a child of %s: %w", ref, err)
		}
		n++
	}
	return n, nil
}

// signalMember signals one process, after having made sure, with a hold on it,
// that it is still of the group.
func signalMember(group, pid int, sig syscall.Signal) (err error) {
	h, err := openHandle(pid)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	left, err := members(group)
	if err != nil || !slices.Contains(left, pid) {
		return err
	}
	return h.signal(sig)
}
