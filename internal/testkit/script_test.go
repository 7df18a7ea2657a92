package testkit_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
)

// exitMirror is what scripts/engines exits with when it cannot reach its mirror.
const exitMirror = 4

// script runs scripts/engines on a directory of its own and returns its exit code
// and all it printed.
func script(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command("../../scripts/engines", args...)
	cmd.Env = append(os.Environ(), "HOLDFAST_ENGINES_DIR="+dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func mustScript(t *testing.T, dir, says string, args ...string) {
	t.Helper()
	code, out := script(t, dir, args...)
	if code != 0 || !strings.Contains(out, says) {
		t.Fatalf("engines %v: exit code %d, want 0 and %q; it says:\n%s", args, code, says, out)
	}
}

func TestScript(t *testing.T) {
	b := testkit.Engine(t, "redis-7.0")
	if b.Dir == "" {
		t.Skip("redis 7.0 is not the engines script's here")
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, b.Name), os.DirFS(b.Dir)); err != nil {
		t.Fatal(err)
	}
	mustScript(t, dir, b.Name+" is installed", "install", "redis-7.0")
	mustScript(t, dir, "good", "list")
	cli := filepath.Join(dir, b.Name, "libexec", "redis-cli")
	sound, err := os.ReadFile(cli)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(sound)
	spoilt[len(spoilt)/2] ^= 1
	if err := os.WriteFile(cli, spoilt, 0o755); err != nil {
		t.Fatal(err)
	}
	mustScript(t, dir, "damaged", "list")
	code, out := script(t, dir, "install", "redis-7.0")
	if code == exitMirror {
		t.Skipf("neither the cache nor the mirror has the packages:\n%s", out)
	}
	if code != 0 {
		t.Fatalf("install: exit code %d; it says:\n%s", code, out)
	}
	if got, err := os.ReadFile(cli); err != nil || !bytes.Equal(got, sound) {
		t.Errorf("redis-cli is not what it was before it was spoilt: %v", err)
	}
	mustScript(t, dir, b.Name+" is installed", "install", "redis-7.0")
	mustScript(t, dir, "removed "+b.Name, "remove", "redis-7.0")
	left, err := filepath.Glob(filepath.Join(dir, "[^.]*")) // but the lock
	if err != nil || len(left) != 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func TestScriptRefuses(t *testing.T) {
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "Usage", nil},
		{2, "Usage", []string{"frobnicate"}},
		{2, "no engine is called redis-3.0", []string{"install", "redis-7.0", "redis-3.0"}},
		{2, "remove what?", []string{"remove"}},
		{2, "not an engine's name", []string{"remove", "../redis-7.0"}},
		{1, "not installed", []string{"remove", "redis-7.0"}},
	} {
		dir := t.TempDir()
		code, out := script(t, dir, c.args...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("engines %v: exit code %d, want %d and %q; it says:\n%s", c.args, code, c.code, c.says, out)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("engines %v left %v, %v", c.args, left, err)
		}
	}
}
