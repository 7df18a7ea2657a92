package resp

import (
	"crypto/tls"
	"net/url"
	"strconv"
	"time"
)

// Defaults of Options.
const (
	DefaultPort        = "6379"
	DefaultName        = "holdfast"
	DefaultDialTimeout = 10 * time.Second
	// DefaultTimeout is generous: a server may stand still for seconds while it
	// forks, dumps a large value or is paused by an administrator.
	DefaultTimeout = 60 * time.Second
)

// Options say how to reach a server and as whom.
type Options struct {
	// Network is "tcp" (the default) or "unix"; Addr is host:port or the socket's path.
	Network, Addr string
	// Username and Password log in. An empty username is the default user.
	Username, Password string
	// DB is selected after the log-in.
	DB int
	// TLS, if not nil, is the configuration of an encrypted connection.
	TLS *tls.Config
	// Name is what CLIENT SETNAME tells the server; empty means DefaultName.
	Name string
	// DialTimeout bounds connecting and logging in; 0 means DefaultDialTimeout.
	DialTimeout time.Duration
	// Timeout is how long a connection may wait without one byte coming or
	// going; 0 means DefaultTimeout.
	Timeout time.Duration
	// RESP2 keeps the connection on protocol version 2, as a replica must.
	RESP2 bool
	// OnPush receives out-of-band messages of RESP3 while replies are read; nil
	// drops them. The reply is valid during the call.
	OnPush func(*Reply)

	// seed is the host at which the user reached the cluster of which this is another
	// node, and names what its nodes announce.
	seed  string
	names *nodeNames
}

// WithDB returns the options with another database.
func (o Options) WithDB(db int) Options {
	o.DB = db
	return o
}

// String is the address as a URL, with *** in place of a password.
func (o Options) String() string {
	u := url.URL{Scheme: "redis", Host: o.Addr}
	switch {
	case o.Network == "unix":
		u = url.URL{Scheme: "unix", Path: o.Addr}
	case o.TLS != nil:
		u.Scheme = "rediss"
	}
	user := ""
	if o.Password != "" {
		user = url.PathEscape(o.Username) + ":***@"
	} else if o.Username != "" {
		user = url.PathEscape(o.Username) + "@"
	}
	s := u.Scheme + "://" + user + u.Host + u.Path
	if o.Network == "unix" {
		if o.DB != 0 {
			s += "?db=" + strconv.Itoa(o.DB)
		}
		return s
	}
	if o.DB != 0 {
		s += "/" + strconv.Itoa(o.DB)
	}
	return s
}

// GoString hides the password from %#v too.
func (o Options) GoString() string { return "resp.Options{" + o.String() + "}" }

func (o Options) withDefaults() Options {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	return o
}
