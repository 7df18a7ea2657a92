package discovery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast.dev/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var aList = List{Version: 3, Nodes: []Node{{"127.0.5.2", "127.0.5.2", 11211}, {"127.0.5.1", "127.0.5.1", 11211}}}

const listText = "3\n127.0.5.1|127.0.5.1|11211 127.0.5.2|127.0.5.2|11211\n"

var configReply = fmt.Sprintf("CONFIG cluster 0 %d\r\n%s\r\nEND\r\n", len(listText), listText)

// front starts a memcached with a Front before it.
func front(t *testing.T, line string, password bool, args ...string) (*Front, *testkit.Memcached) {
	t.Helper()
	m := testkit.StartMemcached(t, testkit.Engine(t, line), args...)
	f, err := New(Config{
		Listener: testkit.Listen(t), Password: password,
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", m.Socket)
		},
	}, aList)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, m
}

func dial(t *testing.T, f *Front) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.cfg.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantSaid sends it all at once and wants exactly that back.
func wantSaid(t *testing.T, c net.Conn, send, want string) {
	t.Helper()
	go func() { _, _ = io.WriteString(c, send) }()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if string(got) != want {
		t.Fatalf("%d bytes, %v: got %q, want %q", n, err, got[:n], want)
	}
}

func TestText(t *testing.T) {
	for _, line := range testkit.MemcachedLines {
		t.Run(line, func(t *testing.T) {
			f, m := front(t, line, false)
			c := dial(t, f)
			wantSaid(t, c, "config get cluster\r\n", configReply)
			// Our answers stand where they belong among memcached's, the client's own
			// version too, and a value that looks like all of this is a value.
			data := "VERSION 1\r\nconfig get cluster\r\n"
			version := fmt.Sprintf("VERSION %s\r\n", m.Build.Version)
			wantSaid(t, c,
				fmt.Sprintf("set a 5 0 %d\r\n%s\r\nconfig get cluster\r\nget a\r\nversion\r\nconfig get cluster\r\nget AmazonElastiCache:cluster\r\n"+
					"mg a v\r\nconfig get nothing\r\nconfig set cluster 0 1\r\nversion\r\n", len(data), data),
				"STORED\r\n"+configReply+fmt.Sprintf("VALUE a 5 %d\r\n%s\r\nEND\r\n", len(data), data)+version+configReply+
					fmt.Sprintf("VALUE %s 0 %d\r\n%s\r\nEND\r\n", legacyKey, len(listText), listText)+
					fmt.Sprintf("VA %d\r\n%s\r\n", len(data), data)+"END\r\nERROR\r\n"+version)
			if f.Asked() != 5 {
				t.Errorf("it was asked %d times", f.Asked())
			}
			f.SetList(List{Version: 4, Nodes: aList.Nodes[:1]})
			wantSaid(t, c, "config get cluster\r\n", "CONFIG cluster 0 28\r\n4\n127.0.5.2|127.0.5.2|11211\n\r\nEND\r\n")
			wantSaid(t, c, "quit\r\n", "")
			if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("after quit: %d bytes, %v", n, err)
			}
		})
	}
}

// TestLarge: what is larger than any buffer passes whole, both ways.
func TestLarge(t *testing.T) {
	f, _ := front(t, testkit.MemcachedLines[0], false)
	c := dial(t, f)
	data := strings.Repeat("config get cluster\r\nVERSION 1\r\n", 30000)
	wantSaid(t, c, fmt.Sprintf("set big 0 0 %d\r\n%s\r\n", len(data), data), "STORED\r\n")
	keys := strings.Repeat("nothing ", 5000)
	wantSaid(t, c, "get "+keys+"big\r\nconfig get cluster\r\n", fmt.Sprintf("VALUE big 0 %d\r\n%s\r\nEND\r\n", len(data), data)+configReply)
}

func TestBinary(t *testing.T) {
	f, m := front(t, testkit.MemcachedLines[0], false)
	c := dial(t, f)
	noop := packet(opNoop, 7, "", "")
	send := bytes.Join([][]byte{noop, packet(opConfigGet, 9, "cluster", ""), noop, packet(0x0b, 1, "", "")}, nil)
	reply := func(b []byte) string { b[0] = magicReply; return string(b) }
	version := packet(0x0b, 1, "", m.Build.Version)
	wantSaid(t, c, string(send), reply(packet(opNoop, 7, "", ""))+string(binaryReply(opConfigGet, 0, 9, "", []byte(listText)))+
		reply(packet(opNoop, 7, "", ""))+reply(version))
}

// TestPassword: who is not let in by memcached is not told the nodes either.
func TestPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("ann:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _ := front(t, testkit.MemcachedLines[1], true, "-Y", file)
	c := dial(t, f)
	wantSaid(t, c, "config get cluster\r\nversion\r\nget a\r\n",
		strings.Repeat("CLIENT_ERROR unauthenticated\r\n", 3))
	wantSaid(t, c, "set x 0 0 9\r\nann wrong\r\n", "CLIENT_ERROR authentication failure\r\n")
	wantSaid(t, c, "set x 0 0 10\r\nann secret\r\nconfig get cluster\r\nget a\r\n", "STORED\r\n"+configReply+"END\r\n")
}

// TestEnds: what ends on one side ends on the other, and everything ends with the front.
func TestEnds(t *testing.T) {
	f, m := front(t, testkit.MemcachedLines[0], false)
	c := dial(t, f)
	wantSaid(t, c, "config get cluster\r\n", configReply)
	f.Cut()
	wantEnd(t, c)
	c = dial(t, f)
	wantSaid(t, c, "config get cluster\r\n", configReply)
	m.Kill()
	wantEnd(t, c)
	// There is nobody to go to, which a client may be told before it has come.
	if lost, err := net.Dial("tcp", f.cfg.Listener.Addr().String()); err == nil {
		wantEnd(t, lost)
		_ = lost.Close()
	}
	m.Start()
	half := dial(t, f)
	if _, err := io.WriteString(half, "config get cluster\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := half.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(half)
	if err != nil || (string(got) != configReply && len(got) > 0) { // memcached may not answer one that has ended
		t.Errorf("half closed: %q, %v", got, err)
	}
}

func wantEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "get a\r\n"); err != nil {
		return
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
		t.Errorf("it still answers: %q", line)
	}
}
