package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
)

// writeFlags are what a server that is written to may be put up with.
type writeFlags struct {
	replace, withoutFunctions, noVerify, noMemory bool
}

// finding is something that speaks against a movement.
type finding struct {
	// Refused: nothing is moved because of it; otherwise it is a warning.
	Refused bool   `json:"refused"`
	Check   string `json:"check"`
	Text    string `json:"text"`
}

// preflight collects all that speaks against filling a server, before a byte moves.
type preflight struct {
	opt   resp.Options
	flags writeFlags
	conn  *resp.Conn
	srv   resp.Server
	info  map[string]string // nil where INFO may not be called
	// before is how many keys the server holds already.
	before   int64
	findings []finding
}

func (p *preflight) refuse(check, format string, args ...any) {
	p.findings = append(p.findings, finding{true, check, fmt.Sprintf(format, args...)})
}

func (p *preflight) warn(check, format string, args ...any) {
	p.findings = append(p.findings, finding{false, check, fmt.Sprintf(format, args...)})
}

// refused is the error of a preflight that found something.
type refused struct {
	name     string
	findings []finding
}

func (r *refused) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "nothing was moved, for this speaks against filling %s:", r.name)
	for _, f := range r.findings {
		if f.Refused {
			fmt.Fprintf(&b, "\n  %s: %s", f.Check, f.Text)
		}
	}
	return b.String()
}

// verdict is a *refused error where something was refused.
func (p *preflight) verdict() error {
	if slices.ContainsFunc(p.findings, func(f finding) bool { return f.Refused }) {
		return &refused{p.opt.String(), p.findings}
	}
	return nil
}

// warnings are the findings that refuse nothing.
func (p *preflight) warnings() []finding {
	return slices.DeleteFunc(slices.Clone(p.findings), func(f finding) bool { return f.Refused })
}

// newPreflight connects to the server and looks at what does not depend on the data.
func newPreflight(ctx context.Context, opt resp.Options, flags writeFlags) (*preflight, error) {
	if err := checkWhole(ctx, opt); err != nil {
		return nil, err
	}
	srv, err := lookAt(ctx, opt)
	if err != nil {
		return nil, err
	}
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return nil, err
	}
	p := &preflight{opt: opt, flags: flags, conn: conn, srv: srv}
	for _, look := range []func(context.Context) error{p.state, p.mayWrite, p.empty, p.eviction} {
		if err := look(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return p, nil
}

func (p *preflight) close() error { return p.conn.Close() }

// state asks for the server's role and readiness.
func (p *preflight) state(ctx context.Context) error {
	if !p.srv.AtLeast(5, 0) {
		p.refuse("version", "%s: RESTORE takes absolute expiries since Redis 5.0", p.srv)
	}
	r, err := p.conn.Do(ctx, "INFO")
	if resp.IsServerError(err, "NOPERM") {
		p.warn("rights", "INFO is denied, so role, memory and databases are not looked at beforehand")
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", p.opt, err)
	}
	p.info = map[string]string{}
	for name, value := range resp.InfoFields(r.Bytes) {
		p.info[name] = value
	}
	if role := p.info["role"]; role != "" && role != "master" {
		p.refuse("role", "the server is a replica of %s:%s; give the primary", p.info["master_host"], p.info["master_port"])
	}
	if p.info["loading"] == "1" {
		p.refuse("loading", "the server is still loading its data")
	}
	return nil
}

// mayWrite sends commands that write nothing but pass every check of the server
// that comes before the writing.
func (p *preflight) mayWrite(ctx context.Context) error {
	for _, args := range [][]string{
		{"RESTORE", "holdfast:preflight", "-1", "", "REPLACE"},
		{"SET", "holdfast:preflight", "", "PX", "-1"},
	} {
		_, err := p.conn.Do(ctx, args...)
		var said *resp.ServerError
		switch {
		case err == nil:
			return fmt.Errorf("cannot look at %s: it accepts %s with an expiry of -1", p.opt, args[0])
		case !errors.As(err, &said):
			return err
		case resp.UnknownCommand(err):
			p.refuse("rights", "%s does not exist there", args[0])
		case said.Code() == "NOPERM" && strings.Contains(said.Text, "key"):
			p.warn("rights", "the user may write some keys only: %s", said.Text)
		case said.Code() == "READONLY" && p.info["role"] == "slave": // said already
		case said.Code() != "ERR":
			p.refuse("writing", "%s is refused: %s", args[0], said.Text)
		}
	}
	return nil
}

// empty counts what is there.
func (p *preflight) empty(ctx context.Context) error {
	dbs, err := p.conn.Keyspaces(ctx)
	if resp.IsServerError(err) {
		p.warn("keys", "whether the server is empty cannot be told: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	var list []string
	for _, db := range dbs {
		if db.Keys > 0 {
			p.before += db.Keys
			list = append(list, fmt.Sprintf("%s in database %d", thousands(db.Keys), db.DB))
		}
	}
	if p.before > 0 && !p.flags.replace {
		p.refuse("keys", "the server holds keys already: %s; with --replace those of the same names are replaced and the others stay", strings.Join(list, ", "))
	}
	return nil
}

// eviction warns of keys that go by themselves.
func (p *preflight) eviction(context.Context) error {
	if policy := p.info["maxmemory_policy"]; p.number("maxmemory") > 0 && policy != "noeviction" {
		p.warn("eviction", "maxmemory-policy is %s: the server deletes keys when its memory is full", policy)
	}
	return nil
}

// number is a field of INFO, 0 where it is missing.
func (p *preflight) number(name string) int64 {
	n, err := strconv.ParseInt(p.info[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// memory compares what the data need, 0 if that is not known, with what there is.
func (p *preflight) memory(need int64, how string) {
	limit, used := p.number("maxmemory"), p.number("used_memory")
	switch {
	case limit == 0 || need == 0 || p.flags.noMemory:
	case need > limit-used && p.before > 0:
		p.warn("memory", "the data need about %s bytes (%s) less what they replace, and %s of maxmemory %s are free",
			thousands(need), how, thousands(max(limit-used, 0)), thousands(limit))
	case need > limit-used:
		p.refuse("memory", "the data need about %s bytes (%s) and %s of maxmemory %s are free; --no-memory-check goes ahead",
			thousands(need), how, thousands(max(limit-used, 0)), thousands(limit))
	}
}

// databases sees whether the server has those that are needed.
func (p *preflight) databases(ctx context.Context, highest int) error {
	if highest <= 0 {
		return nil
	}
	_, err := p.conn.Do(ctx, "SELECT", strconv.Itoa(highest))
	if resp.IsServerError(err) {
		p.refuse("databases", "the data have a database %d, and the server says: %v", highest, err)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = p.conn.Do(ctx, "SELECT", "0")
	return err
}

// maxBulk is the largest argument that servers take if they are not told otherwise.
const maxBulk = 512 << 20

// data looks at what depends on the data.
func (p *preflight) data(ctx context.Context, s *contents) error {
	for _, kind := range slices.Sorted(maps.Keys(s.losses)) {
		l := s.losses[kind]
		p.refuse("version", "%s does not hold %s: %s keys, %v", p.srv, kind, thousands(l.keys), l.first)
	}
	for _, name := range slices.Sorted(maps.Keys(s.modules)) {
		if len(s.losses) == 0 {
			p.warn("modules", "%s keys of the module type %s: whether the server has the module shows when they are written", thousands(s.modules[name]), name)
		}
	}
	if s.moduleAux > 0 {
		p.warn("modules", "%d pieces of modules' data that belong to no key cannot be given to a running server; they are left out", s.moduleAux)
	}
	if s.imports > 0 {
		p.warn("slots", "the file tells of %d unfinished slot migrations; keys of those slots may be incomplete", s.imports)
	}
	p.memory(s.memory, "an estimate from the file")
	if s.largest > maxBulk {
		limit, err := p.bulkLimit(ctx)
		if err != nil {
			return err
		}
		if s.largest > limit {
			p.refuse("size", "the largest value has %s bytes, and the server takes %s (proto-max-bulk-len)", thousands(s.largest), thousands(limit))
		}
	}
	if err := p.databases(ctx, s.highest()); err != nil {
		return err
	}
	return p.functions(ctx, s.functions)
}

func (p *preflight) bulkLimit(ctx context.Context) (int64, error) {
	r, err := p.conn.Do(ctx, "CONFIG", "GET", "proto-max-bulk-len")
	if resp.IsServerError(err) || err == nil && len(r.Elems) != 2 {
		return maxBulk, nil
	}
	if err != nil {
		return 0, err
	}
	return r.Elems[1].Number()
}

// target is what the server can hold.
func (p *preflight) target() rdb.Target { return sink.TargetOf(p.srv) }
