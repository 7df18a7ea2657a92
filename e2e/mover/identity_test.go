package mover

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"holdfast.dev/internal/testkit"
)

// TestLiveByAnotherNode: a migration is known again by whatever nodes its clusters are
// named, and nobody else's is.
func TestLiveByAnotherNode(t *testing.T) {
	t.Parallel()
	from := testkit.StartCluster(t, testkit.Engine(t, "redis-7.0"), 2, 0)
	to := testkit.StartCluster(t, testkit.Engine(t, "valkey-9.1"), 2, 0)
	other := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	runs(t, done, "generate", url(from.Primaries[0]), "--keys", "500")
	state := t.TempDir()
	live := func(a, b *testkit.Server, more ...string) *command {
		c := holdfast(t, append([]string{"migrate", url(a), url(b), "--live", "--max-pause", "60s", "--max-lag", "5s", "--no-fence"}, more...)...)
		c.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
		return c
	}
	first := live(from.Primaries[0], to.Primaries[0], "--cutover", "never").start()
	testkit.Wait(t, patience, func() bool { return to.Keys() == 500 }, "the copy")
	// While it works, nobody else does, by whatever name.
	live(from.Primaries[1], to.Primaries[1], "--cutover", "auto", "--on-switch", "true").start().ends(failed).says("another process works on this migration")
	if err := first.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	first.ends(interrupted)
	// Another target is another migration.
	if c := live(from.Primaries[1], other, "--cutover", "auto", "--on-switch", "true").start().ends(done); strings.Contains(c.said(), "going on with") {
		t.Errorf("a migration to another server:\n%s", c.said())
	}
	again := live(from.Primaries[1], to.Primaries[1], "--cutover", "auto", "--on-switch", "true").start().ends(done).says("going on with the migration begun")
	want(t, testkit.ReadContent(t, from.Primaries...), 0, to.Primaries...)
	if strings.Contains(again.said(), "everything is read again") {
		t.Errorf("everything was read again:\n%s", again.said())
	}
}
