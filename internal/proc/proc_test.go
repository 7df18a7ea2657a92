package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestStartAndExit(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	ref := start(t, s, spec(dir, "a", "exit", "7"))
	waitDone(t, s, ref)
	exit, ok := s.LastExit("a")
	if !ok || !exit.Known || exit.Code != 7 || exit.Signal != 0 || !exit.Ref.same(ref) || exit.String() != "ended with exit code 7" {
		t.Errorf("exit %+v, %v", exit, ok)
	}
	select {
	case <-s.Exits(): // a moment after Done
	case <-time.After(time.Minute):
		t.Error("Exits did not tell")
	}
	if Alive(ref) || StateOf(ref) != Gone {
		t.Error("an exited child is said to be alive")
	}
	again := start(t, s, sleeper(dir, "a"))
	if _, ok := s.LastExit("a"); ok || again.same(ref) {
		t.Error("the second process is not a new one")
	}
	if err := syscall.Kill(again.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitDone(t, s, again)
	if exit, _ := s.LastExit("a"); exit.Signal != syscall.SIGKILL || exit.String() != "ended by signal killed" {
		t.Errorf("exit %+v", exit)
	}
}

func TestChildFindsItself(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the child looks at itself in /proc")
	}
	t.Setenv("A_SECRET_OF_OURS", "x")
	dir := runDir(t)
	inherited, err := syscall.Dup(0) // not marked close-on-exec, as what a shell left open
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	s := newTest(t, dir)
	umask := syscall.Umask(0o022) // whoever runs the tests may have another
	syscall.Umask(umask)
	out := filepath.Join(t.TempDir(), "looks")
	sp := spec(dir, "a/b c", "look", out)
	sp.Dir, sp.Argv0 = t.TempDir(), "my-name"
	ref := start(t, s, sp)
	waitDone(t, s, ref)
	var l looks
	if err := json.Unmarshal([]byte(read(t, out)), &l); err != nil {
		t.Fatal(err)
	}
	wantFDs := []string{"0 /dev/null", "1 " + sp.Log, "2 " + sp.Log, "3 " + s.runPath("a/b c")}
	if !slices.Equal(l.FDs, wantFDs) {
		t.Errorf("descriptors %q, want %q", l.FDs, wantFDs)
	}
	if !slices.Equal(l.Env, childEnv()) {
		t.Errorf("environment %q", l.Env)
	}
	if l.Args[0] != "my-name" || l.Umask != 0o077 || !l.Leads || l.Dir != sp.Dir {
		t.Errorf("looks %+v", l)
	}
	now := syscall.Umask(umask)
	if now != umask {
		t.Errorf("our own umask is left at %o", now)
	}
	fi, err := os.Stat(sp.Log)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("log %v, %v", fi.Mode(), err)
	}
}

func TestStartErrors(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	good := sleeper(dir, "a")
	for name, change := range map[string]func(*Spec){
		"no program":   func(sp *Spec) { sp.Path = "/no/such/program" },
		"no directory": func(sp *Spec) { sp.Dir = "/no/such/dir" },
		"file as dir":  func(sp *Spec) { sp.Dir = "/etc/hosts" },
		"no log dir":   func(sp *Spec) { sp.Log = "/no/such/dir/log" },
		"relative log": func(sp *Spec) { sp.Log = "log" },
		"no id":        func(sp *Spec) { sp.ID = "" },
		"long id":      func(sp *Spec) { sp.ID = strings.Repeat("i", 300) },
		"empty path":   func(sp *Spec) { sp.Path = "" },
	} {
		sp := good
		change(&sp)
		if _, err := s.Start(t.Context(), sp); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in the run directory: %v, %v", left, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Start(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	start(t, s, good)
}

func TestForget(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	ref := start(t, s, sleeper(dir, "a"))
	s.Forget("a")
	if !s.tracks(ref) {
		t.Error("a running process was forgotten")
	}
	if err := s.Kill(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.LastExit("a"); !ok {
		t.Error("the exit is not remembered")
	}
	s.Forget("a")
	s.Forget("a")
	if _, ok := s.LastExit("a"); ok {
		t.Error("the exit is still remembered")
	}
}

func TestStartTwiceIsOne(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	refs := make([]Ref, 16)
	var wg sync.WaitGroup
	for i := range refs {
		wg.Go(func() { refs[i] = start(t, s, sleeper(dir, fmt.Sprint("id-", i%4))) })
	}
	wg.Wait()
	for i, ref := range refs {
		if !ref.same(refs[i%4]) || !Alive(ref) {
			t.Errorf("start %d gave %v, the first %v", i, ref, refs[i%4])
		}
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 4 {
		t.Errorf("list %v, %v", list, err)
	}
}

// TestAdoptAfterClose hands a process from one supervisor to the next.
func TestAdoptAfterClose(t *testing.T) {
	dir := runDir(t)
	first := newTest(t, dir)
	ref := start(t, first, sleeper(dir, "a"))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if !Alive(ref) {
		t.Fatal("Close ended the child")
	}
	if _, err := first.Start(t.Context(), sleeper(dir, "b")); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	s := newTest(t, dir)
	if ok, err := s.Adopt(t.Context(), ref); !ok || err != nil {
		t.Fatalf("adopt: %v, %v", ok, err)
	}
	if ok, err := s.Adopt(t.Context(), ref); !ok || err != nil {
		t.Fatalf("adopt again: %v, %v", ok, err)
	}
	if again := start(t, s, sleeper(dir, "a")); !again.same(ref) {
		t.Errorf("Start made %v beside %v", again, ref)
	}
	if found, ok, err := s.Find(t.Context(), "a"); !ok || err != nil || !found.same(ref) || found.Log != ref.Log {
		t.Errorf("found %v %v %v", found, ok, err)
	}
	if err := s.Stop(t.Context(), ref, time.Minute); err != nil {
		t.Fatal(err)
	}
	waitDone(t, s, ref)
	if exit, ok := s.LastExit("a"); !ok || exit.Known {
		t.Errorf("exit %+v, %v", exit, ok)
	}
	if ok, err := s.Adopt(t.Context(), ref); ok || err != nil {
		t.Errorf("adopted a dead one: %v, %v", ok, err)
	}
	if _, ok, err := s.Find(t.Context(), "a"); ok || err != nil {
		t.Errorf("found a dead one: %v, %v", ok, err)
	}
}

// parent runs a supervisor in a process of its own, which gets killed.
func parent(t *testing.T, dir, id, mode string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "supervisor", dir, id, mode)
	cmd.Env = append(os.Environ(), childEnv()...)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestAdoptAfterKill(t *testing.T) {
	dir := runDir(t)
	cmd := parent(t, dir, "a", "")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ref Ref
	if err := json.Unmarshal([]byte(line), &ref); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // by the kill
	s := newTest(t, dir)
	if ok, err := s.Adopt(t.Context(), ref); !ok || err != nil {
		t.Fatalf("adopt: %v, %v", ok, err)
	}
	if err := syscall.Kill(ref.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitDone(t, s, ref)
}

// TestKillBetweenForkAndNote kills the supervisor when the child exists and
// nobody has heard of it: the next Start finds it and makes no second one.
func TestKillBetweenForkAndNote(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	for i := range 10 {
		id := fmt.Sprint("node-", i)
		var exit *exec.ExitError
		if err := parent(t, dir, id, "die").Run(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the supervisor ended otherwise than by the kill: %v", err)
		}
		if left := read(t, s.runPath(id)); left != "" {
			t.Fatalf("it had noted %q", left)
		}
		found, ok, err := s.Find(t.Context(), id)
		if err != nil || !ok || (runtime.GOOS == "linux" && found.Log != sleeper(dir, id).Log) {
			t.Fatalf("found %+v %v %v", found, ok, err)
		}
		ref := start(t, s, sleeper(dir, id))
		if !ref.same(found) || !Alive(ref) {
			t.Errorf("Start gave %v, running is %v", ref, found)
		}
		if n := running(t, dir, id); n != 1 {
			t.Errorf("%d processes of %s", n, id)
		}
		if err := s.Stop(t.Context(), ref, time.Minute); err != nil {
			t.Fatal(err)
		}
		if n := running(t, dir, id); n != 0 {
			t.Errorf("%d processes of %s after Stop", n, id)
		}
	}
}

// running counts the sleepers of an identity, by their arguments.
func running(t *testing.T, dir, id string) int {
	t.Helper()
	n := 0
	for _, line := range commandLines(t) {
		if strings.HasSuffix(strings.TrimSpace(line), strings.Join(sleeper(dir, id).Args, " ")) {
			n++
		}
	}
	return n
}

// commandLines are those of all processes: from /proc, which needs no tool, or by ps.
func commandLines(t *testing.T) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		out, err := exec.Command("ps", "-A", "-ww", "-o", "command=").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(out), "\n")
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil { // else it has just ended
			lines = append(lines, strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " "))
		}
	}
	return lines
}

// TestKillAnywhere kills the supervisor at random moments around Start.
func TestKillAnywhere(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	before := 0
	for i := range 30 {
		id := fmt.Sprint("node-", i)
		cmd := parent(t, dir, id, "")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killer := time.AfterFunc(time.Duration(rand.IntN(9000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // by the kill
		killer.Stop()
		before += running(t, dir, id)
		ref := start(t, s, sleeper(dir, id))
		// A child that was forked just before the kill may not have called exec yet, and
		// until then goes by the supervisor's arguments.
		n := 0
		eventually(t, "it runs", func() bool {
			n = running(t, dir, id)
			return n > 0
		})
		if n != 1 || !Alive(ref) {
			t.Fatalf("%d processes of %s", n, id)
		}
		if err := s.Kill(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 30 had been started before the kill", before)
}

func TestStopIsIdempotentAndKillsTheStubborn(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	ref := start(t, s, spec(dir, "a", "stubborn"))
	waitReady(t, ref)
	began := time.Now()
	if err := s.Stop(t.Context(), ref, 150*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	if exit, ok := s.LastExit("a"); !ok || exit.Signal != syscall.SIGKILL {
		t.Errorf("exit %+v, %v", exit, ok)
	}
	for range 2 {
		if err := s.Stop(t.Context(), ref, time.Minute); err != nil {
			t.Errorf("stopping again: %v", err)
		}
		if err := s.Kill(t.Context(), ref); err != nil {
			t.Errorf("killing again: %v", err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in the run directory: %v, %v", left, err)
	}
}

// TestStopAStopped: a process under SIGSTOP ends at SIGTERM all the same.
func TestStopAStopped(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	ref := start(t, s, sleeper(dir, "a"))
	waitReady(t, ref)
	if err := syscall.Kill(ref.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stopped", func() bool { return StateOf(ref) == Stopped })
	if !Alive(ref) {
		t.Error("a stopped process is alive")
	}
	if err := s.Stop(t.Context(), ref, time.Minute); err != nil {
		t.Fatal(err)
	}
	// One that had to be killed once its grace was over ended by another signal.
	if exit, ok := s.LastExit("a"); !ok || exit.Signal != syscall.SIGTERM {
		t.Errorf("exit %+v, %v", exit, ok)
	}
}

func TestKillDoesNotWaitForStop(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	ref := start(t, s, spec(dir, "a", "stubborn"))
	waitReady(t, ref)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(t.Context(), ref, time.Minute) }()
	if err := s.Kill(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

func TestStopCancelled(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	ref := start(t, s, spec(dir, "a", "stubborn"))
	waitReady(t, ref)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx, ref, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop: %v", err)
	}
	if !Alive(ref) {
		t.Error("it was killed before its grace had passed")
	}
}

// family starts a process with three descendants and returns their pids.
func family(t *testing.T, s *Supervisor, dir, mode string) (Ref, []int) {
	t.Helper()
	ref := start(t, s, spec(dir, "a", "family", mode))
	var kin []int
	eventually(t, "three descendants", func() bool {
		kin = nil
		text := read(t, ref.Log)
		for line := range strings.Lines(text) {
			if n, ok := strings.CutPrefix(strings.TrimSpace(line), "pid "); ok {
				pid, err := strconv.Atoi(n)
				if err != nil {
					t.Fatal(err)
				}
				kin = append(kin, pid)
			}
		}
		return len(kin) == 3 && strings.Count(text, "ready\n") >= 3
	})
	return ref, kin
}

func TestStopEndsDescendants(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	ref, kin := family(t, s, dir, "stay")
	if err := s.Stop(t.Context(), ref, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, pid := range kin {
		if alive(pid) {
			t.Errorf("descendant %d is left", pid)
		}
	}
}

// TestLeftovers: the process has gone and left descendants. They are listed, and
// ended by Stop or before the next Start; the one that gave up the lock cannot be known.
func TestLeftovers(t *testing.T) {
	for _, how := range []string{"stop", "start"} {
		t.Run(how, func(t *testing.T) {
			dir := runDir(t)
			s := newTest(t, dir)
			ref, kin := family(t, s, dir, "leave")
			t.Cleanup(func() { _ = syscall.Kill(kin[2], syscall.SIGKILL) })
			waitDone(t, s, ref)
			if _, ok, err := s.Find(t.Context(), "a"); ok || err != nil {
				t.Errorf("found %v, %v", ok, err)
			}
			list, err := s.List(t.Context())
			if err != nil || len(list) != 1 || list[0].ID != "a" || list[0].PID != 0 {
				t.Errorf("list %v, %v", list, err)
			}
			if how == "stop" {
				err = s.Stop(t.Context(), list[0], 50*time.Millisecond)
			} else {
				next := start(t, s, sleeper(dir, "a"))
				if next.PID == kin[1] || !Alive(next) {
					t.Errorf("a descendant was taken for the process: %v", next)
				}
			}
			if err != nil || alive(kin[0]) || alive(kin[1]) {
				t.Errorf("left: %v %v, %v", alive(kin[0]), alive(kin[1]), err)
			}
		})
	}
}

// TestPidReuseFoolsNobody: a Ref whose pid now means another process.
func TestPidReuseFoolsNobody(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	ref := start(t, s, sleeper(dir, "a"))
	waitReady(t, ref)
	for name, change := range map[string]func(*Ref){
		"start time": func(r *Ref) { r.StartTime-- },
		"boot":       func(r *Ref) { r.BootID = "another" },
		"pid zero":   func(r *Ref) { r.PID = 0 },
		"pid minus":  func(r *Ref) { r.PID = -1 },
		"no pid":     func(r *Ref) { r.PID = 1 << 30 },
	} {
		wrong := ref
		wrong.ID = "b" // as if "b" had run with this pid once
		change(&wrong)
		if Alive(wrong) || StateOf(wrong) != Gone {
			t.Errorf("%s: said to be alive", name)
		}
		if ok, err := s.Adopt(t.Context(), wrong); ok || err != nil {
			t.Errorf("%s: adopt: %v, %v", name, ok, err)
		}
		if err := s.Stop(t.Context(), wrong, time.Second); err != nil {
			t.Errorf("%s: stop: %v", name, err)
		}
		if err := s.Kill(t.Context(), wrong); err != nil {
			t.Errorf("%s: kill: %v", name, err)
		}
		if !Alive(ref) {
			t.Fatalf("%s: the bystander was killed", name)
		}
	}
}

// TestStopOfAPredecessor: the Ref is of an earlier process of the identity.
func TestStopOfAPredecessor(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	old := start(t, s, spec(dir, "a", "exit", "0"))
	waitDone(t, s, old)
	now := start(t, s, sleeper(dir, "a"))
	for _, ref := range []Ref{old, {ID: "a"}} {
		if err := errors.Join(s.Stop(t.Context(), ref, 0), s.Kill(t.Context(), ref)); err != nil {
			t.Error(err)
		}
	}
	if found, ok, err := s.Find(t.Context(), "a"); !Alive(now) || !ok || err != nil || !found.same(now) {
		t.Errorf("the successor was hit: %v %v %v", found, ok, err)
	}
}

// brokenHandle cannot wait.
type brokenHandle struct{ handle }

func (brokenHandle) wait(<-chan struct{}) (bool, error) { return false, errors.ErrUnsupported }

// TestBrokenHandle: an exit is noticed even where the poller refuses.
func TestBrokenHandle(t *testing.T) {
	dir := runDir(t)
	first := newTest(t, dir)
	ref := start(t, first, sleeper(dir, "a"))
	s := newTest(t, dir)
	h, err := open(ref)
	if h == nil {
		t.Fatal(err)
	}
	if err := s.track(&process{ref: ref, h: brokenHandle{h}}); err != nil {
		t.Fatal(err)
	}
	if err := first.Kill(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	waitDone(t, s, ref)
}

// TestNoteOfAnEarlierProcess: the run file still names a process that is gone and
// whose pid means another one; only the lock counts.
func TestNoteOfAnEarlierProcess(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	other := start(t, s, sleeper(dir, "other"))
	stale := other
	stale.ID, stale.StartTime = "a", other.StartTime-1
	run, err := openRun(s.runPath("a"), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(run.note(stale), run.f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Find(t.Context(), "a"); ok || err != nil {
		t.Errorf("found %v, %v", ok, err)
	}
	if ref := start(t, s, sleeper(dir, "a")); ref.PID == other.PID {
		t.Error("the other process was taken for ours")
	}
}

// TestUnknownHolder: somebody has the lock who cannot be found; nothing is done.
func TestUnknownHolder(t *testing.T) {
	dir := runDir(t)
	s := newTest(t, dir)
	run, err := openRun(s.runPath("a"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer run.f.Close()
	if ok, err := run.tryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := s.Start(t.Context(), sleeper(dir, "a")); !errors.Is(err, ErrUnknownHolder) {
		t.Errorf("Start: %v", err)
	}
	if err := s.Stop(t.Context(), Ref{ID: "a"}, 0); !errors.Is(err, ErrUnknownHolder) {
		t.Errorf("Stop: %v", err)
	}
}

// TestEnding: of a process that was killed a thread is left that cannot be, with the
// lock. Whoever needs the lock waits for it.
func TestEnding(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows a process whose first thread has ended")
	}
	for what, use := range map[string]func(*Supervisor, string, Ref) error{
		"stop": func(s *Supervisor, _ string, ref Ref) error { return s.Stop(t.Context(), ref, 0) },
		"kill": func(s *Supervisor, _ string, ref Ref) error { return s.Kill(t.Context(), ref) },
		"find": func(s *Supervisor, _ string, ref Ref) error {
			_, ok, err := s.Find(t.Context(), ref.ID)
			if ok {
				err = errors.Join(err, errors.New("it is found"))
			}
			return err
		},
		"start": func(s *Supervisor, dir string, ref Ref) error {
			next, err := s.Start(t.Context(), sleeper(dir, ref.ID))
			if next.same(ref) {
				err = errors.Join(err, errors.New("it is taken for running"))
			}
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := runDir(t)
			s := newTest(t, dir)
			may, over := filepath.Join(t.TempDir(), "may"), filepath.Join(t.TempDir(), "over")
			ref := start(t, s, spec(dir, "a", "headless", may, over))
			eventually(t, "its first thread has ended", func() bool {
				st, err := readStat(ref.PID)
				return err == nil && st.ending()
			})
			if err := os.WriteFile(may, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := use(s, dir, ref); err != nil {
				t.Error(err)
			}
			// It gives up the lock a moment before it is gone.
			if _, err := os.Stat(over); err != nil {
				t.Errorf("it was not waited for: %v", err)
			}
		})
	}
}
