package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// processesIn lists the processes that work in a directory or below it, by
// their working directories. Every engine and every helper has one there.
func processesIn(t *testing.T, dir string) map[int]string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	for _, l := range links {
		cwd, err := os.Readlink(l)
		if err != nil || cwd != dir && !strings.HasPrefix(cwd, dir+"/") {
			continue // gone meanwhile, somebody else's, or elsewhere
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(l))); err == nil && !zombie(pid) {
			found[pid] = cwd
		}
	}
	return found
}

func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

func parent(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1]) // always a number
	return ppid
}

// noProcessIn fails the test if anything still runs in a data directory.
func noProcessIn(t *testing.T, dir string) {
	t.Helper()
	for pid, cwd := range processesIn(t, dir) {
		t.Errorf("process %d is left in %s: %s", pid, cwd, commandLine(pid))
	}
}

func commandLine(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return err.Error()
	}
	return string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
}

// enginePID is the engine process of a node, 0 when none runs. A child of it that
// saves works in the same directory and does not count.
func (s *service) enginePID(region, cluster string) int {
	s.t.Helper()
	all := processesIn(s.t, filepath.Join(s.dir, "nodes", region, cluster))
	for pid := range all {
		if _, child := all[parent(pid)]; !child {
			return pid
		}
	}
	return 0
}

// mustPID is enginePID of a node that runs.
func (s *service) mustPID(region, cluster string) int {
	s.t.Helper()
	pid := s.enginePID(region, cluster)
	if pid == 0 {
		s.t.Fatalf("%s in %s does not run", cluster, region)
	}
	return pid
}

// killEngine ends a node's engine by kill -9 and returns the pid it had.
func (s *service) killEngine(region, cluster string) int {
	s.t.Helper()
	pid := s.mustPID(region, cluster)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatalf("cannot kill %s: %v", cluster, err)
	}
	return pid
}

// haltEngine stops a node's engine without ending it. The returned function lets it
// go on, which the end of the test does too.
func (s *service) haltEngine(region, cluster string) (goOn func()) {
	s.t.Helper()
	pid := s.mustPID(region, cluster)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		s.t.Fatalf("cannot stop %s: %v", cluster, err)
	}
	goOn = sync.OnceFunc(func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			s.t.Errorf("cannot let %s go on: %v", cluster, err)
		}
	})
	s.t.Cleanup(goOn)
	return goOn
}
