package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// program is the binary under test.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait much more than they compute.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(build(m))
}

func build(m *testing.M) int {
	if runtime.GOOS != "linux" {
		fmt.Fprintln(os.Stderr, "SKIPPED: these tests look into /proc and need 127.0.0.0/8, so they need Linux")
		return 0
	}
	dir, err := os.MkdirTemp("", "holdfast-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "holdfast")
	if out, err := exec.Command("go", "build", "-tags", "grpcnotrace", "-o", program, "../cmd/holdfast").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// service is one installation under test. It may die and be started again.
type service struct {
	t      *testing.T
	dir    string
	listen string
	flags  []string // of "serve", besides those that all have
	// engines is the directory of its engines; "" for that of everybody.
	engines string
	// revive makes every request that finds the service dead start it again: what a
	// person would do. How often that happened is in revived.
	revive  bool
	revived int

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  bytes.Buffer
}

// patience bounds every wait; on a busy machine all take longer.
const patience = 90 * time.Second

// startService starts a service in a directory of its own; everything it
// started is gone when the test ends.
func startService(t *testing.T) *service {
	t.Helper()
	s := newService(t)
	s.start()
	return s
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{t: t, dir: t.TempDir(), listen: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the service:\n%s", s.lastWords(80))
			s.showEngineLogs()
		}
		out, err := exec.Command(program, "down", "--discard", "--data", s.dir).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "nothing has ever been started") {
			t.Errorf("down: %v\n%s", err, out)
		}
		s.awaitEnd()
		noProcessIn(t, s.dir)
	})
	giveAddresses(t, s.dir)
	return s
}

// start runs the program until it is ready. One with a crash point set may die
// before.
func (s *service) start(env ...string) {
	s.t.Helper()
	cmd := exec.Command(program, append([]string{"serve", "--data", s.dir, "--listen", s.listen}, s.flags...)...)
	cmd.Env = append(os.Environ(), env...)
	if s.engines != "" {
		cmd.Env = append(cmd.Env, "HOLDFAST_ENGINES_DIR="+s.engines)
	}
	cmd.Stderr = lockedWriter{&s.mu, &s.log}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done, ready := make(chan struct{}), make(chan struct{})
	s.mu.Lock()
	s.cmd, s.done = cmd, done
	s.mu.Unlock()
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		_ = cmd.Wait() // how it ended is asked of ProcessState
		close(done)
	}()
	select {
	case <-ready:
	case <-done:
		if !killed(cmd) || !s.revive {
			s.t.Fatalf("the service ended before it was ready:\n%s", s.lastWords(30))
		}
	case <-time.After(patience):
		s.t.Fatalf("the service is not ready:\n%s", s.lastWords(30))
	}
}

// process is the latest run of the service and its end; nil before the first.
func (s *service) process() (*exec.Cmd, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd, s.done
}

// kill ends the service as a power cut would.
func (s *service) kill() {
	s.t.Helper()
	s.signal(syscall.SIGKILL)
}

// stop ends the service in order, and leaves the engines.
func (s *service) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	if cmd, _ := s.process(); !cmd.ProcessState.Success() {
		s.t.Fatalf("the service ended with %s:\n%s", cmd.ProcessState, s.lastWords(30))
	}
}

func (s *service) signal(sig syscall.Signal) {
	s.t.Helper()
	cmd, _ := s.process()
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
	s.awaitEnd()
}

func (s *service) awaitEnd() {
	_, done := s.process()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(patience):
		s.t.Error("the service does not end")
	}
}

// dead tells whether the service has ended.
func (s *service) dead() bool {
	_, done := s.process()
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// reviveIfDead starts the service again if it was killed. One that ended in any
// other way has failed.
func (s *service) reviveIfDead() {
	if !s.revive || !s.dead() {
		return
	}
	if cmd, _ := s.process(); !killed(cmd) {
		s.t.Fatalf("the service was not killed and ended with %s:\n%s", cmd.ProcessState, s.lastWords(30))
	}
	s.revived++
	s.start()
}

// killed tells whether an ended process ended by SIGKILL.
func killed(cmd *exec.Cmd) bool {
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// down runs "holdfast down".
func (s *service) down(flags ...string) string {
	s.t.Helper()
	out, err := exec.Command(program, append([]string{"down", "--data", s.dir}, flags...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("down: %v\n%s", err, out)
	}
	s.awaitEnd()
	noProcessIn(s.t, s.dir)
	return string(out)
}

func (s *service) lastWords(lines int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// showEngineLogs puts the ends of the logs of all nodes into the test's.
func (s *service) showEngineLogs() {
	logs, _ := filepath.Glob(filepath.Join(s.dir, "nodes", "*", "*", "*.log")) // the pattern is well-formed
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			s.t.Logf("%s: %v", path, err)
			continue
		}
		s.t.Logf("%s:\n%s", path, b[max(0, len(b)-4000):])
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
