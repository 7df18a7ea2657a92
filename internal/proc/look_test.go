package proc

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

func TestLookAtTellsStoppedFromBusyFromGone(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	st, err := readStat(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ref := Ref{ID: "it", PID: cmd.Process.Pid, StartTime: st.start, BootID: boot}
	until := func(what string, is func(Look) bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			l, err := LookAt(ref)
			if err != nil {
				t.Fatal(err)
			}
			if is(l) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: it is %+v", what, l)
			}
			runtime.Gosched()
		}
	}
	until("it works", func(l Look) bool {
		return (l.State == Running || l.State == Sleeping) && (l.CPU >= 20*time.Millisecond || !l.CPUKnown)
	})
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until("it is stopped", func(l Look) bool { return l.State == Stopped })
	other := ref
	other.StartTime++
	if l, err := LookAt(other); err != nil || l.State != Gone {
		t.Errorf("a later process under the same number is taken for it: %+v, %v", l, err)
	}
	if err := cmd.Process.Signal(os.Kill); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	until("it is gone", func(l Look) bool { return l.State == Gone })
}
