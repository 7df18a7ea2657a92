package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheCommandsOfTLS runs docs/tls.md as it is written.
func TestTheCommandsOfTLS(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/tls.md")
	if err != nil {
		t.Fatal(err)
	}
	s := startService(t)
	home := t.TempDir()
	for name, to := range map[string]string{"state/holdfast": s.dir, "bin/holdfast": program} {
		link := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	var p page
	if n := p.read(t, string(text)); n < 15 {
		t.Fatalf("only %d commands are found in the page", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-s")
	cmd.Dir, cmd.Stdin = home, strings.NewReader(p.script.String())
	cmd.Env = append(s.shell(east).env, "XDG_STATE_HOME="+filepath.Join(home, "state"), "PATH="+filepath.Join(home, "bin")+":"+redisCLI(t)+":"+os.Getenv("PATH"))
	cmd.WaitDelay = patience
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
