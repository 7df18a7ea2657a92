package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// TestMain also plays the child processes, as the first argument says.
func TestMain(m *testing.M) {
	if os.Getenv("PROC_TEST_CHILD") != "" {
		if err := children[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// children are what the test binary does when it is run as a child process.
var children = map[string]func(args []string) error{
	"sleep":      sleepChild,
	"stubborn":   stubbornChild,
	"family":     familyChild,
	"look":       lookChild,
	"exit":       exitChild,
	"lines":      linesChild,
	"supervisor": supervisorChild,
	"headless":   headlessChild,
}

// init keeps a child's main goroutine on its first thread, which stands for the
// process: headlessChild ends that one.
func init() {
	if os.Getenv("PROC_TEST_CHILD") != "" {
		runtime.LockOSThread()
	}
}

func childEnv() []string { return []string{"PROC_TEST_CHILD=1"} }

// sleepChild says that it is ready and waits for a signal. It ends by itself
// after a while, so that a failed test leaves nothing behind.
func sleepChild([]string) error {
	fmt.Println("ready")
	<-time.After(2 * time.Minute)
	return nil
}

func stubbornChild([]string) error {
	signal.Ignore(syscall.SIGTERM)
	return sleepChild(nil)
}

// familyChild has children of three kinds: in its group, in a session of its own,
// and in its group without the lock. With "leave" it ends and leaves them behind.
func familyChild(args []string) error {
	start := func(mode string, own, lock bool) error {
		cmd := exec.Command(os.Args[0], mode)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: own}
		if !lock {
			unix.CloseOnExec(lockFD)
		}
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			return err
		}
		fmt.Println("pid", cmd.Process.Pid)
		return nil
	}
	err := errors.Join(start("sleep", false, true), start("stubborn", true, true), start("stubborn", false, false))
	if err != nil || args[0] == "leave" {
		return err
	}
	return sleepChild(nil)
}

// headlessChild ends the thread that stands for the process at once, and the others
// after longer than a lock without a holder is looked at, from when the file args[0] is
// there. It makes the file args[1] before.
func headlessChild(args []string) error {
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); <-tick.C {
			if _, err := os.Stat(args[0]); err == nil {
				break
			}
		}
		<-time.After(2 * settle)
		_ = os.WriteFile(args[1], nil, 0o600) // it is missed if this fails
		os.Exit(0)
	}()
	_, _, err := syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
	return err // of the thread, so this is not reached
}

// lookChild writes down how it finds itself.
func lookChild(args []string) error {
	var fds []string
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !opened(to) {
			fds = append(fds, e.Name()+" "+to)
		}
	}
	sid, err := unix.Getsid(0)
	if err != nil {
		return err
	}
	old := syscall.Umask(0)
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	b, err := json.Marshal(looks{Args: os.Args, Env: os.Environ(), FDs: fds, Umask: old, Leads: sid == os.Getpid() && syscall.Getpgrp() == sid, Dir: dir})
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], b, 0o600)
}

// opened tells what the Go runtime opens for itself.
func opened(path string) bool {
	return strings.HasPrefix(path, "anon_inode") || strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/sys/")
}

type looks struct {
	Args, Env, FDs []string
	Umask          int
	Leads          bool
	Dir            string
}

func exitChild(args []string) error {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

// linesChild writes numbered lines as fast as it can: args[0] of them, and up to fifty
// times more until the file args[1] exists, into which it writes how many there were.
func linesChild(args []string) error {
	least, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	n := 0
	for enough := false; !enough; n++ {
		if _, err := fmt.Printf("line %08d %s\n", n, strings.Repeat("x", n%60)); err != nil {
			return err
		}
		if n >= least && n%1000 == 0 {
			_, err := os.Stat(args[1])
			enough = err == nil || n > 50*least
		}
	}
	return os.WriteFile(args[1], []byte(strconv.Itoa(n)), 0o600)
}

// supervisorChild starts a sleeper under args[1] and prints its Ref. With "die" it
// is killed right after the fork; with "late" right before Start returns.
func supervisorChild(args []string) error {
	s, err := New(Options{Dir: args[0]})
	if err != nil {
		return err
	}
	if args[2] == "die" {
		s.afterFork = func(int) { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
	}
	ref, err := s.Start(context.Background(), sleeper(args[0], args[1]))
	if err != nil {
		return err
	}
	b, err := json.Marshal(ref)
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	return sleepChild(nil)
}

// sleeper has arguments that no other process has.
func sleeper(dir, id string) Spec { return spec(dir, id, "sleep", dir+"/"+runName(id)) }

// spec runs a child of this test binary with its log beside the run directory.
func spec(dir, id string, args ...string) Spec {
	return Spec{ID: id, Path: os.Args[0], Args: args, Env: childEnv(), Log: filepath.Join(filepath.Dir(dir), "log-"+runName(id))}
}

// newTest makes a supervisor whose children are all gone after the test.
func newTest(t *testing.T, dir string) *Supervisor {
	t.Helper()
	return newTestOf(t, Options{Dir: dir})
}

func newTestOf(t *testing.T, o Options) *Supervisor {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stopAll(t, o.Dir)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func stopAll(t *testing.T, dir string) {
	t.Helper()
	s, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	refs, err := s.List(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, ref := range refs {
		if err := s.Kill(context.Background(), ref); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func runDir(t *testing.T) string { return filepath.Join(t.TempDir(), "run") }

func start(t *testing.T, s *Supervisor, spec Spec) Ref {
	t.Helper()
	ref, err := s.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// waitReady waits until the child has written that it is.
func waitReady(t *testing.T, ref Ref) {
	t.Helper()
	eventually(t, "ready", func() bool { return strings.Contains(read(t, ref.Log), "ready\n") })
}

// eventually looks until ok says true, up to a deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		}
	}
}

// waitDone fails if the process does not end.
func waitDone(t *testing.T, s *Supervisor, ref Ref) {
	t.Helper()
	select {
	case <-s.Done(ref):
	case <-time.After(time.Minute):
		t.Fatalf("%s does not end", ref)
	}
}

// alive tells whether a pid means a process that is not a zombie.
func alive(pid int) bool {
	st, err := readStat(pid)
	return err == nil && !st.dead()
}
