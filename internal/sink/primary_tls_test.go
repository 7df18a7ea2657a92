package sink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// overTLS are the options for a server that speaks TLS; more is added to its address.
func overTLS(t *testing.T, ca *testkit.CA, s *testkit.Server, more string) resp.Options {
	t.Helper()
	o, err := resp.ParseURL(fmt.Sprintf("rediss://%s/?cacert=%s%s", s.Addr(), ca.File(), more))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// shown is a certificate as FollowerOptions take it.
func shown(t *testing.T, ca *testkit.CA) PrimaryOptions {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(ca.Issue([]string{"anything"}))
	if err != nil {
		t.Fatal(err)
	}
	return PrimaryOptions{FollowerOptions: FollowerOptions{Certificate: &cert}}
}

// fetches says by what the server fetches its data, as far as it is configured.
func fetches(s *testkit.Server) any {
	return s.Must("CONFIG", "GET", "tls-replication").([]any)[1]
}

// A server that fetches its data by TLS gets them by TLS, and so does one that is told to.
func TestPrimaryTLS(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		testkit.SpeaksTLS(t, b)
		ca := testkit.NewCA(t)
		s := testkit.StartServer(t, b, ca.TLS("127.0.0.1"))
		for _, demanded := range []string{"yes", "no"} {
			s.Must("CONFIG", "SET", "tls-replication", demanded)
			p := openPrimary(t, overTLS(t, ca, s, ""), shown(t, ca))
			if err := p.Write(t.Context(), flowtest.Sample()); err != nil {
				t.Fatal(err)
			}
			if _, secure := p.link.Load().conn.(*tls.Conn); !secure {
				t.Errorf("with tls-replication %s the data are sent in the clear", demanded)
			}
			if err := errors.Join(p.Commit(t.Context()), p.Close()); err != nil {
				t.Fatal(err)
			}
			flowtest.Same(t, contents(t, s, 0, 3), flowtest.SampleContent(t))
			if got := fetches(s); got != demanded {
				t.Errorf("tls-replication is %v afterwards, not %s", got, demanded)
			}
			untouched(t, s, "")
			s.Must("FLUSHALL")
		}
	})
}

// Who is shown no certificate, or one that he does not trust, is left as he was.
func TestPrimaryTLSRefused(t *testing.T) {
	b := testkit.Engine(t, "valkey-9.1")
	testkit.SpeaksTLS(t, b)
	ca := testkit.NewCA(t)
	s := testkit.StartServer(t, b, ca.TLS("127.0.0.1"))
	_, err := NewPrimary(t.Context(), overTLS(t, ca, s, ""), PrimaryOptions{})
	if !errors.Is(err, ErrNoReplicaOf) || !strings.Contains(err.Error(), "--replica-tls-cert") {
		t.Errorf("no certificate: %v", err)
	}
	forClients, key := ca.Issue([]string{"a client"}, x509.ExtKeyUsageClientAuth)
	_, err = NewPrimary(t.Context(), overTLS(t, ca, s, "&cert="+forClients+"&key="+key), PrimaryOptions{})
	if !errors.Is(err, ErrNoReplicaOf) || !strings.Contains(err.Error(), "--replica-tls-cert") {
		t.Errorf("a certificate for clients: %v", err)
	}
	p := openPrimary(t, overTLS(t, ca, s, ""), shown(t, testkit.NewCA(t)))
	p.patience = time.Hour // it is told, and not waited for
	err = p.Write(t.Context(), flowtest.Sample())
	if !errors.Is(err, ErrNoReplicaOf) || !strings.Contains(err.Error(), "does not accept our certificate") {
		t.Errorf("a foreign authority: %v", err)
	}
	untouched(t, s, "")

	forBoth, key := ca.Issue([]string{"a node"}, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)
	var said string
	p = openPrimary(t, overTLS(t, ca, s, "&cert="+forBoth+"&key="+key), PrimaryOptions{FollowerOptions: FollowerOptions{Announce: func(addr string) string {
		said = converse(t, addr, "*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n")
		return addr
	}}})
	if err := errors.Join(p.Write(t.Context(), flowtest.Sample()), p.Commit(t.Context())); err != nil {
		t.Errorf("the certificate by which we log in: %v", err)
	}
	if strings.Contains(said, "RESYNC") || strings.Contains(said, "REDIS") {
		t.Errorf("somebody without TLS was told %q", said)
	}
	plain := testkit.StartServer(t, b)
	p = openPrimary(t, at(plain), shown(t, ca))
	err = p.Write(t.Context(), flowtest.Sample())
	if !errors.Is(err, ErrNoReplicaOf) {
		t.Errorf("a server without TLS, and TLS is wanted: %v", err)
	}
	untouched(t, plain, "")
}
