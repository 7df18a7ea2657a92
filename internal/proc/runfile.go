package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockFD is the descriptor under which a child holds its lock: the first after
	// the three standard ones.
	lockFD = 3
	// settle is how long a lock without a holder is looked at again. While any
	// process is forked it inherits our descriptors until it calls exec.
	settle = time.Second
	// leastLooks is how often at least: on a machine that stood still a second is nothing.
	leastLooks = 10
)

// runFile is the open file of an identity. Its lock is held by the process that
// runs under the identity and its descendants; while none does, by whoever is
// about to start one. Its content is the Ref of the process, written after the
// start: a short cut, not the truth.
type runFile struct {
	path string
	f    *os.File
}

// openRun opens the file, making it if create is set. Without, and without a
// file, it returns nil.
func openRun(path string, create bool) (*runFile, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if !create && errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the run file: %w", err)
	}
	return &runFile{path: path, f: f}, nil
}

// tryLock returns false if somebody has the lock.
func (r *runFile) tryLock() (bool, error) {
	for {
		err := unix.Flock(int(r.f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case errors.Is(err, unix.EINTR):
		default:
			return false, fmt.Errorf("cannot lock %s: %w", r.path, err)
		}
	}
}

// remove unlinks the file; the caller holds the lock and the identity's mutex.
func (r *runFile) remove() error {
	if err := os.Remove(r.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove the run file: %w", err)
	}
	return nil
}

// note writes the ref down.
func (r *runFile) note(ref Ref) error {
	b, err := json.Marshal(ref)
	if err == nil {
		_, err = r.f.WriteAt(b, 0)
	}
	if err != nil {
		return fmt.Errorf("cannot write the run file: %w", err)
	}
	return nil
}

func (r *runFile) clear() error {
	if err := r.f.Truncate(0); err != nil {
		return fmt.Errorf("cannot clear the run file: %w", err)
	}
	return nil
}

// noted reads what note wrote; a zero Ref if that is nothing whole.
func (r *runFile) noted() Ref {
	var ref Ref
	b, err := io.ReadAll(io.NewSectionReader(r.f, 0, 1<<16))
	if err != nil || json.Unmarshal(b, &ref) != nil {
		return Ref{}
	}
	return ref
}

// holders lists the live processes that hold the lock.
func (r *runFile) holders() ([]int, error) {
	fi, err := r.f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot look at the run file: %w", err)
	}
	return holders(r.path, fi)
}

// leader finds the process that runs under the identity; a zero ref if only
// descendants of it are left. found counts what was seen of either.
func (r *runFile) leader(id string) (ref Ref, found int, err error) {
	boot, err := bootID()
	if err != nil {
		return Ref{}, 0, err
	}
	noted := r.noted()
	known := noted.ID == id && noted.BootID == boot
	if known && Alive(noted) {
		return noted, 1, nil
	}
	pids, err := r.holders()
	if err != nil || known {
		return Ref{}, len(pids), err
	}
	// Its supervisor was killed before the note. It leads its group; a descendant
	// that leads one too was started later.
	for _, pid := range pids {
		st, err := readStat(pid)
		if err != nil || st.group != pid || st.dead() {
			continue
		}
		if ref.IsZero() || st.start < ref.StartTime {
			ref = Ref{ID: id, PID: pid, StartTime: st.start, BootID: boot, Log: logOf(pid)}
		}
	}
	if !ref.IsZero() {
		err = r.note(ref)
	}
	return ref, len(pids), err
}

// ending tells whether the process that was noted last has been killed and still has
// threads, one of which may hold the lock though nobody is seen to.
func (r *runFile) ending() bool {
	noted := r.noted()
	boot, err := bootID()
	if err != nil || noted.PID <= 0 || noted.BootID != boot {
		return false
	}
	st, err := readStat(noted.PID)
	return err == nil && st.start == noted.StartTime && st.ending()
}

// logOf is the file that a process writes its output to, "" if that is none.
func logOf(pid int) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", pid))
	if err != nil {
		return ""
	}
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() {
		return ""
	}
	return path
}

// ignoreGone is for signals to processes that may have ended meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
