package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
)

// page is a documentation page as it is run: the commands of its sh blocks, one shell
// for all, and what each must print.
type page struct{ script strings.Builder }

// expects marks what the command before it must print.
const expects = "# => "

// read takes the commands out of the page. A command ends with a line that does not go
// on, outside of a function or loop.
func (p *page) read(t *testing.T, text string) (commands int) {
	t.Helper()
	p.script.WriteString("set -uo pipefail\nout=$(mktemp)\ntrap 'rm -f \"$out\"' EXIT\n")
	p.script.WriteString("failed() { echo \"FAILED: $1\"; cat \"$out\"; exit 1; }\n")
	inside, command := false, ""
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case line == "```sh":
			inside = true
		case line == "```":
			if command != "" {
				t.Fatalf("a block ends within the command %q", command)
			}
			inside = false
		case !inside || line == "":
		case strings.HasPrefix(line, expects):
			want := strings.TrimPrefix(line, expects)
			fmt.Fprintf(&p.script, "grep -qF -- %s \"$out\" || failed %s\n", quote(want), quote("it does not print "+want))
		default:
			command += line + "\n"
			if goesOn(command) {
				continue
			}
			commands++
			fmt.Fprintf(&p.script, "{\n%s} >\"$out\" 2>&1 || failed %s\n", command, quote(strings.TrimSpace(command)))
			command = ""
		}
	}
	return commands
}

// goesOn tells whether the shell would wait for more.
func goesOn(command string) bool {
	cmd := exec.Command("bash", "-n")
	cmd.Stdin = strings.NewReader(command)
	return strings.HasSuffix(strings.TrimSuffix(command, "\n"), "\\") || cmd.Run() != nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// TestTheCommandsOfBackupAndRestore runs docs/backup-and-restore.md as it is written.
func TestTheCommandsOfBackupAndRestore(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/backup-and-restore.md")
	if err != nil {
		t.Fatal(err)
	}
	s := startService(t)
	sh := s.shell(east)
	old := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"))
	fill(t, old.Addr(), fewKeys)
	old.Must("CONFIG", "SET", "requirepass", "open sesame")
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
	password := filepath.Join(home, "password")
	if err := os.WriteFile(password, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var p page
	if n := p.read(t, string(text)); n < 30 {
		t.Fatalf("only %d commands are found in the page", n)
	}
	// The page waits for as long as it takes; a snapshot that never comes has to end here.
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-s")
	cmd.Dir, cmd.Stdin = home, strings.NewReader(p.script.String())
	cmd.Env = append(sh.env, "XDG_STATE_HOME="+filepath.Join(home, "state"), "PATH="+filepath.Join(home, "bin")+":"+os.Getenv("PATH"),
		"OLD="+old.Addr(), "OLD_PASSWORD="+password)
	cmd.WaitDelay = patience
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// A page that says something else than what happens does not pass.
func TestAPageThatIsWrongFails(t *testing.T) {
	for text, passes := range map[string]bool{
		"```sh\necho right\n# => right\n```\n":            true,
		"```sh\necho right\n# => wrong\n```\n":            false,
		"```sh\nfalse\n```\n":                             false,
		"```sh\nfalse | cat\n```\n":                       false,
		"```sh\nX=1 \\\n  ; echo $X\n# => 1\n```\n":       true,
		"```sh\nf() {\n  echo in f\n}\nf\n# => in f\n```": true,
		"```\nnot a command\n```\n":                       true,
	} {
		var p page
		p.read(t, text)
		cmd := exec.Command("bash", "-s")
		cmd.Stdin = strings.NewReader(p.script.String())
		if out, err := cmd.CombinedOutput(); (err == nil) != passes {
			t.Errorf("%q: %v\n%s", text, err, out)
		}
	}
}
