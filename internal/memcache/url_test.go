package memcache

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"holdfast.dev/internal/testkit"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"memcached://cache":                     "tcp cache:11211",
		"memcached://cache:1":                   "tcp cache:1",
		"memcached://a,b:2,[::1]:3,[fe80::1]/":  "tcp a:11211 tcp b:2 tcp [::1]:3 tcp [fe80::1]:11211",
		"memcached:///run/mc.sock":              "unix /run/mc.sock",
		"memcached:///run/a,/run/b":             "unix /run/a unix /run/b",
		"memcached://ann:p%40ss%3A@a:5,b":       "tcp a:5 ann p@ss: tcp b:11211 ann p@ss:",
		"memcached://ann@a":                     "tcp a:11211 ann ",
		"memcacheds://a?servername=x":           "tcp a:11211 tls x",
		"memcacheds://a:7/?insecure=true":       "tcp a:7 tls a",
		"memcached://":                          "error names no server",
		"memcached://a,":                        "error names no server",
		"memcached://a:0":                       "error host:port",
		"memcached://a:70000":                   "error host:port",
		"memcached://a:b:c":                     "error host:port",
		"memcached://a/b":                       "error host:port",
		"memcached://a,a:11211":                 "error twice",
		"memcached://:hush@a":                   "error no user",
		"memcached://ann:hu%zzsh@a":             "error escaped",
		"memcached://a?cacert=x":                "error memcacheds://",
		"memcacheds://a?colour=x":               "error no parameter",
		"memcacheds://a?insecure=perhaps":       "error true or false",
		"memcacheds://a?cacert=/nowhere/at/all": "error authority",
		"memcacheds://a?cert=/nowhere/at/all":   "error certificate",
		"memcacheds:///run/a":                   "error socket",
		"redis://a":                             "error begins with",
	} {
		servers, err := ParseURL(text)
		if part, bad := strings.CutPrefix(want, "error "); bad {
			if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "hu%") {
				t.Errorf("%s: %v, wanted an error about %s", text, err, part)
			}
			continue
		}
		var got []string
		for _, s := range servers {
			got = append(got, s.Network, s.Addr)
			if s.User != "" {
				got = append(got, s.User, s.Password)
			}
			if s.TLS != nil {
				got = append(got, "tls", s.tlsFor().ServerName)
			}
		}
		if g := strings.Join(got, " "); err != nil || g != want {
			t.Errorf("%s is %q, %v, wanted %q", text, g, err, want)
		}
	}
}

// tlsFront speaks TLS before a socket, until the test ends.
func tlsFront(t *testing.T, ca *testkit.CA, socket string) string {
	t.Helper()
	cert, key := ca.Issue([]string{"localhost"})
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l := tls.NewListener(testkit.Listen(t), &tls.Config{Certificates: []tls.Certificate{pair}})
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("unix", socket)
			if err != nil {
				_ = front.Close()
				continue
			}
			all.Go(func() {
				_, _ = io.Copy(back, front)
				_ = back.Close()
			})
			all.Go(func() {
				_, _ = io.Copy(front, back)
				_ = front.Close()
			})
		}
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestTLS: items come whole, and a server is not spoken to whose certificate is another's.
func TestTLS(t *testing.T) {
	m := testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[1]))
	want := sample()[:500]
	write(t, server(m), Set, want)
	ca := testkit.NewCA(t)
	port := tlsFront(t, ca, m.Socket)
	for url, good := range map[string]bool{
		"memcacheds://127.0.0.1:" + port + "?servername=localhost&cacert=" + ca.File(): true,
		"memcacheds://127.0.0.1:" + port + "?insecure=true":                            true,
		"memcacheds://127.0.0.1:" + port + "?cacert=" + ca.File():                      false,
		"memcacheds://127.0.0.1:" + port + "?servername=localhost":                     false,
	} {
		servers, err := ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		if good {
			equal(t, want, contents(t, servers[0]))
			continue
		}
		var invalid *tls.CertificateVerificationError
		if _, err := ReadStats(t.Context(), servers[0]); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
