package mover

import (
	"os"
	"path/filepath"
	"testing"

	"holdfast.dev/internal/testkit"
)

// limited is a run that may write no file beyond some tens of kilobytes: for it, the disk is full.
func limited(t *testing.T, args ...string) *command {
	t.Helper()
	c := holdfast(t, args...)
	c.Args = append([]string{"sh", "-c", `ulimit -f 100; exec "$0" "$@"`, *program}, args...)
	c.Path = "/bin/sh"
	return c
}

// TestDiskFull: where the file does not fit, or the temporary one, there is no file
// and an exit code that says so.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	f := filler{s: s}
	f.seed()
	s.Must("SET", "large", f.noise(threeMB))
	content := testkit.ReadContent(t, s)
	for _, by := range []string{"replica", "commands"} {
		t.Run(by, func(t *testing.T) {
			dir, spool := t.TempDir(), t.TempDir()
			path := filepath.Join(dir, "x.rdb")
			c := limited(t, "backup", url(s), path, "--from", by)
			c.Env = append(os.Environ(), "TMPDIR="+spool)
			c.start().ends(failed).says("file too large")
			if names := append(left(t, dir), left(t, spool)...); len(names) > 0 {
				t.Errorf("left behind: %q", names)
			}
			c = holdfast(t, "backup", url(s), "-", "--from", by)
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skipf("LOUD SKIP: %v", err)
			}
			defer full.Close()
			c.Stdout = full
			c.start().ends(failed).says("no space left on device")
			want(t, content, 0, s)
		})
	}
	t.Run("migrate", func(t *testing.T) {
		to, spool := testkit.StartServer(t, s.Build), t.TempDir()
		c := limited(t, "migrate", url(s), url(to), "--from", "commands")
		c.Env = append(os.Environ(), "TMPDIR="+spool)
		c.start().ends(failed).says("file too large", "nothing was moved")
		if n := keys(t, to); n > 0 {
			t.Errorf("%d keys were moved", n)
		}
	})
}
