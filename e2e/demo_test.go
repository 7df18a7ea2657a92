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
	"time"
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
			cmd, dir := demo(t, "--keys", "200000", "--exit")
			errs, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			signalled := false
			for lines := bufio.NewScanner(errs); lines.Scan(); {
				said.WriteString(lines.Text() + "\n")
				if !signalled && strings.Contains(lines.Text(), at) {
					signalled = true
					if err := cmd.Process.Signal(os.Interrupt); err != nil {
						t.Error(err)
					}
				}
			}
			began := time.Now()
			err = cmd.Wait()
			var exit *exec.ExitError
			if !signalled || !errors.As(err, &exit) || exit.ExitCode() != 130 {
				t.Errorf("interrupted %v, it ended with %v after %s:\n%s", signalled, err, time.Since(began), said.String())
			}
			leavesNothing(t, dir)
		})
	}
}
