package memcache

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

// The schemes of an address; the second speaks TLS.
const (
	Scheme    = "memcached://"
	SchemeTLS = "memcacheds://"
)

// IsURL tells whether a text is meant as the address of memcached servers.
func IsURL(text string) bool {
	return strings.HasPrefix(text, Scheme) || strings.HasPrefix(text, SchemeTLS)
}

// ParseURL reads the address of one or several servers:
//
//	memcached://[user[:password]@]host[:port][,host[:port]…]
//	memcached:///path/to/socket[,/path/to/socket…]
//	memcacheds://host[:port][?cacert=FILE&cert=FILE&key=FILE&servername=NAME&insecure=true]
//
// An error holds nothing of the password.
func ParseURL(text string) ([]*Server, error) {
	secure := strings.HasPrefix(text, SchemeTLS)
	rest, ok := strings.CutPrefix(text, SchemeTLS)
	if !ok {
		if rest, ok = strings.CutPrefix(text, Scheme); !ok {
			return nil, fmt.Errorf("an address of memcached begins with %s or %s", Scheme, SchemeTLS)
		}
	}
	rest, query, _ := strings.Cut(rest, "?")
	var user, password string
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		var err error
		if user, password, err = userinfo(rest[:at]); err != nil {
			return nil, err
		}
		rest = rest[at+1:]
	}
	conf, err := tlsOf(secure, query)
	if err != nil {
		return nil, err
	}
	var out []*Server
	for part := range strings.SplitSeq(strings.TrimSuffix(rest, "/"), ",") {
		s, err := parseServer(part)
		if err != nil {
			return nil, err
		}
		if secure && s.Network == "unix" {
			return nil, fmt.Errorf("%s speaks TLS, and %s is a socket: write %s%s", SchemeTLS, part, Scheme, part)
		}
		for _, o := range out {
			if o.Addr == s.Addr {
				return nil, fmt.Errorf("%s is named twice", s.Addr)
			}
		}
		s.User, s.Password, s.TLS = user, password, conf
		out = append(out, s)
	}
	return out, nil
}

func userinfo(text string) (user, password string, err error) {
	user, password, _ = strings.Cut(text, ":")
	u, err1 := url.PathUnescape(user)
	p, err2 := url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return "", "", errors.New("the user or the password in the address is not escaped right: write % as %25, @ as %40, : as %3A")
	}
	if u == "" {
		return "", "", errors.New("there is a password and no user: memcached wants both, user:password@host")
	}
	if strings.ContainsAny(u, " \r\n\x00") {
		return "", "", errors.New("a user of memcached has no blanks in its name")
	}
	return u, p, nil
}

func parseServer(text string) (*Server, error) {
	if strings.HasPrefix(text, "/") {
		return &Server{Network: "unix", Addr: text}, nil
	}
	host, port := text, strconv.Itoa(defaultPort)
	switch {
	case text == "":
		return nil, errors.New("the address names no server")
	case strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]"):
		host = text[1 : len(text)-1]
	case strings.Contains(text, ":"):
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return nil, fmt.Errorf("%q is not host:port", text)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/ ") {
		return nil, fmt.Errorf("%q is not host:port", text)
	}
	return &Server{Network: "tcp", Addr: net.JoinHostPort(host, port)}, nil
}

// tlsOf reads the parameters of an address, all of which are about TLS.
func tlsOf(secure bool, query string) (*tls.Config, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("cannot read the parameters of the address: %w", err)
	}
	if !secure {
		for name := range values {
			return nil, fmt.Errorf("the parameter %s is for TLS: write %s", name, SchemeTLS)
		}
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	for name := range values {
		v := values.Get(name)
		switch name {
		case "cacert":
			pem, err := os.ReadFile(v)
			if err != nil {
				return nil, fmt.Errorf("cannot read the authority: %w", err)
			}
			conf.RootCAs = x509.NewCertPool()
			if !conf.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("%s holds no certificate", v)
			}
		case "cert", "key":
		case "servername":
			conf.ServerName = v
		case "insecure":
			if conf.InsecureSkipVerify, err = strconv.ParseBool(v); err != nil {
				return nil, fmt.Errorf("insecure is %q and must be true or false", v)
			}
		default:
			return nil, fmt.Errorf("there is no parameter %q: cacert, cert, key, servername and insecure are known", name)
		}
	}
	if cert, key := values.Get("cert"), values.Get("key"); cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cannot load the certificate of cert and key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// tlsFor is the configuration for one server: the certificate has to be for its host.
func (s *Server) tlsFor() *tls.Config {
	if s.TLS.ServerName != "" {
		return s.TLS
	}
	c := s.TLS.Clone()
	if host, _, err := net.SplitHostPort(s.Addr); err == nil {
		c.ServerName = host
	}
	return c
}
