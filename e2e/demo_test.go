package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// demo prepares "holdfast demo" so that all it writes is below a directory of its own.
func demo(t *testing.T, args ...string) (cmd *exec.Cmd, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf-demo-") // its name is short, as it is for people
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	cmd = exec.CommandContext(t.Context(), program, append([]string{"demo"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = patience
	return cmd, dir
}

// leavesNothing fails the test if a demonstration that has ended left anything.
func leavesNothing(t *testing.T, dir string) {
	t.Helper()
	noProcessIn(t, dir)
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("%s is left", f.Name())
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	cmd, dir := demo(t, "--keys", "20000", "--exit")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &errs)
	}
	lines := strings.Split(out.String(), "\n")
	found := map[string]bool{}
	for _, l := range lines {
		found[strings.TrimSpace(l)] = true
	}
	if !found["identical"] || !strings.Contains(out.String(), "20,000") {
		t.Errorf("it does not say that all is identical:\n%s", &out)
	}
	leavesNothing(t, dir)
}

// TestDemoInterrupted stops it by Ctrl-C in the middle of several steps.
func TestDemoInterrupted(t *testing.T) {
	for _, at := range []string{"» create group", "» fill it", "» CreateSnapshot", "» CreateReplicationGroup in eu-west-1"} {
		t.Run(strings.TrimPrefix(at, "» "), func(t *testing.T) {
			t.Parallel()
			said, err := "", error(nil)
			for range 5 { // it may be over before we come to it
				if said, err = interruptedDemo(t, at); err != nil {
					break
				}
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 130 {
				t.Errorf("interrupted, it ended with %v:\n%s", err, said)
			}
		})
	}
}

// interruptedDemo interrupts a demonstration when it says something, and returns all that
// it said and how it ended.
func interruptedDemo(t *testing.T, at string) (said string, err error) {
	t.Helper()
	cmd, dir := demo(t, "--keys", "200000", "--exit")
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	signalled := false
	for lines := bufio.NewScanner(errs); lines.Scan(); {
		said += lines.Text() + "\n"
		if !signalled && strings.Contains(lines.Text(), at) {
			signalled = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
			}
		}
	}
	err = cmd.Wait()
	if !signalled {
		t.Errorf("it never says %q:\n%s", at, said)
	}
	leavesNothing(t, dir)
	return said, err
}
