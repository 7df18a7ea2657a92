package flow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Reason is why an entry is left out.
type Reason string

// The reasons; the empty one keeps an entry.
const (
	Kept      Reason = ""
	ByMatch   Reason = "match"   // no pattern fits
	ByExclude Reason = "exclude" // a pattern to exclude fits
	ByDB      Reason = "db"
	ByType    Reason = "type"
	ByWithout Reason = "without-types"
	ByTTL     Reason = "ttl"
)

// Filter says which entries are meant. The zero value means all.
type Filter struct {
	// Match and Exclude are patterns of names, as Glob has them. An entry is meant
	// if it fits one of Match, where there are any, and none of Exclude.
	Match, Exclude [][]byte
	// DBs are the databases meant; empty means all.
	DBs Numbers
	// Types are the types meant, empty for all; Without are types not meant.
	Types, Without []string
	// TypeNames are the names by which Types and Without may call an entry's type.
	// It is needed where these are set.
	TypeNames func(*Entry) []string
	// TTLs are the remaining times to live meant; empty means all.
	TTLs []TTL
	// Now is the Unix time in milliseconds from which they count. It is fixed, so
	// that a second reading means the same entries.
	Now int64
}

// Empty tells whether all entries are meant.
func (f *Filter) Empty() bool {
	return f == nil || !f.Names() && len(f.Types)+len(f.Without)+len(f.TTLs) == 0
}

// Names tells whether names or databases matter.
func (f *Filter) Names() bool { return len(f.Match)+len(f.Exclude)+len(f.DBs) > 0 }

// Check says why an entry is not meant. Of an entry that says that its key was
// deleted only the name is known, so only the name counts.
func (f *Filter) Check(e *Entry) Reason {
	if why := f.CheckName(e.DB, e.Key); why != Kept || e.Deleted {
		return why
	}
	return f.CheckValue(e)
}

// CheckName says why an entry is not meant whatever its value, so that a source
// may spare itself the reading of the value.
func (f *Filter) CheckName(db int, key []byte) Reason {
	fits := func(pattern []byte) bool { return Glob(pattern, key) }
	switch {
	case len(f.DBs) > 0 && !f.DBs.Contains(db):
		return ByDB
	case len(f.Match) > 0 && !slices.ContainsFunc(f.Match, fits):
		return ByMatch
	case slices.ContainsFunc(f.Exclude, fits):
		return ByExclude
	}
	return Kept
}

// CheckValue says why an entry is not meant whatever its name.
func (f *Filter) CheckValue(e *Entry) Reason {
	if len(f.Types)+len(f.Without) > 0 {
		named := func(list []string) bool {
			return slices.ContainsFunc(f.TypeNames(e), func(name string) bool { return slices.Contains(list, name) })
		}
		switch {
		case len(f.Types) > 0 && !named(f.Types):
			return ByType
		case named(f.Without):
			return ByWithout
		}
	}
	if len(f.TTLs) > 0 && !slices.ContainsFunc(f.TTLs, func(t TTL) bool { return t.Contains(e, f.Now) }) {
		return ByTTL
	}
	return Kept
}

// Numbers are ranges of numbers, from first to last.
type Numbers [][2]int

// Contains tells whether n is one of them.
func (r Numbers) Contains(n int) bool {
	return slices.ContainsFunc(r, func(p [2]int) bool { return n >= p[0] && n <= p[1] })
}

// ParseNumbers reads numbers and ranges, such as 0,3-5.
func ParseNumbers(text string) (Numbers, error) {
	var out Numbers
	for part := range strings.SplitSeq(text, ",") {
		a, b, isRange := strings.Cut(part, "-")
		if !isRange {
			b = a
		}
		first, err1 := parseNumber(a)
		last, err2 := parseNumber(b)
		if err1 != nil || err2 != nil || first > last {
			return nil, fmt.Errorf("cannot read the databases %q: write them as 0,3-5", text)
		}
		out = append(out, [2]int{first, last})
	}
	return out, nil
}

// parseNumber reads the number of a database. Engines allow as many as an int32 holds.
func parseNumber(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}
