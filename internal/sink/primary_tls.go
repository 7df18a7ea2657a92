package sink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
)

// tlsReplication is by what a replica decides whether to speak TLS to its primary.
const tlsReplication = "tls-replication"

// lookTLS finds out whether the server fetches its data by TLS, or can be told to.
// One that is reached by TLS never fetches them in the clear over a network.
func (f *Follower) lookTLS(ctx context.Context) error {
	v, known, err := parameter(ctx, f.conn, tlsReplication)
	switch {
	case denied(err):
		return noRoad(f.target, "CONFIG GET: %w", err)
	case err != nil:
		return err
	}
	f.certificate = f.opt.Certificate
	if f.certificate == nil {
		f.certificate = servingCertificate(f.target.TLS)
	}
	ip := net.ParseIP(hostOf(f.conn.LocalAddr().String()))
	near := f.conn.LocalAddr().Network() == "unix" || ip != nil && ip.IsLoopback()
	f.secure = v == "yes" || f.opt.Certificate != nil || f.target.TLS != nil && !near
	switch {
	case !f.secure:
	case f.certificate == nil && v == "yes":
		return noRoad(f.target, "it speaks TLS to its primary (%s yes), and we have no certificate for that; --replica-tls-cert and --replica-tls-key name one that its tls-ca-cert-file trusts", tlsReplication)
	case f.certificate == nil:
		return noRoad(f.target, "it is reached by TLS, and would fetch the data in the clear (%s no); with --replica-tls-cert and --replica-tls-key it is told to use TLS", tlsReplication)
	case !known:
		return noRoad(f.target, "it knows no TLS, so it cannot fetch the data by it")
	}
	return nil
}

// servingCertificate is the certificate by which we log in to a server, if it may be shown
// by a server too. Where clients need one, the same authority signs for both.
func servingCertificate(cfg *tls.Config) *tls.Certificate {
	if cfg == nil || len(cfg.Certificates) == 0 {
		return nil
	}
	c := &cfg.Certificates[0]
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return nil
	}
	serves := len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0 ||
		slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny)
	if !serves {
		return nil
	}
	return c
}

// fetchByTLS tells the server to use TLS, where it has to and would not.
func (f *Follower) fetchByTLS(ctx context.Context) error {
	if !f.secure {
		return nil
	}
	v, _, err := parameter(ctx, f.conn, tlsReplication)
	if err != nil || v == "yes" {
		return err
	}
	done, err := f.change(ctx, tlsReplication, v, "yes")
	if err == nil && !done {
		err = noRoad(f.target, "it cannot be told to fetch the data by TLS (CONFIG SET %s yes is refused)", tlsReplication)
	}
	return err
}

// certificateError is what a replica says of the certificate that we show it.
type certificateError struct{ err error }

func (c *certificateError) Error() string { return c.err.Error() }
func (c *certificateError) Unwrap() error { return c.err }

// shake goes through the TLS handshake with whoever called.
func (f *Follower) shake(ctx context.Context, c net.Conn) (net.Conn, error) {
	if !f.secure {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	tc := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*f.certificate}})
	err := tc.HandshakeContext(ctx)
	if err == nil {
		return tc, nil
	}
	// Only the server itself may say that it does not want us.
	if turnedDown(err) && addressesOf(ctx, f.target)[hostOf(c.RemoteAddr().String())] {
		err = &certificateError{noRoad(f.target, "it does not accept our certificate (%w); its tls-ca-cert-file must hold the authority that signed the one of --replica-tls-cert", err)}
	}
	return nil, err
}

// turnedDown tells the error of a handshake that the other side gave up. Engines send
// that alert of TLS 1.3 in the clear, where an encrypted one is due.
func turnedDown(err error) bool {
	return strings.Contains(err.Error(), "remote error: tls:") || strings.Contains(err.Error(), "tls: bad record MAC")
}

// turnAway notes why somebody was turned away, where that is the end of all trying.
func (d *door) turnAway(err error) {
	d.turned++
	var c *certificateError
	if !errors.As(err, &c) {
		return
	}
	select {
	case d.refused <- c.err:
	default:
	}
}
