package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// framings are the ways in which a server sends its snapshot.
var framings = map[string][]string{
	"diskless": {"repl-diskless-sync yes", "repl-diskless-sync-delay 0"},
	"disk":     {"repl-diskless-sync no"},
}

func TestPSyncConforms(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		for name, config := range framings {
			t.Run(name, func(t *testing.T) {
				s := testkit.StartServer(t, b, testkit.Config(config...))
				load(t, s, flowtest.Sample())
				flowtest.Source(t, func(*testing.T) flow.Source { return source.NewPSync(at(s)) })
				gone(t, s)
			})
		}
	})
}

// gone waits until the server has no replica left.
func gone(t *testing.T, s *testkit.Server) {
	t.Helper()
	testkit.Wait(t, 10*time.Second, func() bool { return s.Info("replication")["connected_slaves"] == "0" }, "the server to forget us")
}

func TestSnapshotIsAnRDBFile(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		for name, config := range framings {
			t.Run(name, func(t *testing.T) {
				s := testkit.StartServer(t, b, testkit.Config(config...), testkit.Password("s3cret"))
				s.Must("SET", "k", "v")
				o := at(s)
				o.Password = "s3cret"
				body, info, err := source.Snapshot(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				raw, err := io.ReadAll(body)
				if err != nil {
					t.Fatal(err)
				}
				if err := body.Close(); err != nil {
					t.Error(err)
				}
				if len(info.ReplID) != 40 || info.Server.Engine != b.Engine || (info.Size < 0) != (name == "diskless") || info.Size > 0 && info.Size != int64(len(raw)) {
					t.Errorf("%+v for %d bytes", info, len(raw))
				}
				r := rdb.NewReader(bytes.NewReader(raw))
				n := 0
				for _, err := range r.Entries() {
					if err != nil {
						t.Fatal(err)
					}
					n++
				}
				if n != 1 || !r.Checksummed() || r.Offset() != int64(len(raw)) {
					t.Errorf("%d keys, checksummed %v, %d of %d bytes", n, r.Checksummed(), r.Offset(), len(raw))
				}
				if h, err := r.Header(); err != nil || b.Line() == "valkey-9.1" && !h.Valkey {
					t.Errorf("the header is %s, %v", h, err)
				}
				gone(t, s)
			})
		}
	})
}

// The snapshot is one instant although writes go on: each transaction raises
// two counters, which must be equal in it.
func TestPSyncIsOneInstant(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b, testkit.Config(framings["diskless"]...))
		fill(t, s, 20_000)
		ctx, stop := context.WithCancel(t.Context())
		written := make(chan error, 1)
		go func() { written <- raise(ctx, at(s)) }()
		testkit.Wait(t, 10*time.Second, func() bool { return s.Do("GET", "a") != nil }, "the first write")
		got := read(t, source.NewPSync(at(s)))
		stop()
		if err := <-written; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if a, b := got[`0/"a"`].Value, got[`0/"z"`].Value; a == nil || b == nil || string(a.Text) != string(b.Text) {
			t.Errorf("the counters are %v and %v", a, b)
		}
		if len(got) != 20_002 {
			t.Errorf("%d keys", len(got))
		}
		gone(t, s)
	})
}

// raise raises two counters together until ctx ends.
func raise(ctx context.Context, o resp.Options) error {
	c, err := resp.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		for _, cmd := range [][]string{{"MULTI"}, {"INCR", "a"}, {"INCR", "z"}, {"EXEC"}} {
			if _, err := c.Do(ctx, cmd...); err != nil {
				return err
			}
		}
	}
}

// A stream that is cut anywhere ends in an error, never in a shorter snapshot.
func TestPSyncCut(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Config(framings["diskless"]...))
	const n = 20_000
	fill(t, s, n)
	p := testkit.Proxy(t, s.Addr())
	for _, after := range []int64{1, 100, 3000, 50_000, 300_000} {
		p.CutAfter(testkit.ToClient, after)
		keys, err := failure(t.Context(), source.NewPSync(resp.Options{Addr: p.Addr()}))
		if err == nil || keys >= n {
			t.Errorf("cut after %d bytes: %d keys, %v", after, keys, err)
		}
	}
	gone(t, s)
}

func TestPSyncStalls(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Config(framings["diskless"]...))
	fill(t, s, 100_000)
	p := testkit.Proxy(t, s.Addr())
	src := source.NewPSync(resp.Options{Addr: p.Addr(), Timeout: 2 * time.Second})
	n, last := 0, error(nil)
	for _, err := range src.Entries(t.Context()) {
		if n++; n == 10 {
			p.Stall()
		}
		last = err
	}
	if !errors.Is(last, os.ErrDeadlineExceeded) || n >= 100_000 {
		t.Errorf("%d keys, %v", n, last)
	}
	p.Resume()
}

// A server that is busy preparing sends newlines, and is waited for.
func TestPSyncWaits(t *testing.T) {
	var n int
	var err error
	// It says that it lives each second; where it gets no time for that, it is given more.
	for delay := 3; delay < 30; delay *= 3 {
		s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Config("repl-diskless-sync yes", fmt.Sprint("repl-diskless-sync-delay ", delay)))
		s.Must("SET", "k", "v")
		o := at(s)
		o.Timeout = time.Duration(delay)*time.Second - 500*time.Millisecond // less than the delay
		if n, err = failure(t.Context(), source.NewPSync(o)); err == nil {
			break
		}
	}
	if n != 1 || err != nil {
		t.Errorf("%d keys, %v", n, err)
	}
}

func TestPSyncRefused(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Config(`rename-command PSYNC ""`))
	_, err := failure(t.Context(), source.NewPSync(at(s)))
	if !errors.Is(err, source.ErrNoReplica) {
		t.Errorf("%v", err)
	}
	s.Must("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+info", "+ping", "+hello")
	o := at(s)
	o.Username, o.Password = "reader", "pw"
	if _, err := failure(t.Context(), source.NewPSync(o)); !errors.Is(err, source.ErrNoReplica) {
		t.Errorf("%v", err)
	}
}

// A replica whose own primary is gone cannot give a snapshot, and says so.
func TestPSyncOfABrokenReplica(t *testing.T) {
	primary := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	replica := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.ReplicaOf(primary))
	primary.Kill()
	testkit.Wait(t, 10*time.Second, func() bool { return replica.Info("replication")["master_link_status"] == "down" }, "the link to break")
	_, err := failure(t.Context(), source.NewPSync(at(replica)))
	if !resp.IsServerError(err, "NOMASTERLINK") {
		t.Errorf("%v", err)
	}
}

// hostile answers the handshake like a server, then with what a test says.
func hostile(t *testing.T, answer string) resp.Options {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in := resp.NewReader(c)
		for {
			r, err := in.Next()
			if err != nil {
				return
			}
			out := "+OK\r\n"
			switch strings.ToUpper(string(r.Elems[0].Bytes)) {
			case "INFO":
				out = "$19\r\nredis_version:7.0.0\r\n"
			case "PSYNC":
				fmt.Fprint(c, answer)
				return
			}
			fmt.Fprint(c, out)
		}
	}()
	return resp.Options{Addr: l.Addr().String()}
}

func TestPSyncHostileServers(t *testing.T) {
	id := strings.Repeat("a", 40)
	full := "+FULLRESYNC " + id + " 1\r\n"
	for answer, text := range map[string]string{
		"+CONTINUE\r\n":                   "answer to PSYNC",
		"+FULLRESYNC " + id + " x\r\n":    "offset",
		"-ERR something\r\n":              "something",
		full + "$-5\r\n":                  "announced",
		full + "hello\r\n":                "announced",
		full + "$EOF:short\r\n":           "end mark",
		full + "-ERR cannot\r\n":          "cannot",
		full:                              "EOF",
		full + "$100\r\nREDIS0011":        "EOF",
		full + "$9\r\nnot a RDB":          "not an RDB file",
		full + strings.Repeat("x", 10000): "longer than",
	} {
		_, err := failure(t.Context(), source.NewPSync(hostile(t, answer)))
		says(t, err, text)
	}
	good := string(file(t, 9, flowtest.Sample()[:2]))
	if keys, err := failure(t.Context(), source.NewPSync(hostile(t, full+fmt.Sprintf("$%d\r\n%s", len(good), good)))); err != nil || keys != 2 {
		t.Errorf("a good one: %d keys, %v", keys, err)
	}
	longer := good + "more"
	_, err := failure(t.Context(), source.NewPSync(hostile(t, full+fmt.Sprintf("$%d\r\n%s", len(longer), longer))))
	says(t, err, "4 bytes after its end")
	flipped := []byte(good)
	flipped[len(flipped)-12] ^= 4
	_, err = failure(t.Context(), source.NewPSync(hostile(t, full+fmt.Sprintf("$%d\r\n%s", len(flipped), flipped))))
	if !errors.Is(err, rdb.ErrChecksum) {
		t.Errorf("%v", err)
	}
}
