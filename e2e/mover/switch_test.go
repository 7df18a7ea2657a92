package mover

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// switching runs a live migration whose switch is a script, and returns when the script
// has written pids into a file: its own, and that of a child that goes on by itself.
func switching(t *testing.T, then string) (c *command, group, child int) {
	t.Helper()
	from, to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1")), testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	fillOne(t, from)
	pids := filepath.Join(t.TempDir(), "pids")
	script := fmt.Sprintf("sleep 600 >/dev/null 2>&1 & echo $$ $! > %[1]s.new && mv %[1]s.new %[1]s; %[2]s", pids, then)
	c = holdfast(t, "migrate", url(from), url(to), "--live", "--cutover", "auto", "--state-dir", t.TempDir(),
		"--max-pause", "60s", "--max-lag", "5s", "--no-fence", "--on-switch", script)
	c.WaitDelay = 10 * time.Second // after it was killed others may have its output
	c.start()
	testkit.Wait(t, patience, func() bool {
		b, err := os.ReadFile(pids)
		if err != nil {
			return false
		}
		_, err = fmt.Sscan(string(b), &group, &child)
		return err == nil
	}, "the switch to begin")
	// Whatever becomes of the test, nothing stays.
	t.Cleanup(func() { _ = syscall.Kill(-group, syscall.SIGKILL) })
	return c, group, child
}

// living are the processes of a group that have not ended.
func living(t *testing.T, group int) (names []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		open, shut := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
		var state string
		var parent, of int
		if _, err := fmt.Sscan(string(b[shut+1:]), &state, &parent, &of); err == nil && of == group && state != "Z" && state != "X" {
			names = append(names, string(b[open+1:shut]))
		}
	}
	return names
}

// TestSwitchDiesWithUs: a switch that we do not wait for any more does not go on, since
// the source takes writes again soon after we died. Nor do the programs that it started.
func TestSwitchDiesWithUs(t *testing.T) {
	t.Parallel()
	c, group, _ := switching(t, "wait")
	if len(living(t, group)) < 2 {
		t.Fatalf("only %q run", living(t, group))
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.ends(-1)
	testkit.Wait(t, 0, func() bool { return len(living(t, group)) == 0 }, "the switch to end with us; %v go on", lazily(func() any { return living(t, group) }))
}

// TestSwitchLeavesWhatItStarted: what a switch that succeeded leaves running goes on, and
// nothing of ours is with it.
func TestSwitchLeavesWhatItStarted(t *testing.T) {
	t.Parallel()
	c, group, child := switching(t, "true")
	c.ends(done)
	testkit.Wait(t, patience, func() bool { return len(living(t, group)) <= 1 }, "only sleep to be left; there are %v", lazily(func() any { return living(t, group) }))
	if err := syscall.Kill(child, 0); err != nil {
		t.Errorf("what the switch left running: %v", err)
	}
	// Its failure is told as it is.
	failing, group, _ := switching(t, "exit 7")
	failing.ends(failed).says("exit status 7")
	testkit.Wait(t, patience, func() bool { return len(living(t, group)) <= 1 }, "only sleep to be left of what failed; there are %v", lazily(func() any { return living(t, group) }))
}

// lazily is text that is made when it is printed.
type lazily func() any

func (l lazily) String() string { return fmt.Sprint(l()) }
