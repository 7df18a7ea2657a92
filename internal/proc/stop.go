package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// killWait is how long processes may take to go after SIGKILL.
const killWait = 30 * time.Second

// Stop ends the process and all its descendants: SIGTERM to its group, SIGKILL to
// what is left after grace. It returns nil when all are gone, also if they were
// before. Who has got the same pid since is left alone, and so is a later process
// of the same identity.
func (s *Supervisor) Stop(ctx context.Context, ref Ref, grace time.Duration) error {
	if err := checkID(ref.ID); err != nil {
		return fmt.Errorf("cannot stop a process: %w", err)
	}
	defer s.lock(ref.ID)()
	if err := s.end(ctx, ref, grace); err != nil {
		return fmt.Errorf("cannot stop %s: %w", ref, err)
	}
	return nil
}

// Kill is Stop without grace. It signals at once, even while a Stop of the same
// process waits for its grace to pass.
func (s *Supervisor) Kill(ctx context.Context, ref Ref) error {
	if err := checkID(ref.ID); err != nil {
		return fmt.Errorf("cannot kill a process: %w", err)
	}
	if err := signalGroup(ref, syscall.SIGKILL); err != nil {
		return fmt.Errorf("cannot kill %s: %w", ref, err)
	}
	defer s.lock(ref.ID)()
	if err := s.end(ctx, ref, 0); err != nil {
		return fmt.Errorf("cannot kill %s: %w", ref, err)
	}
	return nil
}

// signalGroup signals the group that ref leads, if ref is running.
func signalGroup(ref Ref, sigs ...syscall.Signal) error {
	h, err := open(ref)
	if h == nil {
		return err
	}
	for _, sig := range sigs {
		// While its leader runs the number of a group is not given to another.
		err = errors.Join(err, ignoreGone(syscall.Kill(-ref.PID, sig)))
	}
	return errors.Join(err, h.close())
}

// end is Stop under the identity's lock.
func (s *Supervisor) end(ctx context.Context, ref Ref, grace time.Duration) error {
	run, err := openRun(s.runPath(ref.ID), true)
	if err != nil {
		return err
	}
	defer run.f.Close()
	if other, err := successor(run, ref); other || err != nil {
		return err
	}
	deadline := time.Now().Add(grace)
	group, err := s.terminate(ctx, ref, grace)
	if err != nil {
		return err
	}
	free, err := s.drain(ctx, run, group, deadline)
	if err != nil {
		return err
	}
	if !free {
		if err := s.sweep(ctx, run, group); err != nil {
			return err
		}
	}
	if err := s.reaped(ctx, ref); err != nil {
		return err
	}
	return run.remove()
}

// successor tells whether another process runs under the identity by now. Then
// nothing is left of the one that ref names: it would have been swept away before.
func successor(run *runFile, ref Ref) (bool, error) {
	free, err := run.tryLock()
	if free || err != nil {
		return false, err
	}
	leader, _, err := run.leader(ref.ID)
	return !leader.IsZero() && !leader.same(ref), err
}

// terminate asks the group to end and gives the leader its grace. It returns the
// group's number if that was certainly ours, else 0.
func (s *Supervisor) terminate(ctx context.Context, ref Ref, grace time.Duration) (group int, err error) {
	h, err := open(ref)
	if h == nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if grace <= 0 {
		return ref.PID, ignoreGone(syscall.Kill(-ref.PID, syscall.SIGKILL))
	}
	// A stopped process would not see SIGTERM without SIGCONT.
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := ignoreGone(syscall.Kill(-ref.PID, sig)); err != nil {
			return ref.PID, err
		}
	}
	limited, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	gone, err := h.wait(limited.Done())
	if err != nil {
		return ref.PID, err
	}
	if gone {
		return ref.PID, nil
	}
	if err := ctx.Err(); err != nil {
		return ref.PID, err
	}
	return ref.PID, ignoreGone(syscall.Kill(-ref.PID, syscall.SIGKILL))
}

// drain waits until deadline for what is left to go by itself.
func (s *Supervisor) drain(ctx context.Context, run *runFile, group int, deadline time.Time) (bool, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		left, free, err := remaining(run, group)
		if err != nil || (free && len(left) == 0) {
			return err == nil, err
		}
		if !time.Now().Before(deadline) {
			return false, nil
		}
		if err := pause(ctx, wait); err != nil {
			return false, err
		}
	}
}

// remaining lists the processes that hold the lock and those of the group, unless
// that is 0. free: we have got the lock, so no holder is left.
func remaining(run *runFile, group int) (left []int, free bool, err error) {
	if free, err = run.tryLock(); err != nil {
		return nil, false, err
	}
	if !free {
		if left, err = run.holders(); err != nil {
			return nil, false, err
		}
	}
	if group == 0 {
		return left, free, nil
	}
	more, err := members(group)
	if err != nil {
		return nil, false, err
	}
	for _, pid := range more {
		if !slices.Contains(left, pid) {
			left = append(left, pid)
		}
	}
	return left, free, nil
}

// sweep kills what holds the lock, or is in the group, until nothing does, and
// leaves with the lock. Children that are forked meanwhile inherit the lock and
// are found the next time round.
func (s *Supervisor) sweep(ctx context.Context, run *runFile, group int) error {
	give := time.Now().Add(killWait)
	settled := time.Now().Add(settle)
	unseen := 0
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		ending := run.ending() // first: then what ends in between is no mystery
		left, free, err := remaining(run, group)
		if err != nil {
			return err
		}
		if free && len(left) == 0 {
			return nil
		}
		if unseen++; len(left) > 0 {
			unseen = 0
		}
		if unseen > leastLooks && time.Now().After(settled) && !ending {
			return fmt.Errorf("%w: %s is locked", ErrUnknownHolder, run.path)
		}
		for _, pid := range left {
			if err := killRemaining(run, group, pid); err != nil {
				return err
			}
		}
		if time.Now().After(give) {
			return fmt.Errorf("%w: pids %v after %v", ErrSurvives, left, killWait)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// killRemaining kills one process, after having made sure, with a hold on it,
// that it is still one of those meant.
func killRemaining(run *runFile, group, pid int) (err error) {
	h, err := openHandle(pid)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	left, _, err := remaining(run, group)
	if err != nil || !slices.Contains(left, pid) {
		return err
	}
	return h.signal(syscall.SIGKILL)
}

// reaped waits until the watcher of the process, if it has one, has noticed.
func (s *Supervisor) reaped(ctx context.Context, ref Ref) error {
	select {
	case <-s.Done(ref):
		return nil
	case <-s.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
