package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Options of a supervisor. Dir is needed; the rest has defaults.
type Options struct {
	// Dir is the run directory, one small file per identity; made with mode 0700.
	Dir string
	// LogBytes is the size from which a log is rotated; 0 means 16 MiB.
	LogBytes int64
	// LogKeep is how many rotated files (<log>.1, the newest, …) are kept; 0 means 3.
	LogKeep int
	// Logger gets what no caller is there to be told; nil means slog.Default().
	Logger *slog.Logger
}

// Supervisor starts, adopts, watches and stops processes. Its methods may be
// called from any goroutine; calls for one identity wait for each other.
type Supervisor struct {
	opts  Options
	exits chan struct{}
	stop  chan struct{} // closed by Close
	tasks sync.WaitGroup

	mu     sync.Mutex
	closed bool
	procs  map[string]*process    // by identity: the one tracked last
	busy   map[string]*sync.Mutex // by identity

	// afterFork is called in tests between fork and everything that follows.
	afterFork func(pid int)
}

// process is one that is tracked.
type process struct {
	ref   Ref
	h     handle
	child *os.Process // nil if adopted
	done  chan struct{}
	exit  Exit // valid once done is closed
}

// over tells whether the process has ended.
func (p *process) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// New makes a supervisor. It starts nothing and adopts nothing by itself.
// Descriptors that this process was started with, other than the standard three,
// are from now on closed on exec.
func New(opts Options) (*Supervisor, error) {
	if opts.LogBytes <= 0 {
		opts.LogBytes = 16 << 20
	}
	if opts.LogKeep <= 0 {
		opts.LogKeep = 3
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the run directory: %w", err)
	}
	if _, err := bootID(); err != nil {
		return nil, err
	}
	if err := keepToOurselves(); err != nil {
		return nil, err
	}
	s := &Supervisor{
		opts:  opts,
		exits: make(chan struct{}, 1),
		stop:  make(chan struct{}),
		procs: make(map[string]*process),
		busy:  make(map[string]*sync.Mutex),
	}
	s.tasks.Go(s.rotateLoop)
	return s, nil
}

// Close ends the watching and waits for it. Every process goes on. Calls of other
// methods must have returned.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.tasks.Wait()
	return nil
}

// Exits receives after tracked processes have ended. Several exits between two
// receives are one: look at [Supervisor.Done] of those that matter.
func (s *Supervisor) Exits() <-chan struct{} { return s.exits }

// Done is closed once the process is gone. For a process that is not tracked it
// is closed already, so adopt it first.
func (s *Supervisor) Done(ref Ref) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.procs[ref.ID]; p != nil && p.ref.same(ref) {
		return p.done
	}
	closed := make(chan struct{})
	close(closed)
	return closed
}

// LastExit tells how the process tracked last under the identity ended, by Stop or
// otherwise; false if it is running or none was tracked. It is remembered until
// the next Start, Adopt or Forget.
func (s *Supervisor) LastExit(id string) (Exit, bool) {
	s.mu.Lock()
	p := s.procs[id]
	s.mu.Unlock()
	if p == nil || !p.over() {
		return Exit{}, false
	}
	return p.exit, true
}

// Forget drops what is remembered of an identity whose process is gone; nothing
// happens if it is running.
func (s *Supervisor) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.procs[id]; p != nil && p.over() {
		delete(s.procs, id)
	}
}

// Adopt takes up a process that was started before, by this supervisor or
// another. It returns false, and tracks nothing, if that very process is gone.
func (s *Supervisor) Adopt(ctx context.Context, ref Ref) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("cannot adopt %s: %w", ref, err)
	}
	defer s.lock(ref.ID)()
	ok, err := s.adopt(ref)
	if err != nil {
		return false, fmt.Errorf("cannot adopt %s: %w", ref, err)
	}
	return ok, nil
}

func (s *Supervisor) adopt(ref Ref) (bool, error) {
	if s.tracks(ref) {
		return Alive(ref), nil
	}
	h, err := open(ref)
	if h == nil {
		return false, err
	}
	return true, s.track(&process{ref: ref, h: h})
}

// tracks tells whether the process is watched already.
func (s *Supervisor) tracks(ref Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.procs[ref.ID]
	return p != nil && p.ref.same(ref)
}

// track watches a process until it ends. It takes over p.h.
func (s *Supervisor) track(p *process) error {
	p.done = make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(ErrClosed, p.h.close())
	}
	s.procs[p.ref.ID] = p
	s.tasks.Go(func() { s.watch(p) })
	return nil
}

// watch waits for the end of p or of the supervisor.
func (s *Supervisor) watch(p *process) {
	gone := s.await(p)
	if err := p.h.close(); err != nil {
		s.opts.Logger.Error("cannot close the handle of a process", "process", p.ref, "error", err)
	}
	if !gone {
		if p.child != nil {
			// It stays our child until we exit; then init takes it.
			if err := p.child.Release(); err != nil {
				s.opts.Logger.Error("cannot release a process", "process", p.ref, "error", err)
			}
		}
		return
	}
	p.exit = s.reap(p)
	close(p.done)
	select {
	case s.exits <- struct{}{}:
	default:
	}
}

// await waits for the end of p, or of the supervisor: then it returns false. An
// exit must not go unnoticed; so if the handle fails, it looks by itself.
func (s *Supervisor) await(p *process) bool {
	gone, err := p.h.wait(s.stop)
	for err != nil {
		s.opts.Logger.Error("cannot watch a process", "process", p.ref, "error", err)
		select {
		case <-s.stop:
			return false
		case <-time.After(time.Second):
		}
		h := &pollingHandle{pid: p.ref.PID, start: p.ref.StartTime, closed: make(chan struct{})}
		gone, err = h.wait(s.stop)
	}
	return gone
}

// reap collects the exit status of a child that has ended.
func (s *Supervisor) reap(p *process) Exit {
	exit := Exit{Ref: p.ref, At: time.Now()}
	if p.child == nil {
		return exit
	}
	st, err := p.child.Wait()
	if err != nil {
		s.opts.Logger.Error("cannot reap a process", "process", p.ref, "error", err)
		return exit
	}
	exit.Known, exit.Code = true, st.ExitCode()
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		exit.Signal = ws.Signal()
	}
	return exit
}

// lock makes calls for one identity wait for each other; it returns the unlock.
func (s *Supervisor) lock(id string) func() {
	s.mu.Lock()
	m := s.busy[id]
	if m == nil {
		m = new(sync.Mutex)
		s.busy[id] = m
	}
	s.mu.Unlock()
	m.Lock()
	return m.Unlock
}

func (s *Supervisor) runPath(id string) string { return filepath.Join(s.opts.Dir, runName(id)) }
