package main

import (
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

// Every command that is broken off by a signal midway exits with 130, says so as
// JSON where JSON was asked for, and leaves no file.
func TestSignals(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	to := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.rdb")
	runs(t, 0, "generate", url(from), "--keys", "20000")
	runs(t, 0, "generate", whole, "--keys", "20000")
	slow := []string{"-o", "json", "--max-keys-per-second", "100"}
	for i, args := range [][]string{
		{"backup", url(from), filepath.Join(dir, "x.rdb")},
		{"migrate", url(from), url(to)},
		{"verify", url(from), whole},
		{"verify", whole, url(from)},
		{"fingerprint", url(from)},
		{"restore", whole, url(from), "--replace"},
	} {
		sig := []os.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
		t.Run(args[0]+" "+sig.String(), func(t *testing.T) {
			from.Must("CONFIG", "RESETSTAT")
			c := newCommand(t, append(args, slow...)...)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			testkit.Wait(t, time.Minute, func() bool {
				stats := from.Info("commandstats")
				return stats["cmdstat_scan"] != "" || stats["cmdstat_set"] != ""
			}, "it to begin")
			if err := c.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			c.ends(t, exitInterrupted)
			var r struct {
				Error string `json:"error"`
			}
			if err := json.Unmarshal([]byte(c.out.String()), &r); err != nil || r.Error == "" {
				t.Errorf("%v: %s", err, &c.out)
			}
		})
	}
	if got := left(t, dir); len(got) != 1 {
		t.Errorf("left behind: %q", got)
	}
}

// A command that fails says why as JSON too, and where standard output is the
// data's, on standard error.
func TestFailuresAsJSON(t *testing.T) {
	nowhere := "redis://127.0.0.1:1"
	for _, args := range [][]string{
		{"backup", nowhere, "x.rdb"},
		{"restore", "none.rdb", nowhere},
		{"migrate", nowhere, nowhere},
		{"verify", nowhere, "none.rdb"},
		{"fingerprint", "none.rdb"},
		{"inspect", "none.rdb"},
		{"generate", nowhere},
		{"backup", nowhere, "-"},
		{"generate", "--keys", "-1", "-"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			code := exitFailed
			if args[0] == "generate" && args[1] == "--keys" {
				code = exitUsage
			}
			out, said := runs(t, code, append(args, "-o", "json")...)
			if args[len(args)-1] == "-" {
				if out != "" {
					t.Errorf("among the data: %s", out)
				}
				out, _, _ = strings.Cut(said, "\nholdfast:")
			}
			var r struct {
				Error string `json:"error"`
			}
			if err := json.Unmarshal([]byte(out), &r); err != nil || r.Error == "" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// What a kill leaves of a file is gone when the next run has written it.
func TestKilledFileIsSweptUp(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.rdb")
	c := newCommand(t, "generate", file, "--keys", "1000000000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Wait(t, time.Minute, func() bool { return len(left(t, dir)) == 1 }, "it to begin")
	// While it writes, what it writes is not left over.
	runs(t, 0, "generate", file, "--keys", "10")
	if got := left(t, dir); len(got) != 2 {
		t.Errorf("beside a writer there are %q", got)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // killed
	runs(t, 0, "generate", file, "--keys", "10")
	if got := left(t, dir); len(got) != 1 || got[0] != "x.rdb" {
		t.Errorf("there are %q", got)
	}
}

// The playground's data go to redis-cli by the command that the docs give.
func TestPlaygroundThroughPipe(t *testing.T) {
	b := testkit.Engine(t, "redis-7.0")
	if b.CLI == "" {
		t.Skip("SKIPPED: the build " + b.Name + " has no redis-cli")
	}
	s := testkit.StartServer(t, b)
	ours := newCommand(t, "generate", "--keys", "100000", "--preset", "playground", "--resp", "-")
	ours.Stdout = nil
	pipe, err := ours.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	theirs := exec.CommandContext(t.Context(), b.CLI, "-h", s.Host, "-p", port(s), "--pipe")
	theirs.Stdin, theirs.Env = pipe, append(os.Environ(), b.Env...)
	if err := ours.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := theirs.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "errors: 0, replies: 100000") {
		t.Errorf("redis-cli says %v: %s", err, said)
	}
	ours.ends(t, 0)
	key, ok := s.Must("RANDOMKEY").(string)
	if n := s.Must("DBSIZE"); n != int64(100000) || !ok || len(key) != 32 || len(s.Must("GET", key).(string)) != 256 {
		t.Errorf("%v keys such as %q", n, key)
	}
}

func port(s *testkit.Server) string { return s.Addr()[strings.LastIndexByte(s.Addr(), ':')+1:] }
