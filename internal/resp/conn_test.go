package resp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

func dial(t testing.TB, o resp.Options) *resp.Conn {
	t.Helper()
	c, err := resp.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func do(t testing.TB, c *resp.Conn, args ...string) string {
	t.Helper()
	r, err := c.Do(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return string(r.Bytes)
}

func TestDialLogsIn(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b, testkit.Password("s3cret"))
		s.Must("ACL", "SETUSER", "reader", "on", ">other", "~*", "+@all")
		for _, resp2 := range []bool{false, true} {
			for _, o := range []resp.Options{{Password: "s3cret"}, {Username: "default", Password: "s3cret"}, {Username: "reader", Password: "other", DB: 5}} {
				o.Addr, o.RESP2 = s.Addr(), resp2
				c := dial(t, o)
				if got := do(t, c, "CLIENT", "GETNAME"); got != "holdfast" {
					t.Errorf("%s: its name is %q", o, got)
				}
				want := o.Username
				if want == "" {
					want = "default"
				}
				if got := do(t, c, "ACL", "WHOAMI"); got != want {
					t.Errorf("%s: logged in as %q", o, got)
				}
				do(t, c, "SET", "k", "v")
				srv, err := c.Server(t.Context())
				if err != nil || srv.Engine != b.Engine || srv.Version != b.Version {
					t.Errorf("the server is %+v, %v", srv, err)
				}
				if !resp2 && (c.Greeting().Engine != srv.Engine || c.Greeting().Version != srv.Version) {
					t.Errorf("it greets as %+v", c.Greeting())
				}
			}
		}
		ks, err := dial(t, resp.Options{Addr: s.Addr(), Password: "s3cret"}).Keyspaces(t.Context())
		if err != nil || len(ks) != 2 || ks[0].DB != 0 || ks[1].DB != 5 || ks[1].Keys != 1 {
			t.Errorf("the databases are %v, %v", ks, err)
		}
		refused(t, s.Addr())
	})
}

func refused(t *testing.T, addr string) {
	for says, o := range map[string]resp.Options{
		"NOAUTH":    {},
		"WRONGPASS": {Username: "reader", Password: "wr0ng"},
		"range":     {Password: "s3cret", DB: 99},
	} {
		for _, resp2 := range []bool{false, true} {
			o.Addr, o.RESP2 = addr, resp2
			_, err := resp.Dial(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("%s gave %v", o, err)
			}
		}
	}
}

func TestDialUnixSocket(t *testing.T) {
	// Paths of sockets are limited to about a hundred bytes.
	dir, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Config("unixsocket "+path))
	o, err := resp.ParseURL("unix://" + path + "?db=1")
	if err != nil {
		t.Fatal(err)
	}
	if got := do(t, dial(t, o), "PING"); got != "PONG" {
		t.Errorf("it says %q", got)
	}
}

func TestDialTLS(t *testing.T) {
	ca := testkit.NewCA(t)
	cert, key := ca.Issue([]string{"127.0.0.1", "cache.test"})
	port := testkit.FreePort(t)
	testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Config(
		fmt.Sprintf("tls-port %d", port), "tls-cert-file "+cert, "tls-key-file "+key,
		"tls-ca-cert-file "+ca.File(), "tls-auth-clients optional"))
	base := fmt.Sprintf("rediss://127.0.0.1:%d/", port)
	for query, says := range map[string]string{
		"?cacert=" + ca.File(): "",
		"?insecure=true":       "",
		"?cacert=" + ca.File() + "&cert=" + cert + "&key=" + key: "",
		"?cacert=" + ca.File() + "&servername=cache.test":        "",
		"": "certificate",
		"?cacert=" + ca.File() + "&servername=elsewhere.test": "elsewhere.test",
	} {
		o, err := resp.ParseURL(base + query)
		if err != nil {
			t.Fatal(err)
		}
		c, err := resp.Dial(t.Context(), o)
		if says != "" {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s gave %v", query, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		do(t, c, "SET", "k", strings.Repeat("x", 1<<20))
		if got := do(t, c, "GET", "k"); len(got) != 1<<20 {
			t.Errorf("%s: %d bytes came back", query, len(got))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestErrorRepliesDoNotHurt(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	c := dial(t, resp.Options{Addr: s.Addr()})
	_, err := c.Do(t.Context(), "NOSUCH", "x")
	if !resp.UnknownCommand(err) || !resp.IsServerError(err, "ERR") || resp.IsServerError(err, "NOAUTH") {
		t.Errorf("%v", err)
	}
	if got := do(t, c, "ECHO", "still here"); got != "still here" {
		t.Errorf("%q", got)
	}
}

func TestContextUnblocks(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	c := dial(t, resp.Options{Addr: s.Addr()})
	why := errors.New("tired of waiting")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Do(ctx, "BLPOP", "nothing", "0")
		done <- err
	}()
	testkit.Wait(t, 60*time.Second, func() bool { return s.Info("clients")["blocked_clients"] == "1" }, "the client to block")
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := c.Do(t.Context(), "PING"); !errors.Is(err, why) {
		t.Errorf("a dead connection says %v", err)
	}
}

func TestTimeout(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	p := testkit.Proxy(t, s.Addr())
	// Long enough to log in on a busy machine.
	c := dial(t, resp.Options{Addr: p.Addr(), Timeout: 2 * time.Second})
	p.Stall()
	_, err := c.Do(t.Context(), "PING")
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "stood still for 2s") {
		t.Errorf("%v", err)
	}
	_, err = resp.Dial(t.Context(), resp.Options{Addr: p.Addr(), DialTimeout: 100 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dialling a silent server gave %v", err)
	}
	p.Resume()
}

func TestLostConnection(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	c := dial(t, resp.Options{Addr: s.Addr()})
	s.Kill()
	_, err := c.Do(t.Context(), "PING")
	if err == nil || !strings.Contains(err.Error(), "connection to redis://"+s.Addr()+" lost") {
		t.Errorf("%v", err)
	}
}

func TestRaw(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	c := dial(t, resp.Options{Addr: s.Addr()})
	if err := c.Send(append(resp.AppendCommand(nil, "PING"), resp.AppendCommand(nil, "ECHO", "raw bytes")...)); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Receive(); err != nil || string(r.Bytes) != "PONG" {
		t.Fatalf("%v, %v", r, err)
	}
	got := make([]byte, 15)
	if _, err := io.ReadFull(c.Raw(), got); err != nil || !bytes.Equal(got, []byte("$9\r\nraw bytes\r\n")) {
		t.Errorf("%q, %v", got, err)
	}
}

// Out-of-band messages come to OnPush, and never in place of a reply.
func TestPushMessages(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	var pushed []string
	c := dial(t, resp.Options{Addr: s.Addr(), OnPush: func(r *resp.Reply) {
		pushed = append(pushed, fmt.Sprintf("%s %s", r.Elems[0].Bytes, r.Elems[1].Elems[0].Bytes))
	}})
	do(t, c, "CLIENT", "TRACKING", "ON", "BCAST")
	for i := range 3 {
		s.Must("SET", fmt.Sprintf("k%d", i), "v")
	}
	testkit.Wait(t, 60*time.Second, func() bool {
		if got := do(t, c, "ECHO", "reply"); got != "reply" {
			t.Fatalf("a push came in place of a reply: %q", got)
		}
		return len(pushed) == 3
	}, "the messages")
	if want := "[invalidate k0 invalidate k1 invalidate k2]"; fmt.Sprint(pushed) != want {
		t.Errorf("%v", pushed)
	}
}

// A server that knows no HELLO is logged in to by AUTH.
func TestDialOldServer(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Password("s3cret"), testkit.Config(`rename-command HELLO ""`))
	c := dial(t, resp.Options{Addr: s.Addr(), Password: "s3cret", DB: 2})
	if got := do(t, c, "CLIENT", "GETNAME"); got != "holdfast" {
		t.Errorf("its name is %q", got)
	}
	if c.Greeting() != (resp.Server{}) {
		t.Errorf("it greeted: %+v", c.Greeting())
	}
	_, err := resp.Dial(t.Context(), resp.Options{Addr: s.Addr(), Password: "wr0ng"})
	if !resp.IsServerError(err, "WRONGPASS") {
		t.Errorf("%v", err)
	}
	_, err = resp.Dial(t.Context(), resp.Options{Addr: s.Addr()})
	if !resp.IsServerError(err, "NOAUTH") {
		t.Errorf("%v", err)
	}
}
