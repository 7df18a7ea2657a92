package testkit_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// fill writes keys of every classic type, in two databases, some with a TTL.
func fill(s *testkit.Server) {
	for i := range 50 {
		s.Must("SET", fmt.Sprint("string:", i), strings.Repeat("x", i), "EX", 1000+i)
		s.Must("HSET", fmt.Sprint("hash:", i), "a", i, "b", -i)
		s.Must("RPUSH", fmt.Sprint("list:", i), "a", i, "b")
		s.Must("SADD", fmt.Sprint("set:", i), 1, 2, i)
		s.Must("ZADD", fmt.Sprint("zset:", i), 1.5, "a", i, "b")
		s.Must("XADD", fmt.Sprint("stream:", i), "*", "f", i)
	}
	s.Must("SELECT", 3)
	s.Must("SET", "binary", []byte{0, 1, 254, 255, '\r', '\n'})
	s.Must("SELECT", 0)
}

func TestEngineKeepsItsKeys(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		fill(s)
		if got := s.Must("EVAL", "return cjson.encode({1, bit.bor(1, 2)})", 0); got != "[1,3]" {
			t.Errorf("Lua's cjson and bit answer %v", got)
		}
		version := s.Info("server")[b.Engine+"_version"]
		if version != b.Version {
			t.Errorf("%s says that it is %s", b.Name, version)
		}
		before := s.Must("DEBUG", "DIGEST")
		s.Must("BGSAVE")
		testkit.Wait(t, 10*time.Second, func() bool {
			p := s.Info("persistence")
			return p["rdb_bgsave_in_progress"] == "0" && p["rdb_last_bgsave_status"] == "ok" && exists(s, "dump.rdb")
		}, "BGSAVE")
		checkHeader(t, s)
		pid := s.Pid()
		s.Kill()
		if s.Pid() != 0 || alive(pid) {
			t.Fatalf("process %d is alive after Kill", pid)
		}
		s.Restart()
		if got := s.Must("DEBUG", "DIGEST"); got != before {
			t.Errorf("keys differ after the restart: %v, before %v", got, before)
		}
		if got := s.Must("DBSIZE"); got != int64(300) {
			t.Errorf("%v keys after the restart, want 300", got)
		}
	})
}

func exists(s *testkit.Server, name string) bool {
	_, err := os.Stat(filepath.Join(s.Dir, name))
	return err == nil
}

// checkHeader holds the catalogue's RDB version against the file the engine wrote.
func checkHeader(t *testing.T, s *testkit.Server) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("REDIS%04d", s.Build.RDBVersion)
	if s.Build.Dialect == catalog.DialectValkey {
		want = fmt.Sprintf("VALKEY%03d", s.Build.RDBVersion)
	}
	if got := string(b[:9]); got != want {
		t.Errorf("%s writes %q, the catalogue says %q", s.Build.Name, got, want)
	}
}

// TestAbilities holds the catalogue against what every installed engine really does.
func TestAbilities(t *testing.T) {
	for _, b := range testkit.Catalog(t).Builds() {
		if b.Engine == catalog.Memcached {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			s := testkit.StartServer(t, b)
			works := func(args ...any) bool {
				_, failed := s.Do(args...).(testkit.ReplyError)
				return !failed
			}
			got := b.Abilities
			got.ACL = works("ACL", "SETUSER", "someone")
			got.Rebind = works("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.9")
			got.PauseWrites = works("CLIENT", "PAUSE", "1", "WRITE")
			got.ExpireTime = works("PEXPIRETIME", "k")
			got.Functions = works("FUNCTION", "LIST")
			got.FieldTTL = works("HPEXPIRE", "k", 1, "FIELDS", 1, "f")
			diskless, _ := s.Must("CONFIG", "GET", "repl-diskless-sync").([]any)
			got.DisklessSync = len(diskless) == 2 && diskless[1] == "yes"
			guard, _ := s.Must("CONFIG", "GET", "enable-debug-command").([]any)
			got.DebugGuard = len(guard) == 2
			several, _ := s.Must("CONFIG", "GET", "cluster-databases").([]any)
			got.MultiDBShards = len(several) == 2
			s.Must("SET", "k", "v")
			s.Must("SAVE")
			checkHeader(t, s)
			if diff := cmp.Diff(got, b.Abilities); diff != "" {
				t.Errorf("the engine (-) and the catalogue (+) differ:\n%s", diff)
			}
		})
	}
}

func TestReplica(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		t.Parallel()
		primary := testkit.StartServer(t, b, testkit.Host("127.3.0.1"), testkit.Password(`a "b"`))
		primary.Must("SET", "k", "v")
		replica := testkit.StartServer(t, b, testkit.Host("127.3.0.2"), testkit.Port(primary.Port),
			testkit.Password(`a "b"`), testkit.ReplicaOf(primary))
		replica.WaitLink()
		if got := replica.Must("GET", "k"); got != "v" {
			t.Errorf("the replica has %v", got)
		}
		primary.Restart()
		primary.Must("SET", "k", "w")
		testkit.Wait(t, 20*time.Second, func() bool { return replica.Do("GET", "k") == "w" }, "the replica to follow again")
	})
}

func TestCluster(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		t.Parallel()
		s := testkit.StartServer(t, b, testkit.Cluster(), testkit.Config("maxmemory 64mb"))
		slots := []any{"CLUSTER", "ADDSLOTS"}
		for i := range 16384 {
			slots = append(slots, i)
		}
		s.Must(slots...)
		testkit.Wait(t, 10*time.Second, func() bool { return s.Do("SET", "k", "v") == "OK" }, "cluster state ok")
		if got := s.Info("memory")["maxmemory"]; got != "67108864" {
			t.Errorf("maxmemory is %s", got)
		}
	})
}

func TestRepliesOfEveryKind(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engines(t)[1])
	s.Must("MULTI")
	s.Must("SET", "k", "v")
	s.Must("INCR", "k")
	s.Must("GET", "missing")
	s.Must("ECHO", "")
	s.Must("LRANGE", "missing", 0, -1)
	want := []any{"OK", testkit.ReplyError("ERR value is not an integer or out of range"), nil, "", []any{}}
	if diff := cmp.Diff(want, s.Must("EXEC")); diff != "" {
		t.Errorf("EXEC (-want +got):\n%s", diff)
	}
	if _, err := s.Try("NOSUCHCOMMAND"); err == nil {
		t.Error("an error reply is no error")
	}
	if got := s.Do("STRLEN", "k"); got != int64(1) {
		t.Errorf("after an error reply the connection answers %v", got)
	}
}

// TestTakenPort: a server that answers at the address is not taken for ours.
func TestTakenPort(t *testing.T) {
	first := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	inner := &fatalCatcher{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		testkit.StartServer(inner, first.Build, testkit.Port(first.Port))
	}()
	<-done
	if !strings.Contains(inner.said, "it ended") || !strings.Contains(inner.said, "Address already in use") {
		t.Errorf("a second server on the same port: %q", inner.said)
	}
}

// fatalCatcher keeps what would fail the test.
type fatalCatcher struct {
	testing.TB
	said string
}

func (c *fatalCatcher) Fatalf(format string, args ...any) {
	c.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// TestNothingIsLeft ends a test that uses everything and looks for remains.
func TestNothingIsLeft(t *testing.T) {
	var s *testkit.Server
	var proxy *testkit.FaultProxy
	var pid int
	t.Run("inner", func(t *testing.T) {
		s = testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Config("rdb-key-save-delay 100000"))
		proxy = testkit.Proxy(t, s.Addr())
		c := dial(t, proxy.Addr())
		proxy.Stall()
		send(t, c, "PING\r\n")
		s.Must("DEBUG", "POPULATE", 1000)
		s.Must("BGSAVE") // takes 100 s: the child is there when the test ends
		pid = s.Pid()
	})
	if s == nil {
		t.Skip("the engine is missing")
	}
	if !gone(pid) {
		t.Errorf("process %d is still there", pid)
	}
	// The child that saves has been killed too, and is not ours to wait for.
	testkit.Wait(t, time.Minute, func() bool { return groupGone(pid) }, "process group %d to end", pid)
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("its directory is still there: %v", err)
	}
	for _, addr := range []string{s.Addr(), proxy.Addr()} {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Errorf("%s is still served", addr)
		}
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// gone tells whether a process has ended. An orphan that its new parent has not
// waited for, and there are init processes that never do, has ended too.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	state, _ := stat(pid)
	return state == "Z"
}

// groupGone is gone for all processes of a group.
func groupGone(group int) bool {
	if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
		return true
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(all) == 0 {
		return false // no such table here
	}
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if state, of := stat(pid); of == group && state != "Z" {
			return false
		}
	}
	return true
}

// stat is a process' state and group as /proc tells them; "" where it does not.
func stat(pid int) (state string, group int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	// After the program's name, which may have anything in it: state, parent, group.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 3 {
		return "", 0
	}
	group, err = strconv.Atoi(fields[2])
	if err != nil {
		return "", 0
	}
	return fields[0], group
}
