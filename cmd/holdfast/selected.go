package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// selected is a source through a view.
type selected struct {
	flow.Source
	view *view
	left leftOut
	// unread is set where the source itself leaves out what need not be read.
	unread *leftOut
}

// Entries yields what is meant, under the names that it gets.
func (s *selected) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		s.left = leftOut{}
		if s.unread != nil {
			*s.unread = leftOut{}
		}
		drop, err := newFieldTTLs()
		if err != nil {
			yield(nil, err)
			return
		}
		whole := false
		defer func() {
			s.left.FieldTTLs = drop.tr.Stats().DroppedFieldTTLs
			if s.unread != nil {
				s.left.merge(s.unread)
			}
			if whole {
				l := s.left
				s.view.note(&l)
			}
		}()
		to := flow.NewRewriter(&s.view.sel.rewrite)
		var changed flow.Entry // a source's own entry is not ours to change
		for e, err := range s.Source.Entries(ctx) {
			if err == nil {
				if why := s.view.check(e); why != flow.Kept {
					names := typeNames(e)
					s.left.add(why, names[len(names)-1], e.DB, e.Key)
					continue
				}
				changed = *e
				err = s.change(&changed, drop, to)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&changed, nil) {
				return
			}
		}
		whole = true
	}
}

// change makes an entry what it is elsewhere.
func (s *selected) change(e *flow.Entry, drop *fieldTTLs, to *flow.Rewriter) error {
	if s.view.sel.noFieldTTLs && !e.Deleted {
		if err := drop.drop(e); err != nil {
			return err
		}
	}
	if s.view.target || s.view.sel.rewrite.Empty() {
		return nil
	}
	return to.Apply(e)
}

// skipped is what a source left out, if it is a view.
func skipped(src flow.Source) *leftOut {
	if s, ok := src.(*selected); ok {
		return &s.left
	}
	return nil
}

// fieldTTLs takes the TTLs of fields from hashes.
type fieldTTLs struct{ tr *rdb.Transcoder }

func newFieldTTLs() (*fieldTTLs, error) {
	// The newest version that knows every plain hash and no TTL of a field.
	tr, err := rdb.NewTranscoder(rdb.Target{Version: 11, Modules: true, DropFieldTTL: true})
	if err != nil {
		return nil, err
	}
	return &fieldTTLs{tr}, nil
}

// drop changes a hash; the value's bytes are valid until the next call.
func (d *fieldTTLs) drop(e *flow.Entry) error {
	if rdb.ClassOf(e.Type) != rdb.ClassHash || d.tr.Target().Reads(e.Type, e.Version, e.Value) {
		return nil
	}
	if e.Body != nil {
		return fmt.Errorf("cannot take the TTLs from the fields of key %q of database %d: the hash is too large to be held in memory; --exclude leaves it out", e.Key, e.DB)
	}
	typ, value, err := d.tr.Transcode(e.Type, e.Version, e.Value)
	if err != nil {
		return fmt.Errorf("cannot take the TTLs from the fields of key %q of database %d: %w", e.Key, e.DB, err)
	}
	e.Type, e.Value, e.Version = typ, value, d.tr.Target().Version
	return nil
}

// leftOut counts what a selection left out.
type leftOut struct {
	// Keys in all, and by reason and type.
	Keys    int64     `json:"keys"`
	Reasons []omitted `json:"reasons"`
	// FieldTTLs counts the hash fields that were moved without their TTL.
	FieldTTLs int64 `json:"fieldTTLs"`
}

// omitted are the keys of one type that were left out for one reason. The type is
// empty where the name was reason enough and the value was not read.
type omitted struct {
	Reason flow.Reason `json:"reason"`
	Type   string      `json:"type"`
	Keys   int64       `json:"keys"`
	// First are the names of the first of them, quoted as Go does.
	First []string `json:"first"`
}

// namedFirst is how many keys of each kind are named.
const namedFirst = 5

func (l *leftOut) add(why flow.Reason, typ string, db int, key []byte) {
	o := l.of(why, typ)
	l.Keys++
	if o.Keys++; len(o.First) < namedFirst {
		o.First = append(o.First, fmt.Sprintf("db%d %q", db, key))
	}
}

func (l *leftOut) of(why flow.Reason, typ string) *omitted {
	for i := range l.Reasons {
		if o := &l.Reasons[i]; o.Reason == why && o.Type == typ {
			return o
		}
	}
	l.Reasons = append(l.Reasons, omitted{Reason: why, Type: typ})
	return &l.Reasons[len(l.Reasons)-1]
}

// merge adds another count.
func (l *leftOut) merge(more *leftOut) {
	l.Keys += more.Keys
	for _, m := range more.Reasons {
		l.of(m.Reason, m.Type).merge(&m)
	}
}

func (o *omitted) merge(more *omitted) {
	o.Keys += more.Keys
	o.First = append(o.First, more.First...)
	o.First = o.First[:min(len(o.First), namedFirst)]
}

// reasons in order.
func (l *leftOut) reasons() (out []flow.Reason) {
	for _, o := range l.Reasons {
		out = append(out, o.Reason)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// print says what was left out, by reason; nothing if nothing was.
func (l *leftOut) print(w io.Writer) {
	if l == nil || l.Keys+l.FieldTTLs == 0 {
		return
	}
	for _, why := range l.reasons() {
		var all omitted
		var types []string
		for _, o := range l.Reasons {
			if o.Reason != why {
				continue
			}
			if all.merge(&o); o.Type != "" {
				types = append(types, o.Type+" "+thousands(o.Keys))
			}
		}
		if len(types) > 0 {
			slices.Sort(types)
			types = []string{" (" + strings.Join(types, ", ") + ")"}
		}
		fmt.Fprintf(w, "left out by --%s: %s keys%s: %s", flagOf(why), thousands(all.Keys), strings.Join(types, ""), strings.Join(all.First, ", "))
		if all.Keys > int64(len(all.First)) {
			fmt.Fprint(w, ", …")
		}
		fmt.Fprintln(w)
	}
	if l.FieldTTLs > 0 {
		fmt.Fprintf(w, "left out by --without-field-ttls: the TTLs of %s hash fields\n", thousands(l.FieldTTLs))
	}
}

// flagOf is the flag behind a reason.
func flagOf(why flow.Reason) string {
	if why == byMapping {
		return "map-db, --rename-prefix or --add-prefix"
	}
	return string(why)
}
