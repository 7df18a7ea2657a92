package main

import (
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
)

// A managed source: its user may read and listen, and neither join as a replica nor
// hold writes nor configure anything.
func TestLiveFromRestrictedUser(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fillAll(t, from)
	from.Must("ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*", "+@read", "+@connection", "+@transaction", "-client|pause", "-client|unpause",
		"+info", "+time", "+function|dump", "+function|list", "+memory|usage", "+xinfo")
	src := "redis://reader:secret@" + from.Addr()
	args := []string{"migrate", src, url(to), "--live", "--cutover", "auto", "--state-dir", t.TempDir()}
	_, said := runs(t, 1, args...)
	if !strings.Contains(said, "client|pause") {
		t.Errorf("it said: %s", said)
	}
	w := startWriters(t, from)
	w.wait(t, 100)
	c := newCommand(t, append(args, "--hold", "none")...)
	if err := c.Run(); err == nil || !strings.Contains(c.err.String(), "written to while both ends were compared") && !strings.Contains(c.err.String(), "both ends differ") {
		t.Errorf("with writers at work it ended with %v and said: %s", err, &c.err)
	}
	w.end(t, false)
	out, _ := runs(t, 0, append(args, "--hold", "none")...)
	if !strings.Contains(out, "commands of ordinary clients") {
		t.Errorf("it said: %s", out)
	}
	w.check(t, to)
	wantSameContent(t, from, to)
}
