package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Issue signs a certificate for a server that is known by these names and IP addresses.
func (a *Authority) Issue(hosts []string) (tls.Certificate, error) {
	c, err := a.issue(hosts)
	if err != nil {
		return c, fmt.Errorf("cannot sign a certificate for %v: %w", hosts, err)
	}
	return c, nil
}

func (a *Authority) issue(hosts []string) (tls.Certificate, error) {
	if len(hosts) == 0 || hosts[0] == "" {
		return tls.Certificate{}, errors.New("it has no name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := serialNumber()
	if err != nil {
		return tls.Certificate{}, err
	}
	a.mu.Lock()
	signer, parent := a.key, a.cert
	a.mu.Unlock()
	now := a.now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: hosts[0]},
		NotBefore:    now.Add(-before),
		NotAfter:     earlier(now.Add(leafLife), parent.NotAfter),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		// Nodes are clients of each other.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, parent.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Server is what a front needs to speak TLS as these hosts: TLS 1.2 and newer, with
// a certificate that is renewed before it expires and after a rotation.
func (a *Authority) Server(hosts []string) *tls.Config {
	var mu sync.Mutex
	var have *tls.Certificate
	var by *x509.Certificate
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			a.mu.Lock()
			signer := a.cert
			a.mu.Unlock()
			if have != nil && by == signer && a.now().Before(have.Leaf.NotAfter.Add(-leafLife/3)) {
				return have, nil
			}
			c, err := a.Issue(hosts)
			if err != nil {
				if have != nil && a.now().Before(have.Leaf.NotAfter) {
					return have, nil // what is still good serves until then
				}
				return nil, err
			}
			have, by = &c, signer
			return have, nil
		},
	}
}
