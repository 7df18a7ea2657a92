package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// Authority signs the certificates of nodes, and says what there is to trust.
type Authority interface {
	Issue(hosts []string) (tls.Certificate, error)
	// Bundle is in PEM. It begins with the certificate that signs.
	Bundle() []byte
}

// protocols are the oldest that clients may speak, and newer ones.
const protocols = "TLSv1.2 TLSv1.3"

// ports are where a node listens: its plain port and that for TLS, 0 for none.
func ports(spec cache.NodeSpec) (plain, secure int) {
	switch spec.Transit.Mode {
	case cache.TransitRequired:
		return 0, spec.Address.Port
	case cache.TransitPreferred:
		return spec.Address.Port, spec.Address.TLS().Port
	}
	return spec.Address.Port, 0
}

// among says whether nodes speak TLS with each other. With TransitPreferred they do
// not: those that are changed one after the other go on understanding each other.
func among(spec cache.NodeSpec) string {
	if spec.Transit.Mode == cache.TransitRequired {
		return "yes"
	}
	return "no"
}

// tlsLines are the directives of a node's connections.
func tlsLines(dir string, spec cache.NodeSpec) []directive {
	plain, secure := ports(spec)
	lines := []directive{{"port", strconv.Itoa(plain)}}
	if secure == 0 {
		return lines
	}
	lines = append(lines, directive{"tls-port", strconv.Itoa(secure)})
	lines = append(lines, tlsFiles(dir)...)
	return append(lines, directive{"tls-replication", among(spec)}, directive{"tls-cluster", among(spec)})
}

// tlsFiles are the directives that TLS needs before anything speaks it.
func tlsFiles(dir string) []directive {
	own := quote(dir + "/" + certFile)
	return []directive{
		{"tls-cert-file", own},
		{"tls-key-file", own},
		{"tls-ca-cert-file", quote(dir + "/" + trustFile)},
		{"tls-auth-clients", "no"},
		{"tls-protocols", quote(protocols)},
	}
}

// checkTLS refuses what a build cannot do.
func checkTLS(d dialect, spec cache.NodeSpec) error {
	if spec.Transit.Mode == cache.TransitPreferred && !d.canRebind() {
		return fmt.Errorf("%w: %s %d.%d cannot serve both kinds of clients", cache.ErrPermanent, d.engine, d.version[0], d.version[1])
	}
	return nil
}

// trust is by what certificates of nodes are known. It stays the same one until the
// authority's changes.
func (e *Engines) trust() *tls.Config {
	if e.cfg.Authority == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	}
	bundle := string(e.cfg.Authority.Bundle())
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.trusted == nil || e.bundle != bundle {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(bundle))
		e.bundle, e.trusted = bundle, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	return e.trusted
}

// admins are the ways in which the administrator may reach a node; see cache.Doors.
func (e *Engines) admins(at cache.Address, secret string, mode, told cache.TransitMode) []resp.Options {
	var out []resp.Options
	for _, d := range cache.Doors(at, mode, told) {
		opt := adminOptions(d.Address, secret)
		if d.TLS {
			opt.TLS = e.trust()
		}
		out = append(out, opt)
	}
	return out
}

// reach connects by the first way at which somebody takes connections.
func reach(ctx context.Context, ways []resp.Options) (c *resp.Conn, by resp.Options, err error) {
	for _, by = range ways {
		if c, err = resp.Dial(ctx, by); !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
	}
	return c, by, err
}

// admin reaches the node of a spec.
func (e *Engines) admin(spec cache.NodeSpec) []resp.Options {
	return e.admins(spec.Address, spec.Secret, spec.Transit.Mode, spec.Transit.Told)
}

// peer is how the nodes of a cluster, and the administrator with them, reach one of them
// at the address by which they know it.
func (e *Engines) peer(at cache.Address, spec cache.NodeSpec) resp.Options {
	opt := adminOptions(at, spec.Secret)
	if spec.Transit.Mode == cache.TransitRequired {
		opt.TLS = e.trust()
	}
	return opt
}

// transit brings a running node's ports in line with its spec. Connections that it would
// not take any more are cut off. Replicas are among them, and come back at once, encrypted,
// where they were cut off.
func (c *change) transit(ctx context.Context) error {
	plain, secure := ports(c.spec)
	if secure == 0 && c.plainOnly() {
		return nil
	}
	if secure != 0 {
		if err := c.setTLS(ctx); err != nil {
			return err
		}
	}
	if c.has["port"] == strconv.Itoa(plain) && c.has["tls-port"] == strconv.Itoa(secure) {
		return nil
	}
	if !c.d.canRebind() {
		return fmt.Errorf("%w: it cannot change its ports while it runs", cache.ErrPermanent)
	}
	cmds := append([][]string{{"MULTI"}}, c.cutOff(plain, secure)...)
	// The port for TLS first, where the other one is to have its number.
	set := []string{"CONFIG", "SET", "tls-port", strconv.Itoa(secure), "port", strconv.Itoa(plain)}
	if plain == 0 {
		set = []string{"CONFIG", "SET", "port", "0", "tls-port", strconv.Itoa(secure)}
	}
	if err := c.insist(ctx, append(cmds, set, []string{"EXEC"})); err != nil {
		return fmt.Errorf("cannot make it listen at port %d, and %d for TLS: %w", plain, secure, err)
	}
	return nil
}

// cutOff are the commands that end what came in through a port that is closed, or has
// TLS from now on.
func (c *change) cutOff(plain, secure int) (cmds [][]string) {
	for _, p := range []struct {
		had  string
		gone bool
	}{{c.has["port"], plain == 0}, {c.has["tls-port"], secure == 0}} {
		if !p.gone || p.had == "0" {
			continue
		}
		for _, host := range slices.Compact(slices.Sorted(slices.Values(append(strings.Fields(c.has["bind"]), hosts(c.spec)...)))) {
			cmds = append(cmds, []string{"CLIENT", "KILL", "LADDR", net.JoinHostPort(strings.TrimPrefix(host, "-"), p.had)})
		}
	}
	return cmds
}

func (c *change) plainOnly() bool { return c.has["tls-port"] == "" || c.has["tls-port"] == "0" }

// setTLS gives a running node its files, and says with whom it speaks TLS.
func (c *change) setTLS(ctx context.Context) error {
	if c.plainOnly() {
		if err := c.n.certify(c.e.cfg.Authority, c.spec); err != nil {
			return err
		}
		set := []string{"CONFIG", "SET"}
		for _, f := range tlsFiles(c.n.dir) {
			set = append(set, f.name, strings.Trim(f.value, `"`))
		}
		if _, err := c.conn.Do(ctx, set...); err != nil {
			return fmt.Errorf("cannot give it its certificate: %w", err)
		}
	}
	names := []string{"tls-replication"}
	if c.spec.Cluster != nil {
		names = append(names, "tls-cluster")
	}
	for _, name := range names {
		if c.has[name] == among(c.spec) {
			continue
		}
		if _, err := c.conn.Do(ctx, "CONFIG", "SET", name, among(c.spec)); err != nil {
			return fmt.Errorf("cannot set %s: %w", name, err)
		}
	}
	return nil
}
