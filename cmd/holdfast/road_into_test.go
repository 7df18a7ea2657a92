package main

import (
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// An empty server that nobody uses is filled as our replica; the report says so, and
// why where it was not. What was asked for is done, or refused.
func TestRestoreInto(t *testing.T) {
	dir := t.TempDir()
	from := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	fillAll(t, from)
	file, strings9 := filepath.Join(dir, "all.rdb"), filepath.Join(dir, "plain.rdb")
	runs(t, 0, "generate", strings9, "--keys", "3000")
	runs(t, 0, "backup", url(from), file)
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		args := []string{"restore", strings9}
		if b.Line() == "valkey-9.1" {
			args = []string{"restore", file}
		}
		to := testkit.StartServer(t, b)
		for _, tc := range []struct {
			code int
			want string
			args []string
		}{
			{0, "filled as our replica", nil},
			{1, "holds keys already", []string{"--into", "replica"}},
			{0, "filled as our replica", []string{"--into", "replica", "--replace"}},
			{0, "not as our replica", []string{"--replace"}},
		} {
			unwatched(to)
			out, said := runs(t, tc.code, append(append(args, url(to)), tc.args...)...)
			if !strings.Contains(out+said, tc.want) || tc.code == 0 && !strings.HasSuffix(out, "identical\n") {
				t.Errorf("%v: %s%s", tc.args, out, said)
			}
		}
		to.Must("FLUSHALL")
		to.Must("PING") // whoever is connected is not to be disturbed
		out, _ := runs(t, 0, append(args, url(to))...)
		if !strings.Contains(out, "1 others are connected") || to.Info("replication")["role"] != "master" {
			t.Error(out)
		}
	})
}

// unwatched ends the connection that the test itself has to a server, at both ends.
func unwatched(s *testkit.Server) {
	_, err := s.Try("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no") // it may cut the answer off too
	if err == nil {
		_, _ = s.Try("PING") // it cannot be answered any more, and so the next call makes another one
	}
}

// A server that lets nobody call REPLICAOF is filled by RESTORE all the same.
func TestRestoreWithoutReplicaOf(t *testing.T) {
	to := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Config(`rename-command REPLICAOF ""`))
	file := filepath.Join(t.TempDir(), "x.rdb")
	runs(t, 0, "generate", file, "--keys", "1000")
	unwatched(to)
	if _, said := runs(t, 1, "restore", file, url(to), "--into", "replica"); !strings.Contains(said, "nothing was moved") || !strings.Contains(said, "REPLICAOF") {
		t.Error(said)
	}
	out, _ := runs(t, 0, "restore", file, url(to))
	if !strings.Contains(out, "filled by RESTORE and SET\n  not as our replica") || !strings.HasSuffix(out, "identical\n") {
		t.Error(out)
	}
}
