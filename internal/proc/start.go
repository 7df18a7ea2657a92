package proc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Start runs a program, or finds that it is running already under spec.ID and
// takes that up; which one it is makes no difference to the caller, who asked for
// the same before and was cut short. Leftovers of an earlier process of the
// identity are killed first. The process is tracked. For the moment of the fork
// the umask of our whole process is 077.
func (s *Supervisor) Start(ctx context.Context, spec Spec) (Ref, error) {
	if err := spec.check(); err != nil {
		return Ref{}, fmt.Errorf("cannot start a process: %w", err)
	}
	defer s.lock(spec.ID)()
	ref, err := s.start(ctx, spec)
	if err != nil {
		return Ref{}, fmt.Errorf("cannot start %s: %w", spec.ID, err)
	}
	return ref, nil
}

func (s *Supervisor) start(ctx context.Context, spec Spec) (Ref, error) {
	run, err := openRun(s.runPath(spec.ID), true)
	if err != nil {
		return Ref{}, err
	}
	defer run.f.Close() // the child has the lock by now, or nobody needs it
	ref, free, err := s.holder(ctx, run, spec.ID)
	if err != nil {
		return Ref{}, err
	}
	if !ref.IsZero() {
		if ok, err := s.adopt(ref); ok || err != nil {
			return ref, err
		}
	}
	if !free {
		// Only descendants are left, or the process has just ended.
		if err := s.sweep(ctx, run, 0); err != nil {
			return Ref{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return Ref{}, err
	}
	return s.fork(run, spec)
}

// holder finds out who runs under an identity. free: nobody does, and the lock
// is ours. Otherwise a zero ref means that only descendants of it are left.
func (s *Supervisor) holder(ctx context.Context, run *runFile, id string) (ref Ref, free bool, err error) {
	began := time.Now()
	for look := 1; ; look++ {
		ending := run.ending() // before the lock is tried: then what ends in between is no mystery
		if free, err = run.tryLock(); free || err != nil {
			return Ref{}, free, err
		}
		ref, found, err := run.leader(id)
		if err != nil || found > 0 {
			return ref, false, err
		}
		if wait := time.Since(began); wait > killWait || wait > settle && look > leastLooks && !ending {
			return Ref{}, false, fmt.Errorf("%w: %s is locked", ErrUnknownHolder, run.path)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return Ref{}, false, err
		}
	}
}

// umask is one for the whole process, so children are forked one at a time.
var umask sync.Mutex

// fork starts the program with the lock of its identity, which we hold.
func (s *Supervisor) fork(run *runFile, spec Spec) (Ref, error) {
	if err := checkPaths(spec); err != nil {
		return Ref{}, errors.Join(err, run.remove())
	}
	if err := run.clear(); err != nil {
		return Ref{}, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return Ref{}, err
	}
	defer null.Close()
	out := null
	if spec.Log != "" {
		if out, err = os.OpenFile(spec.Log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
			return Ref{}, errors.Join(fmt.Errorf("cannot open the log: %w", err), run.remove())
		}
		defer out.Close()
	}
	child, err := forkExec(spec, []*os.File{null, out, out, run.f})
	if err != nil {
		return Ref{}, errors.Join(err, run.remove())
	}
	if s.afterFork != nil {
		s.afterFork(child.Pid)
	}
	ref, err := s.born(run, spec, child)
	if err != nil {
		// The lock stays with the child, so the next Start or Stop finds it.
		return Ref{}, errors.Join(err, child.Kill(), reapNow(child))
	}
	return ref, nil
}

func reapNow(child *os.Process) error {
	_, err := child.Wait()
	return err
}

// checkPaths tells clearly what exec would only call "no such file".
func checkPaths(spec Spec) error {
	if spec.Dir == "" {
		return nil
	}
	fi, err := os.Stat(spec.Dir)
	if err != nil {
		return fmt.Errorf("cannot use its directory: %w", err)
	}
	if !fi.IsDir() {
		return fmt.Errorf("cannot use its directory: %s is none", spec.Dir)
	}
	return nil
}

func forkExec(spec Spec, files []*os.File) (*os.Process, error) {
	name := spec.Argv0
	if name == "" {
		name = spec.Path
	}
	env := spec.Env
	if env == nil {
		env = []string{} // nil would pass ours on
	}
	umask.Lock()
	defer umask.Unlock()
	defer syscall.Umask(syscall.Umask(0o077))
	return os.StartProcess(spec.Path, append([]string{name}, spec.Args...), &os.ProcAttr{
		Dir:   spec.Dir,
		Env:   env,
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// born makes a Ref of a fresh child, writes it down and tracks it. Until it is
// reaped its pid stays its own, even if it has ended already.
func (s *Supervisor) born(run *runFile, spec Spec, child *os.Process) (Ref, error) {
	boot, err := bootID()
	if err != nil {
		return Ref{}, err
	}
	h, err := openHandle(child.Pid)
	if err != nil {
		return Ref{}, err
	}
	st, err := readStat(child.Pid)
	if err != nil {
		return Ref{}, errors.Join(err, h.close())
	}
	ref := Ref{ID: spec.ID, PID: child.Pid, StartTime: st.start, BootID: boot, Log: spec.Log}
	if err := run.note(ref); err != nil {
		return Ref{}, errors.Join(err, h.close())
	}
	return ref, s.track(&process{ref: ref, h: h, child: child})
}

// Find tells which process runs under an identity, whoever started it.
func (s *Supervisor) Find(ctx context.Context, id string) (Ref, bool, error) {
	if err := checkID(id); err != nil {
		return Ref{}, false, fmt.Errorf("cannot find a process: %w", err)
	}
	defer s.lock(id)()
	ref, _, err := s.find(ctx, id)
	if err != nil {
		return Ref{}, false, fmt.Errorf("cannot find %s: %w", id, err)
	}
	return ref, !ref.IsZero(), nil
}

// find returns the process of an identity, and whether anything of it is left.
func (s *Supervisor) find(ctx context.Context, id string) (ref Ref, any bool, err error) {
	run, err := openRun(s.runPath(id), false)
	if run == nil {
		return Ref{}, false, err
	}
	defer run.f.Close()
	ref, free, err := s.holder(ctx, run, id)
	return ref, !free, err
}

// List returns a Ref for every identity under which something runs, in the order
// of identities. Where only descendants are left the PID is 0; Stop ends those too.
func (s *Supervisor) List(ctx context.Context) ([]Ref, error) {
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var out []Ref
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), runSuffix)
		id, err := url.QueryUnescape(name)
		if !ok || err != nil || id == "" {
			continue // not ours
		}
		unlock := s.lock(id)
		ref, any, err := s.find(ctx, id)
		unlock()
		if err != nil {
			return nil, fmt.Errorf("cannot list processes: %s: %w", id, err)
		}
		if any {
			ref.ID = id
			out = append(out, ref)
		}
	}
	return out, nil
}

// pause waits, or returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
