package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
)

// TestTheCommandsOfUsers runs docs/users.md as it is written.
func TestTheCommandsOfUsers(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/users.md")
	if err != nil {
		t.Fatal(err)
	}
	s := startService(t)
	sh := s.shell(east)
	home := t.TempDir()
	for _, dir := range []string{"state", "bin"} {
		if err := os.Mkdir(filepath.Join(home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"state/holdfast": s.dir, "bin/holdfast": program} {
		if err := os.Symlink(to, filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	// A bundle's program finds its libraries beside itself.
	client := "#!/bin/sh\nexec " + quote(testkit.Engine(t, "redis-7.0").CLI) + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(home, "bin/redis-cli"), []byte(client), 0o700); err != nil {
		t.Fatal(err)
	}
	var p page
	if n := p.read(t, string(text)); n < 20 {
		t.Fatalf("only %d commands are found in the page", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-s")
	cmd.Dir, cmd.Stdin = home, strings.NewReader(p.script.String())
	cmd.Env = append(sh.env, "XDG_STATE_HOME="+filepath.Join(home, "state"), "PATH="+filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
	cmd.WaitDelay = patience
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
