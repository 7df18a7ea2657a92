package authority

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clock is set by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func open(t *testing.T, dir string, c *clock) *Authority {
	t.Helper()
	a, err := Open(dir, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// shake has a client that trusts a bundle speak with a server, and returns the
// server's certificate.
func shake(t *testing.T, server *tls.Config, bundle []byte, name string, c *clock, most uint16) (*x509.Certificate, error) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatal("there is nothing in the bundle")
	}
	near, far := net.Pipe()
	defer near.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(far, server)
		err := s.Handshake()
		if err == nil {
			_, err = io.WriteString(s, "x")
		}
		_ = far.Close()
		done <- err
	}()
	k := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: name, Time: c.now, MaxVersion: most})
	err := k.Handshake()
	if err == nil {
		_, err = io.ReadFull(k, make([]byte, 1))
	}
	_ = near.Close()
	<-done
	if err != nil {
		return nil, err
	}
	return k.ConnectionState().PeerCertificates[0], nil
}

func TestAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	c := &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	a := open(t, dir, c)
	bundle := a.Bundle()
	again := open(t, dir, c)
	if !bytes.Equal(bundle, again.Bundle()) {
		t.Error("a second opening gives another authority")
	}
	server := again.Server([]string{"127.0.9.1", "web.cfg.local"})
	for name, good := range map[string]bool{"127.0.9.1": true, "web.cfg.local": true, "127.0.9.2": false, "other.local": false} {
		if _, err := shake(t, server, bundle, name, c, 0); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := shake(t, server, bundle, "127.0.9.1", c, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	for _, f := range []string{bundleFile, keyFile} {
		if fi, err := os.Stat(filepath.Join(dir, f)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, fi.Mode(), err)
		}
	}
}

// TestRenewal: a server's certificate is renewed before it expires, not at each handshake.
func TestRenewal(t *testing.T) {
	c := &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	a := open(t, t.TempDir(), c)
	server := a.Server([]string{"127.0.9.1"})
	var last *x509.Certificate
	renewed := 0
	for range 400 { // days
		cert, err := shake(t, server, a.Bundle(), "127.0.9.1", c, 0)
		if err != nil {
			t.Fatalf("at %v: %v", c.at, err)
		}
		if last != nil && !cert.Equal(last) {
			renewed++
		}
		last = cert
		c.at = c.at.Add(24 * time.Hour)
	}
	if renewed != 6 { // every 60 days
		t.Errorf("it was renewed %d times", renewed)
	}
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	c := &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	a := open(t, dir, c)
	old := a.Bundle()
	static, err := a.Issue([]string{"127.0.9.1"})
	if err != nil {
		t.Fatal(err)
	}
	before := &tls.Config{Certificates: []tls.Certificate{static}}
	after := a.Server([]string{"127.0.9.1"})
	c.at = c.at.Add(time.Hour)
	for range 2 {
		if err := a.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	a = open(t, dir, c)
	if _, err := shake(t, before, a.Bundle(), "127.0.9.1", c, 0); err != nil {
		t.Errorf("what the former key signed: %v", err)
	}
	if _, err := shake(t, after, a.Bundle(), "127.0.9.1", c, 0); err != nil {
		t.Errorf("what the new key signed: %v", err)
	}
	if _, err := shake(t, after, old, "127.0.9.1", c, 0); err == nil {
		t.Error("the former bundle trusts the new key")
	}
	if n := strings.Count(string(a.Bundle()), "BEGIN"); n != 3 {
		t.Errorf("there are %d certificates in the bundle", n)
	}
}

// TestRotateCutShort: between its two files the authority is still the former one.
func TestRotateCutShort(t *testing.T) {
	dir := t.TempDir()
	c := &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	a := open(t, dir, c)
	old := a.Bundle()
	if err := a.Rotate(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, bundleFile), old, 0o600); err != nil {
		t.Fatal(err)
	}
	a = open(t, dir, c)
	if _, err := shake(t, a.Server([]string{"127.0.9.1"}), old, "127.0.9.1", c, 0); err != nil {
		t.Error(err)
	}
}

func TestNotAnAuthority(t *testing.T) {
	c := &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	good, other := t.TempDir(), t.TempDir()
	a := open(t, good, c)
	open(t, other, c)
	leaf, err := a.Issue([]string{"127.0.9.1"})
	if err != nil {
		t.Fatal(err)
	}
	read := func(dir, file string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, k := range []struct {
		name, want     string
		bundle, secret []byte
		years          int
	}{
		{name: "another's key", bundle: read(good, bundleFile), secret: read(other, keyFile), want: "does not belong"},
		{name: "no key", bundle: read(good, bundleFile), want: "put it back"},
		{name: "no certificate", bundle: []byte("x"), secret: read(good, keyFile), want: "no certificate"},
		{name: "no key in its file", bundle: read(good, bundleFile), secret: []byte("secret!"), want: "no private key"},
		{name: "a server's", bundle: encode([]*x509.Certificate{leaf.Leaf}), secret: read(good, keyFile), want: "may not sign"},
		{name: "too old", bundle: read(good, bundleFile), secret: read(good, keyFile), years: 11, want: "has expired"},
	} {
		t.Run(k.name, func(t *testing.T) {
			dir := t.TempDir()
			for file, b := range map[string][]byte{bundleFile: k.bundle, keyFile: k.secret} {
				if b == nil {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			late := &clock{c.at.AddDate(k.years, 0, 0)}
			_, err := Open(dir, late.now)
			if err == nil || !strings.Contains(err.Error(), k.want) || strings.Contains(err.Error(), "secret!") {
				t.Errorf("it says %v", err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, bundleFile)); err != nil || !bytes.Equal(got, k.bundle) {
				t.Errorf("its files were changed: %v", err)
			}
		})
	}
}
