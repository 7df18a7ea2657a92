package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// moved is what is told of a migration.
type moved struct {
	Keys, Bytes int64
	Functions   int
	Into        intoReport
	Read        readReport
	Verified    struct{ Equal bool }
}

func migrated(t *testing.T, args ...string) (m moved) {
	t.Helper()
	out, _ := runs(t, 0, append([]string{"migrate", "--from", "replica", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// What a source streams goes to an empty server that nobody uses as it does to a
// replica: as it is where the server loads it so, and written anew where not.
func TestMigrateStream(t *testing.T) {
	for _, pair := range [][2]string{
		{"redis-7.0", "redis-7.0"},
		{"valkey-8.1", "valkey-8.1"},
		{"valkey-9.1", "valkey-9.1"},
		{"redis-6.0", "redis-7.0"},
		{"redis-7.0", "valkey-8.1"},
		{"redis-7.0", "valkey-9.1"},
		{"valkey-9.1", "valkey-8.1"},
	} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			from := testkit.StartServer(t, testkit.Engine(t, pair[0]), testkit.Config("repl-diskless-sync-delay 0"))
			to := testkit.StartServer(t, testkit.Engine(t, pair[1]))
			fillAll(t, from)
			from.Must("CONFIG", "SET", "rdbcompression", "no")
			from.Must("SETRANGE", "large", 9<<20, "end")
			unwatched(to)
			m := migrated(t, url(from), url(to))
			if m.Into.Road != intoReplica || m.Into.Why != "" || !m.Verified.Equal || m.Keys != 2001 || m.Bytes < 9<<20 || m.Read.Road != roadReplica {
				t.Errorf("%+v", m)
			}
			if diff := testkit.ReadContent(t, from).Differences(testkit.ReadContent(t, to), 2*time.Millisecond); len(diff) > 0 {
				t.Errorf("%d differences, the first: %s", len(diff), diff[0])
			}
			wantFunctions(t, to, from.Build.Line() != "redis-6.0")
			if role := to.Info("replication")["role"]; role != "master" {
				t.Errorf("it is left a %s", role)
			}
			if names := to.Must("CONFIG", "GET", "repl-diskless-load").([]any); names[1] != "disabled" {
				t.Errorf("repl-diskless-load is left %v", names[1])
			}
		})
	}
}

// A target that is used, or holds something, and a source of which not everything is
// meant, go by commands, and the report says why.
func TestMigrateStreamRefused(t *testing.T) {
	b := testkit.Engine(t, "valkey-8.1")
	from := testkit.StartServer(t, b, testkit.Config("repl-diskless-sync-delay 0"))
	fillAll(t, from)
	to := testkit.StartServer(t, b)
	try := func(want string, args ...string) {
		t.Helper()
		m := migrated(t, append(args, url(from), url(to))...)
		if m.Into.Road != intoRestore || !strings.Contains(m.Into.Why, want) || !m.Verified.Equal {
			t.Errorf("%q: %+v", want, m)
		}
	}
	to.Must("PING")
	try("others are connected")
	emptied(to)
	to.Must("SET", "own", "1")
	unwatched(to)
	try("not empty", "--replace")
	if to.Do("GET", "own") != "1" {
		t.Error("what it held is gone")
	}
	emptied(to)
	unwatched(to)
	try("left out", "--match", "*")
	// Without the functions the rest is as in a file that is written anew.
	emptied(to)
	unwatched(to)
	if m := migrated(t, "--without-functions", url(from), url(to)); m.Into.Road != intoReplica || m.Functions != 0 || !m.Verified.Equal {
		t.Errorf("%+v", m)
	}
	wantFunctions(t, to, false)
}

// A value that the target cannot hold ends the copy, leaves nothing, and the error says
// what would do without it.
func TestMigrateStreamLoss(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), testkit.Config("repl-diskless-sync-delay 0"))
	from.Must("HSETEX", "h", "EX", 10_000, "FIELDS", 1, "f", "v")
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	unwatched(to)
	_, said := runs(t, 1, "migrate", "--from", "replica", url(from), url(to))
	if !strings.Contains(said, `"h"`) || !strings.Contains(said, "--without-field-ttls") {
		t.Error(said)
	}
	if role := to.Info("replication")["role"]; role != "master" || to.Must("DBSIZE") != int64(0) {
		t.Errorf("a %s with %v keys", role, to.Must("DBSIZE"))
	}
}

// A stream that is cut, by the source's death or by ours, leaves nothing of it behind: the
// target is an empty primary again, and the same command does it all.
func TestMigrateStreamCut(t *testing.T) {
	b := testkit.Engine(t, "redis-7.0")
	for name, tc := range map[string]struct {
		cut  func(t *testing.T, from *testkit.Server, c *command)
		code int
	}{
		"source dies": {func(_ *testing.T, from *testkit.Server, _ *command) { from.Kill() }, exitFailed},
		"interrupted": {interrupt, exitInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			// A millisecond and more for each key: it is under way for as long as is needed.
			from := testkit.StartServer(t, b, testkit.Config("repl-diskless-sync-delay 0", "rdb-key-save-delay 1000"))
			from.Must("DEBUG", "POPULATE", 100_000, "k", 1000)
			to := testkit.StartServer(t, b)
			unwatched(to)
			c := newCommand(t, "migrate", "--from", "replica", "--no-verify", url(from), url(to))
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			// The target follows us before the source is asked. It does not answer while it waits
			// for the next byte, and to look at it sooner would be to be seen.
			testkit.Wait(t, 60*time.Second, func() bool {
				info := from.Info("persistence")
				return info["rdb_bgsave_in_progress"] == "1" && len(info["current_save_keys_processed"]) > 2
			}, "the source to send hundreds of keys")
			tc.cut(t, from, c)
			if said := c.ends(t, tc.code); tc.code == exitFailed && !strings.Contains(said, "is a primary again, and keeps nothing") {
				t.Errorf("it does not say what the target holds: %s", said)
			}
			if role := to.Info("replication")["role"]; role != "master" || to.Must("DBSIZE") != int64(0) {
				t.Errorf("a %s with %v keys", role, to.Must("DBSIZE"))
			}
		})
	}
}

// What is wrong in a stream never reaches the target, which would end itself over some of it.
func TestMigrateStreamDamaged(t *testing.T) {
	b := testkit.Engine(t, "valkey-8.1")
	from := testkit.StartServer(t, b, testkit.Config("repl-diskless-sync-delay 0"))
	from.Must("DEBUG", "POPULATE", 20_000, "k", 100)
	path := filepath.Join(t.TempDir(), "x.rdb")
	runs(t, 0, "backup", "--from", "replica", url(from), path)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := testkit.StartServer(t, b)
	opt := at(to)
	pass := func(file []byte) error {
		p, err := sink.NewPrimary(t.Context(), opt, sink.PrimaryOptions{})
		if err == nil {
			err = p.CallAsIs(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		src := newReplicaSource("here", io.NopCloser(bytes.NewReader(file)), source.Info{})
		steps := &phases{group: newProgressGroup(io.Discard)}
		defer steps.done()
		m := &movement{dst: &end{name: "there", server: &opt}, steps: steps}
		return errors.Join(m.passOn(t.Context(), src, p, 0), src.Close())
	}
	changed := func(i int, to byte) []byte {
		b := bytes.Clone(file)
		b[i] = to
		return b
	}
	for what, file := range map[string][]byte{
		"its checksum":   changed(len(file)-1, file[len(file)-1]^1),
		"a type":         changed(bytes.LastIndex(file, []byte("\x07k:10000"))-1, 250),
		"its end":        file[:len(file)-4],
		"more behind it": append(bytes.Clone(file), 0),
	} {
		if err := pass(file); err == nil || !strings.Contains(err.Error(), "keeps nothing") {
			t.Errorf("%s: %v", what, err)
		}
		if role := to.Info("replication")["role"]; role != "master" || to.Must("DBSIZE") != int64(0) {
			t.Errorf("%s: a %s with %v keys", what, role, to.Must("DBSIZE"))
		}
	}
	if err := pass(file); err != nil || to.Must("DBSIZE") != int64(20_000) {
		t.Errorf("%v, %v keys", err, to.Must("DBSIZE"))
	}
}

func TestLoadsAsIs(t *testing.T) {
	v := func(engine string, major, minor int) resp.Server {
		return resp.Server{Engine: engine, Major: major, Minor: minor}
	}
	all := []resp.Server{v("redis", 6, 0), v("redis", 7, 0), v("redis", 7, 2), v("redis", 8, 0), v("valkey", 8, 1), v("valkey", 9, 1), v("dragonfly", 1, 0)}
	for i, from := range all {
		for j, to := range all {
			want := from.Engine == to.Engine && i <= j && slices.Contains([]int{0, 1, 2, 3, 4, 5}, i)
			if got := loadsAsIs(from, to); got != want {
				t.Errorf("%v into %v: %v", from, to, got)
			}
		}
	}
}
