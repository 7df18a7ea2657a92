package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// switching is a command for --on-switch that tells that it runs, and waits to be told to end.
type switching struct{ mark, over string }

func newSwitching(t *testing.T) switching {
	dir := t.TempDir()
	return switching{filepath.Join(dir, "mark"), filepath.Join(dir, "over")}
}

func (s switching) command() string {
	return "echo $$ > " + s.mark + ".new; mv " + s.mark + ".new " + s.mark +
		"; while [ ! -e " + s.over + " ] && kill -0 $PPID; do sleep 0.1; done"
}

// runs waits until it does, and returns its process.
func (s switching) runs(t *testing.T, c *command) int {
	t.Helper()
	waitFile(t, s.mark, c)
	text, err := os.ReadFile(s.mark)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// end has it end well, which switches the clients.
func (s switching) end(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(s.over, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func waitFile(t *testing.T, name string, c *command) {
	t.Helper()
	testkit.Wait(t, patience, func() bool { _, err := os.Stat(name); return err == nil }, "%s is never made: %s", name, &c.err)
}

func begin(t *testing.T, args ...string) *command {
	t.Helper()
	c := newCommand(t, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// A run that is killed when clients may have been switched already is not gone on
// with where they wrote to the target: that would take their writes away.
func TestLiveKilledWhenClientsWereSwitched(t *testing.T) {
	for _, into := range []string{intoRestore, intoReplica} {
		t.Run(into, func(t *testing.T) {
			from := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
			to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), quick)
			fillMixed(t, from)
			from.Must("SET", "cart", "old")
			state, s := t.TempDir(), newSwitching(t)
			args := liveArgs(state, from, to, "--cutover", "auto", "--into", into)
			c := begin(t, append(args, "--switch-within", "5m", "--on-switch", s.command())...)
			s.runs(t, c)
			to.Must("SET", "cart", "new") // a client that was switched
			if err := c.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			c.ends(t, -1)
			if _, said := runs(t, 1, args...); !strings.Contains(said, "was written to") || !strings.Contains(said, state) {
				t.Errorf("it said: %s", said)
			}
			if got := to.Must("GET", "cart"); got != "new" {
				t.Fatalf("the client's write is gone: %v", got)
			}
			runs(t, 0, append(args, "--restart", "--replace-all")...)
			wantSame(t, from, to)
		})
	}
}

// A write that the source took while clients were switched is not kept quiet.
func TestLiveLeaks(t *testing.T) {
	for _, line := range []string{"redis-7.0", "valkey-8.1"} { // the latter tells that the pause has ended
		t.Run(line, func(t *testing.T) {
			from := testkit.StartServer(t, testkit.Engine(t, line), quick)
			to := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), quick)
			fillMixed(t, from)
			s := newSwitching(t)
			c := begin(t, liveArgs(t.TempDir(), from, to, "--cutover", "auto", "--switch-within", "5m", "--on-switch", s.command())...)
			s.runs(t, c)
			unpausedFor(t, from, "SET leak 1")
			s.end(t)
			said := c.ends(t, 1)
			if !strings.Contains(said, "clients were switched") && !strings.Contains(said, "clients stay at the source") {
				t.Errorf("it said: %s", said)
			}
			if strings.Contains(said, "clients stay at the source") {
				return // it was seen before they were switched
			}
			if !strings.Contains(said, "took writes that the target does not have") || strings.Contains(said, "same command goes on") {
				t.Errorf("it said: %s", said)
			}
		})
	}
}

// unpausedFor has a server whose writes are held carry one out. Both commands come in one
// packet, between which nothing can hold writes again.
func unpausedFor(t *testing.T, s *testkit.Server, write string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Addr(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("CLIENT UNPAUSE\r\n" + write + "\r\n")); err != nil {
		t.Fatal(err)
	}
	replies := make([]byte, len("+OK\r\n+OK\r\n"))
	if _, err := io.ReadFull(conn, replies); err != nil || string(replies) != "+OK\r\n+OK\r\n" {
		t.Fatalf("%q: %v", replies, err)
	}
}

// A source that could not be released is not said to be as it was, and the same
// command releases it.
func TestLiveCannotRelease(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"), quick)
	to := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
	fillMixed(t, from)
	from.Must("ACL", "SETUSER", "mover", "on", ">pw", "~*", "+@all")
	state, s := t.TempDir(), newSwitching(t)
	args := []string{"migrate", "redis://mover:pw@" + from.Addr(), url(to), "--live", "--state-dir", state, "--cutover", "auto"}
	c := begin(t, append(args, "--switch-within", "5m", "--on-switch", s.command()+"; exit 1")...)
	s.runs(t, c)
	from.Must("ACL", "SETUSER", "mover", "-config")
	s.end(t)
	if said := c.ends(t, 1); !strings.Contains(said, "still refuses writes") || !strings.Contains(said, "CONFIG SET min-replicas-to-write 0") ||
		strings.Contains(said, "as it was") || strings.Contains(said, "which was released") {
		t.Errorf("it said: %s", said)
	}
	from.Must("ACL", "SETUSER", "mover", "+config")
	runs(t, 0, append(args, "--no-fence")...)
	from.Must("SET", "again", "1") // it takes writes again
}

// A command that switches clients and takes too long is ended with all that it began.
func TestLiveSwitchTooLong(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick)
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), quick)
	fillMixed(t, from)
	for _, within := range []string{"1s", "10s", "60s"} { // a busy machine takes long to begin it
		s := newSwitching(t)
		t.Cleanup(func() { s.end(t) }) // whatever becomes of it
		nested := "/bin/sh -c '" + strings.ReplaceAll(s.command(), " && kill -0 $PPID", "") + "' & wait"
		c := begin(t, liveArgs(t.TempDir(), from, to, "--cutover", "auto", "--replace-all", "--switch-within", within, "--on-switch", nested)...)
		if said := c.ends(t, 1); !strings.Contains(said, "--switch-within") || !strings.Contains(said, "clients stay at the source") {
			t.Errorf("it said: %s", said)
		}
		from.Must("SET", "again", "1")
		if _, err := os.Stat(s.mark); err != nil {
			continue // it was ended before it had begun anything
		}
		pid := s.runs(t, c)
		testkit.Wait(t, patience, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) }, "what it began goes on")
		return
	}
	t.Fatal("it was never begun")
}

func zombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}

// Whatever waited for the source to take writes again is refused after the switch,
// and nothing of it is carried out.
func TestLiveFenceRefusesWhatWaited(t *testing.T) {
	for _, line := range []string{"redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9.1"} {
		t.Run(line, func(t *testing.T) {
			from := testkit.StartServer(t, testkit.Engine(t, line), quick)
			to := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), quick)
			if line != "valkey-9.1" {
				fillMixed(t, from)
			}
			from.Must("FUNCTION", "LOAD", "#!lua name=w\nredis.register_function('w', function(k) return redis.call('SET', k[1], 'late') end)")
			from.Must("RPUSH", "queue", "job")
			queued := dialed(t, from)
			for _, args := range [][]string{{"MULTI"}, {"SET", "late:queued", "late"}} {
				if _, err := queued.Do(t.Context(), args...); err != nil {
					t.Fatal(err)
				}
			}
			s := newSwitching(t)
			c := begin(t, liveArgs(t.TempDir(), from, to, "--cutover", "auto", "--switch-within", "5m", "--on-switch", s.command())...)
			s.runs(t, c)
			waits := map[string]<-chan error{
				"EXEC":    late(t, queued, "EXEC"),
				"SET":     late(t, dialed(t, from), "SET", "late:set", "late"),
				"Lua":     late(t, dialed(t, from), "EVAL", "return redis.call('SET', KEYS[1], 'late')", "1", "late:lua"),
				"shebang": late(t, dialed(t, from), "EVAL", "#!lua\nreturn redis.call('SET', KEYS[1], 'late')", "1", "late:shebang"),
				"FCALL":   late(t, dialed(t, from), "FCALL", "w", "1", "late:fcall"),
				"BLPOP":   late(t, dialed(t, from), "BLPOP", "queue", "0"),
				"EXPIRE":  late(t, dialed(t, from), "PEXPIRE", "queue", "1"),
				"FLUSH":   late(t, dialed(t, from), "FLUSHALL"),
			}
			testkit.Wait(t, patience, func() bool {
				n, err := strconv.Atoi(from.Info("clients")["blocked_clients"])
				return err == nil && n >= len(waits)
			}, "the clients do not wait")
			s.end(t)
			c.ends(t, 0)
			for what, answer := range waits {
				if err := <-answer; err == nil || !strings.Contains(err.Error(), "NOREPLICAS") {
					t.Errorf("%s was answered: %v", what, err)
				}
			}
			if left := from.Must("KEYS", "late:*").([]any); len(left) > 0 || from.Must("LLEN", "queue") != int64(1) || from.Must("PTTL", "queue") != int64(-1) {
				t.Errorf("the source took %v", left)
			}
			wantSame(t, from, to)
		})
	}
}

// Where the user may not configure the source, it cannot be made to refuse writes: they
// wait for good. What waited before is dropped.
func TestLiveFenceWithoutConfig(t *testing.T) {
	for _, line := range []string{"redis-7.0", "valkey-9.1"} {
		t.Run(line, func(t *testing.T) { fenceWithoutConfig(t, line) })
	}
}

func fenceWithoutConfig(t *testing.T, line string) {
	from := testkit.StartServer(t, testkit.Engine(t, line), quick)
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), quick)
	if line != "valkey-9.1" {
		fillMixed(t, from)
	}
	from.Must("ACL", "SETUSER", "mover", "on", ">pw", "~*", "&*", "+@all", "-config")
	s := newSwitching(t)
	c := begin(t, "migrate", "redis://mover:pw@"+from.Addr(), url(to), "--live", "--state-dir", t.TempDir(), "--cutover", "auto",
		"--switch-within", "5m", "--on-switch", s.command())
	s.runs(t, c)
	answer := late(t, dialed(t, from), "SET", "late", "1")
	testkit.Wait(t, patience, func() bool { return from.Info("clients")["blocked_clients"] == "1" }, "the client does not wait")
	s.end(t)
	c.ends(t, 0)
	if err := <-answer; err == nil {
		t.Error("a write that waited was acknowledged after the switch")
	}
	_, _ = from.Try("PING") // the connection of the test itself was ended too
	if from.Must("EXISTS", "late") != int64(0) {
		t.Error("a write that waited was carried out after the switch")
	}
	if out := c.out.String(); !strings.Contains(out, "CLIENT UNPAUSE") || strings.Contains(out, "MAY STILL TAKE WRITES") {
		t.Errorf("it is not said how writes are kept away: %s", out)
	}
	wantSame(t, from, to)
	answer = late(t, dialed(t, from), "SET", "late", "2")
	testkit.Wait(t, patience, func() bool { return from.Info("clients")["blocked_clients"] == "1" }, "a write after the switch does not wait")
	if n := from.Must("EXISTS", "late"); n != int64(0) {
		t.Error("a write after the switch was carried out")
	}
	const years = 9 * 365 * 24 * 3600 * 1000
	if text, told := from.Info("clients")["paused_timeout_milliseconds"]; told {
		if left, err := strconv.ParseInt(text, 10, 64); err != nil || left < years {
			t.Errorf("writes wait for %s ms: %v", text, err)
		}
	} else if line == "valkey-9.1" {
		t.Error("for how long writes wait is not told")
	}
	from.Must("CLIENT", "UNPAUSE")
	if err := <-answer; err != nil {
		t.Errorf("after the undoing: %v", err)
	}
}

func dialed(t *testing.T, s *testkit.Server) *resp.Conn {
	t.Helper()
	c, err := resp.Dial(t.Context(), resp.Options{Addr: s.Addr(), Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// late sends a command and hands over its reply.
func late(t *testing.T, c *resp.Conn, args ...string) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := c.Do(context.Background(), args...)
		done <- err
	}()
	return done
}
