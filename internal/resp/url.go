package resp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// IsURL tells whether s is written as the address of a server.
func IsURL(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && knownScheme(scheme)
}

func knownScheme(s string) bool {
	switch strings.ToLower(s) {
	case "redis", "rediss", "valkey", "valkeys", "unix", "redis+unix":
		return true
	}
	return false
}

// ParseURL reads the address of a server:
//
//	redis://[user[:password]@]host[:port][/db]    also valkey://
//	rediss://…                                    with TLS, also valkeys://
//	unix://[user[:password]@]/path/to/socket[?db=n]
//
// With TLS the query may name cacert, cert and key (PEM files), servername, and
// insecure=true, which alone switches verification off. Errors never show the
// password.
func ParseURL(s string) (Options, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The parser's own error would repeat the address with its password.
		return Options{}, fmt.Errorf("cannot read the address %s: write special characters in a user name or password as %%XX", redactText(s))
	}
	if !knownScheme(u.Scheme) {
		return Options{}, fmt.Errorf("cannot read the address %s: the scheme must be redis, rediss, valkey, valkeys or unix", redactText(s))
	}
	o := Options{Network: "tcp", Username: u.User.Username()}
	o.Password, _ = u.User.Password()
	q := u.Query()
	if err := parsePlace(&o, u, q); err != nil {
		return Options{}, fmt.Errorf("cannot read the address %s: %w", redactText(s), err)
	}
	if err := parseTLS(&o, u, q); err != nil {
		return Options{}, fmt.Errorf("cannot read the address %s: %w", redactText(s), err)
	}
	for name := range q {
		return Options{}, fmt.Errorf("cannot read the address %s: unknown parameter %q", redactText(s), name)
	}
	return o, nil
}

// parsePlace reads host, port, socket and database.
func parsePlace(o *Options, u *url.URL, q url.Values) error {
	db := strings.Trim(u.Path, "/")
	if u.Scheme == "unix" || u.Scheme == "redis+unix" {
		if u.Host != "" || u.Path == "" {
			return errors.New("a socket is written unix:///path/to/socket")
		}
		o.Network, o.Addr, db = "unix", u.Path, ""
	} else {
		host, port := u.Hostname(), u.Port()
		if host == "" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = DefaultPort
		}
		o.Addr = net.JoinHostPort(host, port)
	}
	if q.Has("db") {
		db = q.Get("db")
		q.Del("db")
	}
	if db == "" {
		return nil
	}
	n, err := strconv.Atoi(db)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not the number of a database", db)
	}
	o.DB = n
	return nil
}

func parseTLS(o *Options, u *url.URL, q url.Values) error {
	names := []string{"cacert", "cert", "key", "servername", "insecure"}
	get := func(name string) string {
		v := q.Get(name)
		q.Del(name)
		return v
	}
	if u.Scheme != "rediss" && u.Scheme != "valkeys" {
		for _, n := range names {
			if q.Has(n) {
				return fmt.Errorf("parameter %q is for rediss:// and valkeys://", n)
			}
		}
		return nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: get("servername")}
	o.TLS, o.names = cfg, &nodeNames{}
	if file := get("cacert"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("cannot read the CA certificate: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("no certificate in %s", file)
		}
	}
	cert, key := get("cert"), get("key")
	if (cert == "") != (key == "") {
		return errors.New("cert and key go together")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("cannot load the client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if v := get("insecure"); v != "" {
		off, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("insecure must be true or false, not %q", v)
		}
		cfg.InsecureSkipVerify = off
	}
	return nil
}

// redactText hides everything between the scheme and the last @ of an address
// that may not be well-formed, but for a user name.
func redactText(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		if strings.Contains(s, "@") {
			return "***"
		}
		return s
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return s
	}
	user, _, hasPassword := strings.Cut(rest[:at], ":")
	if !hasPassword {
		return s
	}
	return scheme + "://" + user + ":***@" + rest[at+1:]
}

// Redact hides the password in a text that may be the address of a server.
func Redact(s string) string { return redactText(s) }

// NamesDB tells whether an address that ParseURL reads names a database.
func NamesDB(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	return u.Query().Has("db") || u.Host != "" && strings.Trim(u.Path, "/") != ""
}
