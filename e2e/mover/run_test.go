package mover

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// Exit codes, as the program documents them.
const (
	done        = 0
	failed      = 1
	misused     = 2
	differ      = 3
	interrupted = 130
)

// patience bounds every wait; on a busy machine all take longer.
const patience = 90 * time.Second

// command is one run of the program.
type command struct {
	*exec.Cmd
	t        *testing.T
	out, err bytes.Buffer
}

// holdfast prepares a run. One that does not end is killed in the end.
func holdfast(t *testing.T, args ...string) *command {
	t.Helper()
	c := &command{Cmd: exec.CommandContext(t.Context(), *program, args...), t: t}
	c.Stdout, c.Stderr = &c.out, &c.err
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// start begins the run.
func (c *command) start() *command {
	c.t.Helper()
	if err := c.Start(); err != nil {
		c.t.Fatal(err)
	}
	return c
}

// ends waits for the end, with one of some exit codes; -1 is an end by a signal.
func (c *command) ends(codes ...int) *command {
	c.t.Helper()
	timeout := time.AfterFunc(2*patience, func() { _ = c.Process.Kill() }) // it ended if this fails
	err := c.Wait()
	if !timeout.Stop() {
		c.t.Fatalf("%v does not end:\n%s", c.Args[1:], c.said())
	}
	got := c.ProcessState.ExitCode()
	for _, code := range codes {
		if got == code {
			return c
		}
	}
	c.t.Fatalf("%v ended with %d (%v), not %v:\n%s", c.Args[1:], got, err, codes, c.said())
	return c
}

// runs is a run from beginning to end.
func runs(t *testing.T, code int, args ...string) *command {
	t.Helper()
	return holdfast(t, args...).start().ends(code)
}

// said is all that it printed.
func (c *command) said() string { return c.out.String() + c.err.String() }

// says fails the test unless each text was printed.
func (c *command) says(texts ...string) *command {
	c.t.Helper()
	for _, text := range texts {
		if !strings.Contains(c.said(), text) {
			c.t.Errorf("%v does not say %q:\n%s", c.Args[1:], text, c.said())
		}
	}
	return c
}

// report is what machines read of a movement.
type report struct {
	Keys     int64
	Error    string
	Verified *struct{ Equal bool }
	// Final is the comparison of a live migration while writes were held.
	Final *struct {
		Equal bool
		Keys  int64
	}
}

// proven tells whether the report says that so many keys were moved and found equal.
func (r report) proven(keys int) bool {
	if r.Final != nil {
		return r.Final.Equal && r.Final.Keys == int64(keys)
	}
	return r.Verified != nil && r.Verified.Equal && r.Keys == int64(keys)
}

func (c *command) report() report {
	c.t.Helper()
	var r report
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
		c.t.Fatalf("%v prints no report: %v\n%s", c.Args[1:], err, c.said())
	}
	return r
}

func url(s *testkit.Server) string { return "redis://" + s.Addr() }

// emptied makes a server hold nothing.
func emptied(s *testkit.Server) {
	s.Must("FLUSHALL")
	if s.Build.Functions {
		s.Must("FUNCTION", "FLUSH")
	}
}

// want fails the test unless a server holds exactly what is wanted.
func want(t *testing.T, wanted *testkit.Content, tolerance time.Duration, servers ...*testkit.Server) {
	t.Helper()
	got := wanted.Differences(testkit.ReadContent(t, servers...), tolerance)
	if len(got) > 0 {
		t.Errorf("%d differences; A is what is wanted, B what is there:\n%s", len(got), strings.Join(got[:min(len(got), 20)], "\n"))
	}
}

// keys is how many a server has in all databases.
func keys(t *testing.T, s *testkit.Server) int {
	t.Helper()
	return len(testkit.ReadContent(t, s).Keys)
}

// left lists what a command left in a directory.
func left(t *testing.T, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.Name()
	}
	return names
}

// write makes a file.
func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
