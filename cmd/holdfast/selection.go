package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// selectFlags are the flags that choose among keys, and rename them.
type selectFlags struct {
	match, exclude, types, without, ttls, renames []string
	dbs, mapDB, add                               string
	noModules, noFieldTTLs                        bool
}

// selectHelp is what commands that have the flags say about them.
const selectHelp = `Keys may be chosen by name (--match and --exclude, with the patterns of KEYS), --type,
--db and --ttl, and be renamed (--map-db, --rename-prefix, --add-prefix). What chooses
looks at keys as the source has them. Two keys that would become one are refused.

`

func (s *selectFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&s.match, "match", nil, "only keys whose names fit this pattern, as of KEYS; may be repeated")
	f.StringArrayVar(&s.exclude, "exclude", nil, "no keys whose names fit this pattern; may be repeated")
	f.StringSliceVar(&s.types, "type", nil, "only keys of these types: string,list,set,zset,hash,stream,module, or a module type's name")
	f.StringVar(&s.dbs, "db", "", "only these databases, such as 0,3-5")
	f.StringSliceVar(&s.ttls, "ttl", nil, "only keys with one of these TTLs: none, any, <1h, >=10m, 10m..1h")
	f.StringVar(&s.mapDB, "map-db", "", "give databases other numbers, such as 0:5,1:6")
	f.StringArrayVar(&s.renames, "rename-prefix", nil, "old:=new: renames keys that begin with old:; may be repeated")
	f.StringVar(&s.add, "add-prefix", "", "put this before every name")
	f.StringSliceVar(&s.without, "without-types", nil, "leave out keys of these types")
	f.BoolVar(&s.noModules, "without-modules", false, "leave out keys of all module types")
	f.BoolVar(&s.noFieldTTLs, "without-field-ttls", false, "leave out the TTLs of hash fields: the fields never expire")
}

// selection is what of an end is meant, and what its keys become elsewhere.
type selection struct {
	filter      flow.Filter
	rewrite     flow.Rewrite
	noFieldTTLs bool
}

// parse reads the flags; nil means everything as it is.
func (s *selectFlags) parse() (*selection, error) {
	sel := &selection{noFieldTTLs: s.noFieldTTLs}
	if err := errors.Join(s.parseFilter(&sel.filter), s.parseRewrite(&sel.rewrite)); err != nil {
		return nil, usageError{err}
	}
	if sel.filter.Empty() && sel.rewrite.Empty() && !sel.noFieldTTLs {
		return nil, nil
	}
	return sel, nil
}

func (s *selectFlags) parseFilter(f *flow.Filter) (err error) {
	f.Now, f.TypeNames = time.Now().UnixMilli(), typeNames
	f.Types, f.Without = s.types, s.without
	if s.noModules {
		f.Without = append(f.Without, rdb.ClassModule.String())
	}
	for _, p := range s.match {
		f.Match = append(f.Match, []byte(p))
	}
	for _, p := range s.exclude {
		f.Exclude = append(f.Exclude, []byte(p))
	}
	for _, name := range append(f.Types[:len(f.Types):len(f.Types)], f.Without...) {
		if !knownType(name) {
			return fmt.Errorf("there is no type %q; types are string, list, set, zset, hash, stream, module, or the nine characters of a module type's name", name)
		}
	}
	for _, text := range s.ttls {
		t, err := flow.ParseTTL(text)
		if err != nil {
			return err
		}
		f.TTLs = append(f.TTLs, t)
	}
	if s.dbs != "" {
		f.DBs, err = flow.ParseNumbers(s.dbs)
	}
	return err
}

func (s *selectFlags) parseRewrite(r *flow.Rewrite) (err error) {
	if s.mapDB != "" {
		if r.DBs, err = flow.ParseDBMap(s.mapDB); err != nil {
			return err
		}
	}
	for _, text := range s.renames {
		p, err := flow.ParsePrefix(text)
		if err != nil {
			return err
		}
		r.Prefixes = append(r.Prefixes, p)
	}
	r.Add = []byte(s.add)
	return r.Validate()
}

// moduleNameLen is how long the names of module types are.
const moduleNameLen = 9

func knownType(name string) bool {
	for c := rdb.ClassUnknown + 1; c < rdb.Classes; c++ {
		if c.String() == name {
			return true
		}
	}
	return len(name) == moduleNameLen
}

// typeNames are the names by which an entry's type may be called.
func typeNames(e *flow.Entry) []string {
	class := rdb.ClassOf(e.Type)
	if e.Type == rdb.TypeModule2 {
		if name, err := rdb.ModuleName(e.Value); err == nil {
			return []string{class.String(), name}
		}
	}
	return []string{class.String()}
}

// describe is one line that says what is chosen; two readings with the same line
// mean the same.
func (s *selectFlags) describe() string {
	var b strings.Builder
	for _, part := range []struct {
		name   string
		values []string
	}{
		{"match", s.match},
		{"exclude", s.exclude},
		{"type", s.types},
		{"without", s.without},
		{"ttl", s.ttls},
		{"rename", s.renames},
		{"db", []string{s.dbs}},
		{"map", []string{s.mapDB}},
		{"add", []string{s.add}},
	} {
		for _, v := range part.values {
			if v != "" {
				fmt.Fprintf(&b, "%s=%q ", part.name, v)
			}
		}
	}
	if s.noModules {
		b.WriteString("without-modules ")
	}
	if s.noFieldTTLs {
		b.WriteString("without-field-ttls ")
	}
	return strings.TrimSpace(b.String())
}

// view is an end through a selection: the source's, or that of the target that
// has what became of it.
type view struct {
	sel    *selection
	target bool
	// unread counts what the reading of a server that is under way left out by its
	// name alone, unread.
	unread leftOut

	mu sync.Mutex
	// first is what the first reading left out, of those that came to their end.
	first *leftOut
}

// note is told what a reading left out.
func (v *view) note(l *leftOut) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.first == nil {
		v.first = l
	}
}

// leftOut is what the first reading of the end left out; nil without a view.
func (v *view) leftOut() *leftOut {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.first
}

// apply gives a source and its target, or one end alone, their views.
func (s *selectFlags) apply(src, dst *end) error {
	sel, err := s.parse()
	if err != nil || sel == nil {
		return err
	}
	src.view = &view{sel: sel}
	if dst != nil {
		dst.view = &view{sel: sel, target: true}
	}
	return nil
}

// narrows tells whether something is left out, so that the keys of the end do not
// tell how many are meant.
func (v *view) narrows() bool { return v != nil && !v.sel.filter.Empty() }

// highest is the highest number that a database gets, -1 without any. Databases
// that would be mixed are refused.
func (v *view) highest(dbs []resp.Keyspace, p *preflight) int {
	highest := -1
	for _, db := range dbs {
		n := db.DB
		if v != nil {
			f, r := &v.sel.filter, &v.sel.rewrite
			if len(f.DBs) > 0 && !f.DBs.Contains(n) {
				continue
			}
			if r.Blocked(n) {
				p.refuse("databases", "%v", &flow.CollisionError{From: flow.Key{DB: n}})
			}
			n = r.DB(n)
		}
		highest = max(highest, n)
	}
	return highest
}

// over is a source as the view shows it; src itself through no view. What it
// leaves out is counted by a reading of its own.
func (v *view) over(src flow.Source) flow.Source {
	if v == nil {
		return src
	}
	return &selected{Source: src, view: v}
}

// overServer is a server as the view shows it, which was told what to keep.
func (v *view) overServer(src flow.Source) flow.Source {
	if v == nil {
		return src
	}
	return &selected{Source: src, view: v, unread: &v.unread}
}

// lookup reads one key through the view.
func (v *view) lookup(look lookup) lookup {
	if v == nil {
		return look
	}
	return func(ctx context.Context, db int, key []byte) (*flow.Entry, error) {
		if v.target {
			e, err := look(ctx, db, key)
			return v.shown(e, err)
		}
		// What became of whichever key there is. Two would have been refused.
		for _, k := range v.sel.rewrite.Origins(db, key) {
			e, err := v.shown(look(ctx, k.DB, []byte(k.Name)))
			if e != nil {
				e.DB, e.Key = db, key
			}
			if e != nil || err != nil {
				return e, err
			}
		}
		return nil, nil
	}
}

// lookup reads one key as it is now, nil where there is none.
type lookup func(ctx context.Context, db int, key []byte) (*flow.Entry, error)

// shown is an entry if it is meant.
func (v *view) shown(e *flow.Entry, err error) (*flow.Entry, error) {
	if e == nil || err != nil {
		return nil, err
	}
	if v.check(e) != flow.Kept {
		return nil, nil
	}
	if v.sel.noFieldTTLs {
		d, err := newFieldTTLs()
		if err != nil {
			return nil, err
		}
		if err := d.drop(e); err != nil {
			return nil, err
		}
		own := e.Clone() // of the dropper's memory
		e = &own
	}
	return e, nil
}

// byMapping is why a key of a target is left out that no key of the source becomes.
const byMapping flow.Reason = "mapping"

// check says why an entry is left out.
func (v *view) check(e *flow.Entry) flow.Reason {
	if why := v.checkName(e.DB, e.Key); why != flow.Kept || e.Deleted {
		return why
	}
	return v.sel.filter.CheckValue(e)
}

// checkName says why an entry is left out whatever its value.
func (v *view) checkName(db int, key []byte) flow.Reason {
	f, r := &v.sel.filter, &v.sel.rewrite
	if !v.target || r.Empty() {
		return f.CheckName(db, key)
	}
	why := byMapping
	for _, k := range r.Origins(db, key) {
		if why = f.CheckName(k.DB, []byte(k.Name)); why == flow.Kept {
			return why
		}
	}
	return why
}

// keep tells a source that can leave out the reading of values which to read;
// nil where names do not matter.
func (v *view) keep() func(db int, key []byte) bool {
	if v == nil || !v.sel.filter.Names() && (!v.target || v.sel.rewrite.Empty()) {
		return nil
	}
	return func(db int, key []byte) bool {
		why := v.checkName(db, key)
		if why != flow.Kept {
			v.unread.add(why, "", db, key)
		}
		return why == flow.Kept
	}
}

// databases are those of a server that are meant; nil are all.
func (v *view) databases() []int {
	const most = 4096
	if v == nil || v.target {
		return nil
	}
	var out []int
	for _, r := range v.sel.filter.DBs {
		if r[1]-r[0] >= most || len(out) > most {
			return nil // they are filtered one by one
		}
		for db := r[0]; db <= r[1]; db++ {
			out = append(out, db)
		}
	}
	return out
}
