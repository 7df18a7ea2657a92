package proc

import (
	"errors"
	"fmt"
	"syscall"
)

// Signal sends one process, and nothing of its group, a signal that means something to
// it. A process that has ended is left in peace.
func (s *Supervisor) Signal(ref Ref, sig syscall.Signal) (err error) {
	h, err := open(ref)
	if err != nil {
		return fmt.Errorf("cannot signal %s: %w", ref, err)
	}
	if h == nil {
		return nil
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.signal(sig); err != nil {
		return fmt.Errorf("cannot signal %s: %w", ref, err)
	}
	return nil
}
