package main

import (
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
)

// The target follows as a replica of an engine that it would not replicate from.
func TestLiveBridge(t *testing.T) {
	for _, pair := range [][2]string{{"redis-8.0", "valkey-9.1"}, {"valkey-9.1", "redis-8.0"}, {"redis-6.0", "redis-7.0"}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			from := testkit.StartServer(t, testkit.Engine(t, pair[0]), quick)
			to := testkit.StartServer(t, testkit.Engine(t, pair[1]), quick)
			fillAll(t, from)
			w := startWriters(t, from)
			w.wait(t, 200)
			out, _ := runs(t, 0, liveArgs(t.TempDir(), from, to, "--into", "replica", "--cutover", "auto")...)
			if !strings.Contains(out, "primary of the target at once") || !strings.Contains(out, "compared what had changed, with writes held") {
				t.Errorf("it said: %s", out)
			}
			w.end(t, true)
			w.check(t, to)
			if role := to.Info("replication")["role"]; role != "master" {
				t.Errorf("the target is a %s", role)
			}
			wantSame(t, from, to)
		})
	}
}

// Taken back after the target was parted, the same command begins the target anew.
func TestLiveBridgeTakenBack(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"), quick)
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), quick)
	fillAll(t, from)
	w := startWriters(t, from)
	state := t.TempDir()
	runs(t, 1, liveArgs(state, from, to, "--into", "replica", "--cutover", "auto", "--on-switch", "exit 9")...)
	w.wait(t, w.count()+100)
	runs(t, 0, liveArgs(state, from, to, "--into", "replica", "--cutover", "auto")...)
	w.end(t, true)
	w.check(t, to)
	wantSame(t, from, to)
}
