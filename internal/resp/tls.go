package resp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
)

// nodeNames are the host names that nodes of a cluster announce beside their
// addresses, by address. All Options that come from the same ones share them.
type nodeNames struct {
	mu sync.Mutex
	of map[string]string
}

func (n *nodeNames) set(addr, name string) {
	if n == nil || name == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = map[string]string{}
	}
	n.of[addr] = name
}

func (n *nodeNames) get(addr string) string {
	if n == nil {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.of[addr]
}

// serverNames are those of which the certificate has to be for one: the name that
// was given by the user, or else the host that is dialled; for another node of a
// cluster also the one that it announces, and the host at which the user reached the
// cluster. Who announces was verified itself.
func (o Options) serverNames() []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(o.TLS.ServerName)
	if o.TLS.ServerName != "" && o.seed == "" {
		return names
	}
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		host = ""
	}
	announced := o.names.get(o.Addr)
	if net.ParseIP(host) != nil {
		add(announced) // a name can be asked for (SNI), an address cannot
	}
	add(host)
	add(announced)
	if o.TLS.ServerName == "" {
		add(o.seed)
	}
	return names
}

// clientTLS is the configuration for one connection. Where more than one name is as
// good, the verification is the library's own with each of them.
func (o Options) clientTLS() *tls.Config {
	if o.TLS.InsecureSkipVerify {
		return o.TLS
	}
	names := o.serverNames()
	cfg := o.TLS.Clone()
	if len(names) > 0 {
		cfg.ServerName = names[0]
	}
	if len(names) < 2 {
		return cfg
	}
	// Switches off the check for one name; the one below takes its place, and the
	// handshake fails if that does.
	cfg.InsecureSkipVerify = true
	roots := cfg.RootCAs
	cfg.VerifyConnection = func(cs tls.ConnectionState) error { return verifyChain(cs, roots, names) }
	return cfg
}

// verifyChain is what crypto/tls does on its own, for any of several names.
func verifyChain(cs tls.ConnectionState, roots *x509.CertPool, names []string) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	var first error
	for _, name := range names {
		opts.DNSName = name
		_, err := cs.PeerCertificates[0].Verify(opts)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
		if !errors.As(err, &x509.HostnameError{}) {
			break // another name would not mend it
		}
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: first}
}

// handshakeAdvice says what may be done about a handshake that failed.
func handshakeAdvice(err error) error {
	var header tls.RecordHeaderError
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &header), errors.Is(err, context.DeadlineExceeded): // a server without TLS waits for the end of a command
		return fmt.Errorf("%w; if the port speaks no TLS, give the one that does: clusters before Redis 7.2 tell it to clients only with tls-cluster yes", err)
	case errors.As(err, &name) && len(name.Certificate.DNSNames) > 0:
		return fmt.Errorf("%w; servername=NAME in the address says for which name it has to be: %s", err, strings.Join(name.Certificate.DNSNames, ", "))
	case errors.As(err, &authority):
		return fmt.Errorf("%w; cacert=FILE in the address names the authority that signed it", err)
	}
	return err
}

// askedFor makes a configuration without a certificate of ours note that the server asks
// for one. One that insists hangs up after the handshake, and says why only sometimes.
func askedFor(cfg *tls.Config, asked *bool) *tls.Config {
	if len(cfg.Certificates) > 0 || cfg.GetClientCertificate != nil {
		return cfg
	}
	cfg = cfg.Clone()
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		*asked = true
		return &tls.Certificate{}, nil
	}
	return cfg
}

// lateAdvice says what may be done where a server hung up on us that had asked for a certificate.
func lateAdvice(err error, asked bool) error {
	if !asked || IsServerError(err) {
		return err
	}
	return fmt.Errorf("%w; the server asks its clients for a certificate: cert=FILE and key=FILE in the address", err)
}
