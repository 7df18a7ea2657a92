package monitor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/testkit"
)

// encryptedStage is a stage whose engines speak nothing but TLS.
func encryptedStage(t *testing.T, replicas int) *stage {
	build := testkit.Engine(t, "valkey-8.1")
	testkit.SpeaksTLS(t, build)
	ca := testkit.NewCA(t)
	pem, err := os.ReadFile(ca.File())
	if err != nil {
		t.Fatal(err)
	}
	trust := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	trust.RootCAs.AppendCertsFromPEM(pem)
	s := newStage(t, replicas, ca.TLS("127.0.0.1"))
	for i := range s.nodes {
		s.nodes[i].Login.TLS = trust
	}
	return s
}

// A primary that hangs is ended, its replica is asked, and a replica that hangs is
// silenced, all the same where nothing but TLS is spoken.
func TestAnEncryptedPrimaryThatHangsIsEnded(t *testing.T) {
	s := encryptedStage(t, 1)
	s.run()
	s.heard(0)
	if err := syscall.Kill(s.servers[0].Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.until("the primary is killed", func() bool {
		return len(s.fenced) > 0 && s.fenced[0] == "r/n0"
	})
}

// A line asks time and again, hears every answer, and tells when the other side hangs up.
func TestAnEncryptedLine(t *testing.T) {
	s := encryptedStage(t, 0)
	login := s.nodes[0].Login
	// At the first address nobody takes connections.
	login.Address, login.Also = cache.Address{Host: login.Address.Host, Port: testkit.FreePort(t)}, login.Address
	l, reply, err := dial(context.Background(), login)
	if err != nil || reply != Pong || l.secure == nil {
		t.Fatalf("dial: %v, %v, %v", l, reply, err)
	}
	defer l.close()
	for range 5 {
		if err := l.ask(); err != nil {
			t.Fatal(err)
		}
		if got := answer(t, &l); got != Pong {
			t.Errorf("the answer is %v", got)
		}
	}
	if err := syscall.Kill(s.servers[0].Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until("it notices the end", func() bool { _, err := l.hear(); return err != nil })
	if _, _, err := dial(context.Background(), login); err == nil || !strings.Contains(err.Error(), errRefused.Error()) {
		t.Errorf("a node that is gone: %v", err)
	}

	// One who is not the node is not talked to.
	stranger := testkit.NewCA(t)
	other := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Password(password), stranger.TLS("127.0.0.1"))
	login.Address, login.Also = cache.Address{Host: other.Host, Port: other.Port}, cache.Address{}
	if _, _, err := dial(context.Background(), login); err == nil {
		t.Error("a stranger at " + net.JoinHostPort(other.Host, strconv.Itoa(other.Port)) + " is given the password")
	}
}

func answer(t *testing.T, l *line) Reply {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for give := time.Now().Add(time.Minute); time.Now().Before(give); <-tick.C {
		if reply, err := l.hear(); err != nil || reply != NoReply {
			return reply
		}
	}
	t.Fatal("there is no answer")
	return NoReply
}
