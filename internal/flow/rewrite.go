package flow

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Rewrite gives entries other databases and names. The zero value leaves them.
type Rewrite struct {
	// DBs maps databases to others; those that are not in it keep their numbers.
	DBs map[int]int
	// Prefixes are replaced; where several fit a name, the longest is.
	Prefixes []Prefix
	// Add is put before every name, after that.
	Add []byte
}

// Prefix is what names begin with, and what instead.
type Prefix struct{ Old, New []byte }

// maxPrefixes is how many prefixes a Rewriter tells apart.
const maxPrefixes = 200

// Empty tells whether nothing is rewritten.
func (r *Rewrite) Empty() bool {
	return r == nil || len(r.DBs)+len(r.Prefixes)+len(r.Add) == 0
}

// Validate says what of a rewrite cannot be done whatever the entries.
func (r *Rewrite) Validate() error {
	from := map[int]int{}
	for a, b := range r.DBs {
		if other, ok := from[b]; ok {
			return fmt.Errorf("databases %d and %d cannot both become %d", min(a, other), max(a, other), b)
		}
		from[b] = a
	}
	if len(r.Prefixes) > maxPrefixes {
		return fmt.Errorf("%d prefixes are too many; %d can be renamed at once", len(r.Prefixes), maxPrefixes)
	}
	for i, p := range r.Prefixes {
		if len(p.Old) == 0 {
			return errors.New("an empty prefix cannot be renamed; what every name should begin with can be added")
		}
		for _, o := range r.Prefixes[:i] {
			if bytes.Equal(o.Old, p.Old) {
				return fmt.Errorf("the prefix %q is to become both %q and %q", p.Old, o.New, p.New)
			}
		}
		if err := sameTag(p.Old, p.New); err != nil {
			return err
		}
	}
	return sameTag(nil, r.Add)
}

// sameTag refuses what would move keys that share a slot to different ones: a
// prefix that brings a hash tag, takes one away, or cuts one in two.
func sameTag(before, after []byte) error {
	a, ok1 := tagIn(before)
	b, ok2 := tagIn(after)
	if !ok1 || !ok2 || !bytes.Equal(a, b) {
		return fmt.Errorf("%q cannot become %q: in cluster mode what stands in {} decides on a key's slot, so that it has to stay as it is", before, after)
	}
	return nil
}

// tagIn is the part in braces; false if braces stand in any other way.
func tagIn(prefix []byte) ([]byte, bool) {
	open, end := bytes.IndexByte(prefix, '{'), bytes.IndexByte(prefix, '}')
	if open < 0 && end < 0 {
		return nil, true
	}
	one := bytes.Count(prefix, []byte("{")) == 1 && bytes.Count(prefix, []byte("}")) == 1
	if !one || end < open+2 {
		return nil, false
	}
	return prefix[open : end+1], true
}

// ParsePrefix reads old:=new:, which is divided at the first =.
func ParsePrefix(text string) (Prefix, error) {
	before, after, ok := strings.Cut(text, "=")
	if !ok || before == "" {
		return Prefix{}, fmt.Errorf("cannot read the prefixes %q: write them as old:=new: where names that begin with old: are to begin with new:", text)
	}
	return Prefix{[]byte(before), []byte(after)}, nil
}

// ParseDBMap reads 0:5,1:6.
func ParseDBMap(text string) (map[int]int, error) {
	out := map[int]int{}
	for part := range strings.SplitSeq(text, ",") {
		a, b, _ := strings.Cut(part, ":")
		from, err1 := parseNumber(a)
		to, err2 := parseNumber(b)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("cannot read the databases %q: write them as 0:5,1:6", text)
		}
		if _, twice := out[from]; twice {
			return nil, fmt.Errorf("database %d is mapped twice in %q", from, text)
		}
		out[from] = to
	}
	return out, nil
}

// DB is what a database becomes.
func (r *Rewrite) DB(db int) int {
	if to, ok := r.DBs[db]; ok {
		return to
	}
	return db
}

// Blocked tells whether a database, which keeps its number, would be mixed with
// one that gets this number.
func (r *Rewrite) Blocked(db int) bool {
	if _, moves := r.DBs[db]; moves {
		return false
	}
	_, ok := r.moved(db)
	return ok
}

// moved is the database that becomes db by being named.
func (r *Rewrite) moved(db int) (int, bool) {
	for from, to := range r.DBs {
		if to == db {
			return from, true
		}
	}
	return 0, false
}

// AppendName appends what a name becomes. origin tells which prefix was replaced,
// counted from 1, or 0.
func (r *Rewrite) AppendName(dst, key []byte) (_ []byte, origin int) {
	dst = append(dst, r.Add...)
	longest := -1
	for i, p := range r.Prefixes {
		if bytes.HasPrefix(key, p.Old) && (longest < 0 || len(p.Old) > len(r.Prefixes[longest].Old)) {
			longest = i
		}
	}
	if longest >= 0 {
		dst = append(dst, r.Prefixes[longest].New...)
		key = key[len(r.Prefixes[longest].Old):]
	}
	return append(dst, key...), longest + 1
}

// Origins are all keys that would become this one; none means that it is no
// rewritten key.
func (r *Rewrite) Origins(db int, key []byte) []Key {
	from, ok := r.moved(db)
	if !ok {
		if _, moves := r.DBs[db]; moves {
			return nil
		}
		from = db
	}
	rest, ok := bytes.CutPrefix(key, r.Add)
	if !ok {
		return nil
	}
	var out []Key
	try := func(name []byte, origin int) {
		if again, by := r.AppendName(nil, name); by == origin && bytes.Equal(again, key) {
			out = append(out, Key{DB: from, Name: string(name)})
		}
	}
	try(rest, 0)
	for i, p := range r.Prefixes {
		if tail, ok := bytes.CutPrefix(rest, p.New); ok {
			try(append(bytes.Clone(p.Old), tail...), i+1)
		}
	}
	return out
}
