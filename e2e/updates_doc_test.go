package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestTheCommandsOfServiceUpdates runs docs/service-updates.md as it is written, where a
// later patch has just been installed.
func TestTheCommandsOfServiceUpdates(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/service-updates.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newService(t)
	engines := t.TempDir()
	installed(t, engines, "redis-7.0.15")
	env := []string{"HOLDFAST_ENGINES_DIR=" + engines, "PATH=/nowhere"}
	s.start(env...)
	in := groupRequest("orders", "redis", "7.0", 2)
	in.PreferredMaintenanceWindow = window(false)
	s.createGroup(east, in)
	s.stop()
	laterPatch(t, engines, "redis", "7.0.15", "7.0.99")
	s.start(env...)
	var p page
	if n := p.read(t, string(text)); n != 7 {
		t.Fatalf("%d commands are found in the page", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-s")
	cmd.Stdin, cmd.Env = strings.NewReader(p.script.String()), s.shell(east).env
	cmd.WaitDelay = patience
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
