package testkit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
)

// CA signs certificates for a test.
type CA struct {
	t    testing.TB
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	last int64
}

// NewCA makes an authority that nobody else trusts.
func NewCA(t testing.TB) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &CA{t: t, dir: t.TempDir(), key: key, last: 1}
	ca.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA " + rand.Text()[:8]}, NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca.cert, ca.cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca.write("ca.pem", "CERTIFICATE", der)
	return ca
}

// File is where the authority's certificate is.
func (ca *CA) File() string { return filepath.Join(ca.dir, "ca.pem") }

// Issue makes a certificate for hosts, names and addresses, and returns its files. It
// serves at both ends, unless usage says for what alone.
func (ca *CA) Issue(hosts []string, usage ...x509.ExtKeyUsage) (cert, key string) {
	ca.t.Helper()
	ca.last++
	leaf := &x509.Certificate{SerialNumber: big.NewInt(ca.last), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: usage}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, h)
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca.cert, &private.PublicKey, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		ca.t.Fatal(err)
	}
	name := fmt.Sprintf("%d", ca.last)
	return ca.write(name+".pem", "CERTIFICATE", der), ca.write(name+".key", "EC PRIVATE KEY", keyDER)
}

func (ca *CA) write(name, kind string, der []byte) string {
	ca.t.Helper()
	path := filepath.Join(ca.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.t.Fatal(err)
	}
	return path
}

// TLS makes a server speak TLS and nothing else: to clients, to its cluster, and as
// a replica. Its certificate is for these hosts; clients need none.
func (ca *CA) TLS(hosts ...string) Option {
	return func(s *Server) {
		cert, key := ca.Issue(hosts)
		s.tls = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: hosts[0], MinVersion: tls.VersionTLS12}
		s.tls.RootCAs.AddCert(ca.parsed())
		s.extra = append(s.extra, "tls-cert-file "+cert, "tls-key-file "+key, "tls-ca-cert-file "+ca.File(),
			"tls-auth-clients no", "tls-replication yes", "tls-cluster yes")
	}
}

// Trust is the name that Do asks of the server's certificate from now on.
func (s *Server) Trust(name string) {
	s.hangUp()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tls.ServerName = name
}

// parsed is the authority's certificate as others read it.
func (ca *CA) parsed() *x509.Certificate {
	ca.t.Helper()
	b, err := os.ReadFile(ca.File())
	if err != nil {
		ca.t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		ca.t.Fatal(err)
	}
	return c
}

// SpeaksTLS skips the test, loudly, where a build has no TLS. With CI set the newest line
// has to have it, or nothing of TLS would be tested there.
func SpeaksTLS(t testing.TB, b catalog.Build) {
	t.Helper()
	// Without a certificate an engine with TLS refuses to start and says so; one
	// without TLS does not know the directive.
	conf, dir := filepath.Join(t.TempDir(), "tls.conf"), t.TempDir()
	if err := os.WriteFile(conf, []byte("port 0\ntls-port 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	p, err := startProcess(dir, log, b.Env, b.Server, conf)
	if err != nil {
		t.Fatal(err)
	}
	<-p.gone
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(said, []byte("tls-cert-file")) {
		return
	}
	if os.Getenv("CI") != "" && b.Line() == Lines[len(Lines)-1] {
		t.Fatalf("%s is built without TLS:\n%s", b.Name, said)
	}
	t.Skipf("LOUD SKIP: %s is built without TLS:\n%s", b.Name, said)
}
