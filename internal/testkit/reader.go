package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Content is everything that servers hold, as their own commands for clients tell
// it: TYPE, GET, LRANGE, XINFO and the like. Nothing of the mover has a part in it,
// so that it can judge the mover: it knows neither DUMP nor RDB.
type Content struct {
	Keys map[Key]Value
	// Functions are libraries, "engine code" by name.
	Functions map[string]string
}

// Key names a key of a server.
type Key struct {
	DB   int
	Name string
}

func (k Key) String() string { return fmt.Sprintf("db%d %q", k.DB, k.Name) }

// Value is what a key holds.
type Value struct {
	Type string
	// Facets are the parts of the value, in a form of which equal ones are equal
	// text, whatever the encoding. See Optional for those that not all engines know.
	Facets map[string]string
	Expiry Expiry
}

// Expiry is when a key expires, in Unix milliseconds: at some moment from Lo to
// Hi, which are the same where the engine tells (7.0 and later). Zero is never.
type Expiry struct{ Lo, Hi int64 }

// readKeys is how many keys are asked for at a time.
const readKeys = 200

// ReadContent reads everything from servers that nobody writes to. Several make up
// one keyspace, as the primaries of a cluster do; a key that two of them have, and
// a library that they do not have alike, fails the test.
func ReadContent(t testing.TB, servers ...*Server) *Content {
	t.Helper()
	c := &Content{Keys: map[Key]Value{}, Functions: map[string]string{}}
	for _, s := range servers {
		r, err := newReader(s)
		if err != nil {
			t.Fatalf("cannot read %s: %v", s.Addr(), err)
		}
		err = r.read(c)
		_ = r.conn.Close() // everything was read, or failed
		if err != nil {
			t.Fatalf("cannot read %s: %v", s.Addr(), err)
		}
	}
	return c
}

// Digest is what DEBUG DIGEST answers: a sum over all keys and values, and over
// whether a key expires, but not when. It is comparable between servers of the same build.
func (s *Server) Digest() string {
	s.t.Helper()
	return fmt.Sprint(s.Must("DEBUG", "DIGEST"))
}

// reader reads one server through a connection of its own.
type reader struct {
	s *Server
	*link
}

func newReader(s *Server) (*reader, error) {
	conn, err := s.dial()
	if err != nil {
		return nil, err
	}
	r := &reader{s, &link{conn: conn, in: bufio.NewReader(conn)}}
	if s.password != "" {
		if _, err := r.roundTrip([]any{"AUTH", s.password}); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return r, nil
}

func (r *reader) read(c *Content) error {
	dbs, err := r.databases()
	if err != nil {
		return err
	}
	for _, db := range dbs {
		if err := r.database(c, db); err != nil {
			return fmt.Errorf("database %d: %w", db, err)
		}
	}
	return r.functions(c)
}

// databases are those that hold keys.
func (r *reader) databases() ([]int, error) {
	info, err := r.roundTrip([]any{"INFO", "keyspace"})
	if err != nil {
		return nil, err
	}
	var dbs []int
	for line := range strings.SplitSeq(fmt.Sprint(info), "\r\n") {
		name, _, ok := strings.Cut(line, ":")
		number, isDB := strings.CutPrefix(name, "db")
		if !ok || !isDB {
			continue
		}
		db, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("INFO keyspace answered %q", line)
		}
		dbs = append(dbs, db)
	}
	return dbs, nil
}

func (r *reader) database(c *Content, db int) error {
	if _, err := r.roundTrip([]any{"SELECT", db}); err != nil {
		return err
	}
	all, err := r.list("KEYS", "*")
	if err != nil {
		return err
	}
	for names := range slices.Chunk(all, readKeys) {
		types, err := r.each("TYPE", names)
		if err != nil {
			return err
		}
		expiries, err := r.expiries(names)
		if err != nil {
			return err
		}
		strings, err := r.strings(names, types)
		if err != nil {
			return err
		}
		for i, name := range names {
			k, v := Key{db, name}, Value{Type: fmt.Sprint(types[i]), Facets: strings[name], Expiry: expiries[i]}
			if v.Type != "string" {
				if v.Facets, err = r.facets(name, v.Type); err != nil {
					return fmt.Errorf("key %q: %w", name, err)
				}
			}
			if v.Facets == nil {
				continue // expired meanwhile
			}
			if _, twice := c.Keys[k]; twice {
				return fmt.Errorf("key %q is on another server too", name)
			}
			c.Keys[k] = v
		}
	}
	return nil
}

// expiries asks when keys expire. An engine that tells only what is left is asked
// between two looks at its clock.
func (r *reader) expiries(names []string) ([]Expiry, error) {
	out := make([]Expiry, len(names))
	if r.s.Build.ExpireTime {
		at, err := r.each("PEXPIRETIME", names)
		for i := range at {
			if ms, ok := at[i].(int64); ok && ms > 0 {
				out[i] = Expiry{ms, ms}
			}
		}
		return out, err
	}
	for i, name := range names {
		replies, err := r.batch([]any{"TIME"}, []any{"PTTL", name}, []any{"TIME"})
		if err != nil {
			return nil, err
		}
		if left, ok := replies[1].(int64); ok && left >= 0 {
			out[i] = Expiry{clock(replies[0]) + left, clock(replies[2]) + left}
		}
	}
	return out, nil
}

// clock is the reply of TIME in milliseconds.
func clock(reply any) int64 {
	parts, _ := reply.([]any)
	var n [2]int64
	for i := range min(len(parts), 2) {
		n[i], _ = strconv.ParseInt(fmt.Sprint(parts[i]), 10, 64) // the engine writes numbers
	}
	return n[0]*1000 + n[1]/1000
}

func (r *reader) functions(c *Content) error {
	if !r.s.Build.Functions {
		return nil
	}
	reply, err := r.roundTrip([]any{"FUNCTION", "LIST", "WITHCODE"})
	if err != nil {
		return err
	}
	libs, _ := reply.([]any)
	for _, lib := range libs {
		f := pairs(lib)
		name, code := fmt.Sprint(f["library_name"]), fmt.Sprint(f["engine"], " ", f["library_code"])
		if other, ok := c.Functions[name]; ok && other != code {
			return fmt.Errorf("function library %q differs from another server's", name)
		}
		c.Functions[name] = code
	}
	return nil
}

// list is the reply of a command that answers texts.
func (r *reader) list(args ...any) ([]string, error) {
	reply, err := r.roundTrip(args)
	if err != nil {
		return nil, err
	}
	all, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("%v answered %v", args[0], reply)
	}
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = fmt.Sprint(v)
	}
	return out, nil
}

// each gives one command for each name.
func (r *reader) each(command string, names []string) ([]any, error) {
	cmds := make([][]any, len(names))
	for i, name := range names {
		cmds[i] = []any{command, name}
	}
	return r.batch(cmds...)
}

// batch sends commands together; an error that is answered to one of them is an error.
func (r *reader) batch(cmds ...[]any) ([]any, error) {
	if err := r.conn.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return nil, err
	}
	var out []byte
	for _, c := range cmds {
		out = append(out, command(c)...)
	}
	if _, err := r.conn.Write(out); err != nil {
		return nil, err
	}
	replies := make([]any, len(cmds))
	for i := range replies {
		reply, err := readReply(r.in)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", cmds[i][0], err)
		}
		replies[i] = reply
	}
	return replies, nil
}

// pairs is a reply of names and values as a map.
func pairs(reply any) map[string]any {
	all, _ := reply.([]any)
	out := map[string]any{}
	for i := 0; i+1 < len(all); i += 2 {
		out[fmt.Sprint(all[i])] = all[i+1]
	}
	return out
}
