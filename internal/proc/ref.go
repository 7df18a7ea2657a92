package proc

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"syscall"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrUnknownHolder: something runs under the identity and cannot be told from
	// here (it belongs to another user, or hides its descriptors). Nothing was done.
	ErrUnknownHolder = errors.New("something runs under this identity, but which process cannot be told")
	// ErrSurvives: a process did not go even after SIGKILL; it hangs in the kernel.
	ErrSurvives = errors.New("the process does not die")
	// ErrClosed: the supervisor was closed.
	ErrClosed = errors.New("the supervisor is closed")
)

// Spec is what to run.
type Spec struct {
	// ID is the identity: up to 200 bytes that stand for what is run, the same at
	// every start of it.
	ID string
	// Path is the program, absolute or relative to Dir.
	Path string
	// Args are the arguments after the program's name; Argv0, if not empty, is put
	// in place of Path as that name. They are readable by every user: no secrets.
	Args  []string
	Argv0 string
	// Env is the whole environment, "KEY=value". Ours is not passed on.
	Env []string
	// Dir is the working directory; it must exist.
	Dir string
	// Log is the absolute path of the file that output is appended to, made with
	// mode 0600; "" discards the output.
	Log string
}

func (s *Spec) check() error {
	if err := checkID(s.ID); err != nil {
		return err
	}
	if s.Path == "" {
		return errors.New("no program is given")
	}
	if s.Log != "" && !filepath.IsAbs(s.Log) {
		return fmt.Errorf("the log file %q is not an absolute path", s.Log)
	}
	return nil
}

func checkID(id string) error {
	if id == "" {
		return errors.New("the identity is empty")
	}
	if n := len(runName(id)); n > 250 {
		return fmt.Errorf("the identity %.40q… is too long: %d of 250 bytes", id, n)
	}
	return nil
}

// runName is the file in the run directory that belongs to an identity.
func runName(id string) string { return url.QueryEscape(id) + runSuffix }

const runSuffix = ".run"

// Ref names one process for good. It is plain data, to be stored as JSON.
type Ref struct {
	ID  string
	PID int
	// StartTime is when the kernel started it, in clock ticks since boot (Linux)
	// or seconds since 1970 (elsewhere); with BootID it makes the pid unambiguous.
	StartTime uint64
	BootID    string
	// Log is the log file, so that whoever adopts the process goes on rotating it.
	Log string `json:",omitempty"`
}

// IsZero tells whether the Ref names nothing.
func (r Ref) IsZero() bool { return r.PID == 0 }

func (r Ref) String() string { return fmt.Sprintf("%s (pid %d)", r.ID, r.PID) }

// same tells whether both name the same process.
func (r Ref) same(o Ref) bool {
	return r.ID == o.ID && r.PID == o.PID && r.StartTime == o.StartTime && r.BootID == o.BootID
}

// Exit is how a process ended.
type Exit struct {
	Ref Ref
	At  time.Time // when it was noticed
	// Known is false for adopted processes: the kernel tells only the parent.
	Known bool
	// Code is the exit code, -1 if a signal ended it.
	Code int
	// Signal that ended it, 0 if none did.
	Signal syscall.Signal
}

func (e Exit) String() string {
	switch {
	case !e.Known:
		return "ended, how is not known"
	case e.Signal != 0:
		return "ended by signal " + e.Signal.String()
	default:
		return fmt.Sprintf("ended with exit code %d", e.Code)
	}
}

// State of a process as the kernel tells it.
type State byte

// The states that matter; others appear as the kernel's own letter.
const (
	Gone     State = 0
	Running  State = 'R'
	Sleeping State = 'S'
	Blocked  State = 'D' // in the kernel, deaf to signals
	Stopped  State = 'T'
	Zombie   State = 'Z'
)

// Alive tells whether the very process that ref names is running. Stopped and
// blocked ones are; zombies are not.
func Alive(ref Ref) bool {
	st := StateOf(ref)
	return st != Gone && st != Zombie
}

// StateOf returns the state of the process that ref names, Gone if there is none
// any more, whoever has its pid now.
func StateOf(ref Ref) State {
	boot, err := bootID()
	if err != nil || ref.PID <= 0 || boot != ref.BootID {
		return Gone
	}
	st, err := readStat(ref.PID)
	if err != nil || st.start != ref.StartTime {
		return Gone
	}
	return st.state
}

// stat is what is used of /proc/<pid>/stat.
type stat struct {
	state          State
	group, session int
	start          uint64
	threads        int // 0 where it is not told
}

func (st stat) dead() bool { return st.state == Zombie || st.state == 'X' || st.state == 'x' }

// ending: the thread that stands for the process has ended and others have not, which
// keep everything open that was open. A thread that waits for a disk cannot be killed.
func (st stat) ending() bool { return st.dead() && st.threads > 1 }
