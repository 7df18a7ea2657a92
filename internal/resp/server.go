package resp

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Server is what a server says about itself.
type Server struct {
	// Engine is "redis", "valkey" or "redict".
	Engine string
	// Version is the engine's own version: 8.1.1 for Valkey 8.1.1, although it
	// tells old clients 7.2.4.
	Version      string
	Major, Minor int
	// Mode is standalone, sentinel or cluster.
	Mode string
}

// String is engine and version.
func (s Server) String() string { return s.Engine + " " + s.Version }

// AtLeast compares the protocol that the server speaks with a version of Redis.
// Valkey and Redict count as the Redis 7.2 they come from.
func (s Server) AtLeast(major, minor int) bool {
	ma, mi := s.Major, s.Minor
	if s.Engine != "redis" {
		ma, mi = 7, 2
	}
	return ma > major || ma == major && mi >= minor
}

// ParseServer reads the reply of INFO, its server section at least.
func ParseServer(info []byte) (Server, error) {
	s := Server{}
	for name, value := range InfoFields(info) {
		switch name {
		case "valkey_version":
			s.Engine, s.Version = "valkey", value
		case "redict_version":
			s.Engine, s.Version = "redict", value
		case "redis_version":
			if s.Engine == "" {
				s.Engine, s.Version = "redis", value
			}
		case "redis_mode", "server_mode":
			s.Mode = value
		case "executable":
			if s.Engine == "redis" && strings.Contains(value, "redict") {
				s.Engine = "redict"
			}
		}
	}
	if s.Engine == "" {
		return Server{}, fmt.Errorf("cannot tell the version of the server: INFO names none")
	}
	if err := s.split(); err != nil {
		return Server{}, err
	}
	return s, nil
}

// split reads the numbers out of Version.
func (s *Server) split() error {
	major, rest, _ := strings.Cut(s.Version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	var err1, err2 error
	s.Major, err1 = strconv.Atoi(major)
	if minor != "" {
		s.Minor, err2 = strconv.Atoi(minor)
	}
	if err1 != nil || err2 != nil {
		return fmt.Errorf("cannot read the version %q of the server", s.Version)
	}
	return nil
}

// Server asks for the server's engine and version.
func (c *Conn) Server(ctx context.Context) (Server, error) {
	r, err := c.Do(ctx, "INFO", "server")
	if err != nil {
		return Server{}, fmt.Errorf("cannot ask %s for its version: %w", c.opt, err)
	}
	return ParseServer(r.Bytes)
}

// InfoFields yields the fields of an INFO reply in order.
func InfoFields(info []byte) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for line := range bytes.Lines(info) {
			line = bytes.TrimRight(line, "\r\n")
			if len(line) == 0 || line[0] == '#' {
				continue
			}
			name, value, ok := bytes.Cut(line, []byte(":"))
			if ok && !yield(string(name), string(value)) {
				return
			}
		}
	}
}

// Keyspace is one database's line in INFO keyspace.
type Keyspace struct {
	DB            int
	Keys, Expires int64
}

// Keyspaces asks for the databases that are not empty, in ascending order.
func (c *Conn) Keyspaces(ctx context.Context) ([]Keyspace, error) {
	r, err := c.Do(ctx, "INFO", "keyspace")
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for its databases: %w", c.opt, err)
	}
	return ParseKeyspaces(r.Bytes)
}

// ParseKeyspaces reads INFO keyspace: db0:keys=3,expires=1,avg_ttl=0.
func ParseKeyspaces(info []byte) ([]Keyspace, error) {
	var out []Keyspace
	for name, value := range InfoFields(info) {
		num, ok := strings.CutPrefix(name, "db")
		if !ok {
			continue
		}
		db, err := strconv.Atoi(num)
		if err != nil {
			continue
		}
		k := Keyspace{DB: db}
		for field := range strings.SplitSeq(value, ",") {
			n, v, _ := strings.Cut(field, "=")
			switch n {
			case "keys":
				k.Keys, err = strconv.ParseInt(v, 10, 64)
			case "expires":
				k.Expires, err = strconv.ParseInt(v, 10, 64)
			}
			if err != nil {
				return nil, fmt.Errorf("cannot read INFO keyspace %q: %w", value, err)
			}
		}
		out = append(out, k)
	}
	return out, nil
}
