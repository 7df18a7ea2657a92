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
	before int64
	// unseen: whether it holds any cannot be told.
	unseen   bool
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
	opt, others, err := primaryOf(ctx, opt)
	if err != nil {
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
	if err := p.shards(ctx, others); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return p, nil
}

func (p *preflight) close() error { return p.conn.Close() }

// state asks for the server's role and readiness.
func (p *preflight) state(ctx context.Context) error {
	if !p.srv.AtLeast(5, 0) {
		p.refuse("version", "%s: RESTORE takes absolute expiries since Redis 5.0; give a newer server", p.srv)
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
		p.refuse("loading", "the server is still loading its data; try again when it has")
	}
	return nil
}

// empty counts what is there.
func (p *preflight) empty(ctx context.Context) error {
	dbs, err := p.conn.Keyspaces(ctx)
	if resp.IsServerError(err) {
		p.unseen = true
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
		p.refuse("databases", "the data have a database %d, and the server says: %v; --map-db gives databases other numbers, --db chooses some", highest, err)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = p.conn.Do(ctx, "SELECT", "0")
	return err
}

// data looks at what depends on the data.
func (p *preflight) data(ctx context.Context, s *contents) error {
	for _, kind := range slices.Sorted(maps.Keys(s.losses)) {
		l := s.losses[kind]
		p.refuse("version", "%s does not hold %s: %s keys, %v; %s", p.srv, kind, thousands(l.keys), l.first, withoutLoss(kind))
	}
	if len(s.losses) == 0 {
		if err := p.modules(ctx, s.modules); err != nil {
			return err
		}
	}
	if s.moduleAux > 0 {
		p.warn("modules", "%d pieces of modules' data that belong to no key cannot be given to a running server; they are left out", s.moduleAux)
	}
	if s.imports > 0 {
		p.warn("slots", "the file tells of %d unfinished slot migrations; keys of those slots may be incomplete", s.imports)
	}
	p.memory(s.memory, "an estimate from the file")
	if err := p.size(ctx, s.largest); err != nil {
		return err
	}
	if err := p.databases(ctx, s.highest()); err != nil {
		return err
	}
	return p.functions(ctx, s.functions)
}

// withoutLoss tells how to go on without what a server cannot hold.
func withoutLoss(kind string) string {
	if kind == string(rdb.LossFieldTTL) {
		return "--without-field-ttls keeps the hashes and leaves the TTLs of their fields out"
	}
	if kind == string(rdb.LossStream) {
		return "--without-types stream leaves them out"
	}
	return "--without-modules leaves them out"
}

// target is what the server can hold.
func (p *preflight) target() rdb.Target { return sink.TargetOf(p.srv) }
