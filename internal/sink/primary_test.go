package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

func openPrimary(t testing.TB, o resp.Options, po PrimaryOptions) *Primary {
	t.Helper()
	p, err := NewPrimary(t.Context(), o, po)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// untouched fails unless the server is a primary with the parameters it began with.
func untouched(t *testing.T, s *testkit.Server, auth string) {
	t.Helper()
	if role := s.Info("replication")["role"]; role != "master" {
		t.Errorf("the server is a %s", role)
	}
	got := s.Must("CONFIG", "GET", "masterauth").([]any)[1]
	load := s.Must("CONFIG", "GET", "repl-diskless-load").([]any)[1]
	if got != auth || load != "disabled" {
		t.Errorf("masterauth is %q, not %q; repl-diskless-load is %q", got, auth, load)
	}
}

func TestPrimaryConforms(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		flowtest.Sink(t, func(t *testing.T) flowtest.SinkPlace {
			s.Must("FLUSHALL")
			return flowtest.SinkPlace{
				Open: func(t *testing.T) flow.Sink { return openPrimary(t, at(s), PrimaryOptions{}) },
				Read: func(t *testing.T) flowtest.Content { return contents(t, s, 0, 3) },
			}
		})
		untouched(t, s, "")
	})
}

// Values of the other dialect and of newer versions arrive as the server reads them;
// the size hints, and the server's passwords, are no hindrance.
func TestPrimaryTranscodes(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b, testkit.Password("for clients"))
		opt := at(s)
		opt.Password = "for clients"
		for _, version := range []int{9, 12, rdb.ValkeyVersion} {
			s.Must("FLUSHALL")
			all := flowtest.Sample()
			for i := range all {
				all[i].Version = version
			}
			p := openPrimary(t, opt, PrimaryOptions{Sizes: func(int) (int64, int64) { return 1000, 5 }})
			if err := errors.Join(p.Write(t.Context(), all), p.Commit(t.Context())); err != nil {
				t.Fatal(err)
			}
			flowtest.Same(t, contents(t, s, 0, 3), flowtest.SampleContent(t))
			untouched(t, s, "for clients")
		}
	})
}

// A server of an ACL user, with an account of its own for primaries, and with no
// right to change anything about it: it is known by where it comes from.
func TestPrimaryOfAnACLUser(t *testing.T) {
	for _, name := range []string{"redis-7.0", "valkey-9.1"} {
		t.Run(name, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, name), testkit.Config("masteruser mover"))
			s.Must("ACL", "SETUSER", "filler", "on", ">pw", "+@all", "-config|set")
			s.Must("ACL", "SETUSER", "nobody", "on", ">pw", "~*", "+@all", "-replicaof")
			s.Must("ACL", "SETUSER", "blind", "on", ">pw", "~*", "+@all", "-config")
			for _, user := range []string{"nobody", "blind"} {
				o := at(s)
				o.Username, o.Password = user, "pw"
				if _, err := NewPrimary(t.Context(), o, PrimaryOptions{}); !errors.Is(err, ErrNoReplicaOf) || strings.Contains(err.Error(), "pw") {
					t.Errorf("%s: %v", user, err)
				}
			}
			o := at(s)
			o.Username, o.Password = "filler", "pw"
			for _, o := range []resp.Options{o, at(s)} {
				s.Must("FLUSHALL")
				p := openPrimary(t, o, PrimaryOptions{})
				if err := errors.Join(p.Write(t.Context(), flowtest.Sample()), p.Commit(t.Context())); err != nil {
					t.Fatal(err)
				}
				flowtest.Same(t, contents(t, s, 0, 3), flowtest.SampleContent(t))
				untouched(t, s, "")
			}
		})
	}
}

func TestPrimaryRefuses(t *testing.T) {
	e := testkit.Engine(t, "redis-7.0")
	full := testkit.StartServer(t, e)
	full.Must("SET", "k", "v")
	lib := testkit.StartServer(t, e)
	lib.Must("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 1 end)")
	upper := testkit.StartServer(t, e)
	lower := testkit.StartServer(t, e, testkit.ReplicaOf(upper))
	lower.WaitLink()
	for name, s := range map[string]*testkit.Server{
		"not empty": full, "gives up all": lib, "replicas follow it": upper, "it is a replica of": lower,
		"cluster mode": testkit.StartServer(t, e, testkit.Cluster()),
		"REPLICAOF":    testkit.StartServer(t, e, testkit.Config(`rename-command REPLICAOF ""`)),
		"CONFIG GET":   testkit.StartServer(t, e, testkit.Config(`rename-command CONFIG ""`)),
	} {
		_, err := NewPrimary(t.Context(), at(s), PrimaryOptions{})
		if !errors.Is(err, ErrNoReplicaOf) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if full.Must("GET", "k") != "v" {
		t.Error("what was there is gone")
	}
	p := openPrimary(t, at(full), PrimaryOptions{FollowerOptions: FollowerOptions{ReplaceAll: true}})
	if err := errors.Join(p.Write(t.Context(), flowtest.Sample()), p.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	flowtest.Same(t, contents(t, full, 0, 3), flowtest.SampleContent(t))
}

// A server that was left a replica of nobody by a process that was killed is told
// from a replica of somebody.
func TestPrimaryKnowsWhatAKillLeaves(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	s.Must("REPLICAOF", "127.0.0.1", testkit.FreePort(t))
	_, err := NewPrimary(t.Context(), at(s), PrimaryOptions{})
	if err == nil || errors.Is(err, ErrNoReplicaOf) || !strings.Contains(err.Error(), "REPLICAOF NO ONE") {
		t.Errorf("%v", err)
	}
}

// A server that cannot reach us is left as it was, and RESTORE can take over.
func TestPrimaryOutOfReach(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	dead := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	p := openPrimary(t, at(s), PrimaryOptions{FollowerOptions: FollowerOptions{Announce: func(string) string { return dead }}})
	p.patience = 100 * time.Millisecond
	err := p.Write(t.Context(), flowtest.Sample())
	if !errors.Is(err, ErrNoReplicaOf) || !strings.Contains(err.Error(), "did not come") {
		t.Errorf("%v", err)
	}
	if again := p.Commit(t.Context()); !errors.Is(again, ErrNoReplicaOf) {
		t.Errorf("Commit afterwards: %v", again)
	}
	untouched(t, s, "")
}

// big is a batch of incompressible size.
func big(n int) []flow.Entry {
	out := make([]flow.Entry, n)
	for i := range out {
		out[i] = flow.Entry{
			Key: fmt.Appendf(nil, "key:%d:%s", i, randomHex(8)), Type: rdb.TypeString, Version: 9, Idle: -1, Freq: -1,
			Value: rdb.AppendString(nil, []byte(randomHex(20_000))),
		}
	}
	return out
}

// Wherever the link is cut, the server is a primary again, holds nothing or what it
// held, and the error says so.
func TestPrimaryCut(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		for _, tc := range []struct {
			after int64
			dir   testkit.Direction
			held  bool
		}{{10, testkit.ToTarget, false}, {200, testkit.ToClient, false}, {2_000_000, testkit.ToClient, false}, {2_000_000, testkit.ToClient, true}} {
			s := testkit.StartServer(t, b)
			if tc.held {
				s.Must("SET", "mine", "still")
			}
			var through *testkit.FaultProxy
			p := openPrimary(t, at(s), PrimaryOptions{FollowerOptions: FollowerOptions{ReplaceAll: true, Announce: func(addr string) string {
				through = testkit.Proxy(t, addr)
				through.CutAfter(tc.dir, tc.after)
				return through.Addr()
			}}})
			p.patience = 100 * time.Millisecond
			err := p.Write(t.Context(), big(1))
			for range 300 {
				if err != nil {
					break
				}
				err = p.Write(t.Context(), big(10))
			}
			if tc.after < 1000 && err == nil {
				// The server calls again after its first call was cut.
				continue
			}
			if err == nil {
				t.Fatalf("cut after %d: nothing was noticed", tc.after)
			}
			untouched(t, s, "")
			if n := s.Must("DBSIZE"); n != int64(len(map[bool][]int{true: {1}}[tc.held])) {
				t.Errorf("cut after %d: it holds %d keys", tc.after, n)
			}
			s.Must("SET", "usable", "yes")
			if !errors.Is(err, ErrNoReplicaOf) && !strings.Contains(err.Error(), "is a primary again and holds") {
				t.Errorf("cut after %d: %v", tc.after, err)
			}
		}
	})
}

// An interrupted movement puts the server right.
func TestPrimaryInterrupted(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	p := openPrimary(t, at(s), PrimaryOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	if err := p.Write(ctx, big(100)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := p.Write(ctx, big(100)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	untouched(t, s, "")

	q := openPrimary(t, at(s), PrimaryOptions{})
	if err := q.Write(t.Context(), big(100)); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil { // without Commit
		t.Fatal(err)
	}
	untouched(t, s, "")
	if n := s.Must("DBSIZE"); n != int64(0) {
		t.Errorf("it holds %d keys", n)
	}
}

// Strangers who find our port get nothing, and do not keep the server from its data.
func TestPrimaryTurnsStrangersAway(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"))
	var said []string
	p := openPrimary(t, at(s), PrimaryOptions{FollowerOptions: FollowerOptions{Announce: func(addr string) string {
		for _, talk := range []string{
			"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n",
			"*2\r\n$4\r\nAUTH\r\n$5\r\nguess\r\n*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n",
			"*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$0\r\n\r\n*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n",
			"*3\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n",
			"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "GET / HTTP/1.1\r\n\r\n", "*99999999\r\n", "*1\r\n$99999999999\r\n", "*1\r\n$-7\r\n", "*0\r\n", "*1\r\n$1\r\nxyz", "",
		} {
			said = append(said, converse(t, addr, talk))
		}
		return addr
	}}})
	if err := errors.Join(p.Write(t.Context(), flowtest.Sample()), p.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	flowtest.Same(t, contents(t, s, 0, 3), flowtest.SampleContent(t))
	for i, text := range said {
		if text != "" && !strings.HasPrefix(text, "-") {
			t.Errorf("stranger %d was told %q", i, text)
		}
	}
}

// converse says something and returns the answer.
func converse(t *testing.T, addr, talk string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, talk); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	return string(b)
}

// Functions travel, and a value that the server cannot hold is refused by name.
func TestPrimaryFunctionsAndLosses(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	code := rdb.AppendString(nil, []byte("#!lua name=l\nredis.register_function('f', function() return 7 end)"))
	p := openPrimary(t, at(s), PrimaryOptions{})
	if err := errors.Join(p.Function(t.Context(), rdb.FunctionLibrary{Raw: code}), p.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := s.Must("FCALL", "f", 0); got != int64(7) {
		t.Errorf("the function says %v", got)
	}
	s.Must("FUNCTION", "FLUSH")
	p = openPrimary(t, at(s), PrimaryOptions{})
	err := p.Write(t.Context(), []flow.Entry{{Key: []byte("newer"), Type: 200, Version: 12, Idle: -1, Freq: -1}})
	if !errors.Is(err, rdb.ErrType) || !strings.Contains(err.Error(), `"newer"`) {
		t.Errorf("%v", err)
	}
	untouched(t, s, "")
}

// A source that stands still for longer than the server's patience does not lose it.
func TestPrimaryOfASlowSource(t *testing.T) {
	var err error
	// A machine that gives us no time for as long loses it too: then with more of it.
	for patience := 2 * time.Second; patience < 20*time.Second; patience *= 3 {
		s := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"), testkit.Config(fmt.Sprint("repl-timeout ", patience.Seconds())))
		p := openPrimary(t, at(s), PrimaryOptions{})
		p.period = 200 * time.Millisecond
		if err = p.Write(t.Context(), flowtest.Sample()); err != nil {
			continue
		}
		began := time.Now()
		testkit.Wait(t, time.Minute, func() bool { return time.Since(began) > 2*patience }, "a slow source")
		if err = p.Commit(t.Context()); err == nil {
			flowtest.Same(t, contents(t, s, 0, 3), flowtest.SampleContent(t))
			return
		}
	}
	t.Fatal(err)
}

// BenchmarkPrimary is a whole movement of a million keys of 16 bytes with 100-byte
// values, from entries in memory, beside RESTORE.
func BenchmarkPrimary(b *testing.B) {
	const keys, batch = 1_000_000, 512
	for _, line := range []string{"redis-7.0", "valkey-8.1", "valkey-9.1"} {
		s := testkit.StartServer(b, testkit.Engine(b, line))
		for name, open := range map[string]func() flow.Sink{
			"REPLICAOF": func() flow.Sink { return openPrimary(b, at(s), PrimaryOptions{}) },
			"REPLICAOF, sizes told": func() flow.Sink {
				return openPrimary(b, at(s), PrimaryOptions{Sizes: func(int) (int64, int64) { return keys, 0 }})
			},
			"RESTORE": func() flow.Sink { return open(b, at(s), ServerOptions{}) },
		} {
			b.Run(line+"/"+name, func(b *testing.B) {
				idle := int64(-1)
				if name == "RESTORE" {
					idle = 0 // or it would send SET
				}
				entries := make([]flow.Entry, batch)
				spent := 0.0
				for b.Loop() {
					b.StopTimer()
					s.Must("FLUSHALL")
					before := engineCPU(b, s)
					b.StartTimer()
					dst := open()
					for n := 0; n < keys; n += batch {
						for i := range entries {
							entries[i] = flow.Entry{
								Type: rdb.TypeString, Version: 9, Idle: idle, Freq: -1, Key: fmt.Appendf(entries[i].Key[:0], "key:%012d", n+i),
								Value: rdb.AppendString(entries[i].Value[:0], filler[(n+i)%1000:][:100]),
							}
						}
						if err := dst.Write(b.Context(), entries); err != nil {
							b.Fatal(err)
						}
					}
					if err := dst.Commit(b.Context()); err != nil {
						b.Fatal(err)
					}
					spent += engineCPU(b, s) - before
				}
				b.ReportMetric(float64(b.N)*keys/b.Elapsed().Seconds(), "keys/s")
				b.ReportMetric(spent/float64(b.N), "engine-CPU-s/op")
			})
		}
	}
}

// engineCPU is how many seconds of CPU a server has used: what a crowded machine does
// not change much.
func engineCPU(b *testing.B, s *testkit.Server) float64 {
	sum := 0.0
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		v, err := strconv.ParseFloat(s.Info("cpu")[name], 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += v
	}
	return sum
}

var filler = []byte(randomHex(1100))
