package testkit

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Optional tells whether a facet is one that older engines do not know: it is
// compared where both ends know it.
func Optional(facet string) bool {
	for _, name := range []string{
		"field expiries", "entries-added", "max-deleted-entry-id", "recorded-first-entry-id", "entries-read", "lag", "active-time",
	} {
		if facet == name || strings.HasSuffix(facet, " "+name) {
			return true
		}
	}
	return false
}

// strings reads the strings among some keys, together, since most keys are strings.
func (r *reader) strings(names []string, types []any) (map[string]map[string]string, error) {
	var those []string
	for i, name := range names {
		if types[i] == "string" {
			those = append(those, name)
		}
	}
	replies, err := r.each("GET", those)
	out := map[string]map[string]string{}
	for i, reply := range replies {
		if text, ok := reply.(string); ok { // else it has expired meanwhile
			out[those[i]] = map[string]string{"value": text}
		}
	}
	return out, err
}

// facets reads a value that is no string; nil if there is none any more.
func (r *reader) facets(name, kind string) (map[string]string, error) {
	switch kind {
	case "none":
		return nil, nil
	case "list":
		all, err := r.list("LRANGE", name, 0, -1)
		return collection(all, err)
	case "set":
		all, err := r.list("SMEMBERS", name)
		slices.Sort(all)
		return collection(all, err)
	case "zset":
		return r.zset(name)
	case "hash":
		return r.hash(name)
	case "stream":
		return r.stream(name)
	}
	return nil, fmt.Errorf("a value of type %s cannot be read with plain commands here", kind)
}

// collection is the only facet of most; an empty one is none.
func collection(all []string, err error) (map[string]string, error) {
	if len(all) == 0 {
		return nil, err
	}
	return map[string]string{"value": quoted(all)}, err
}

// zset writes each score as its bits: engines print the same number in different digits.
func (r *reader) zset(name string) (map[string]string, error) {
	all, err := r.list("ZRANGE", name, 0, -1, "WITHSCORES")
	for i := 1; i < len(all); i += 2 {
		score, err := strconv.ParseFloat(all[i], 64)
		if err != nil {
			return nil, fmt.Errorf("a score is %q", all[i])
		}
		all[i] = fmt.Sprintf("%g=%x", score, math.Float64bits(score))
	}
	return collection(all, err)
}

func (r *reader) hash(name string) (map[string]string, error) {
	all, err := r.list("HGETALL", name)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	var lines []string
	ask := []any{"HPEXPIRETIME", name, "FIELDS", len(all) / 2}
	for i := 0; i+1 < len(all); i += 2 {
		lines = append(lines, quoted(all[i:i+2]))
		ask = append(ask, all[i])
	}
	slices.Sort(lines)
	out := map[string]string{"value": strings.Join(lines, "\n")}
	if !r.s.Build.FieldTTL {
		return out, nil
	}
	at, err := r.list(ask...)
	if err != nil {
		return nil, err
	}
	lines = nil
	for i, ms := range at {
		if ms != "-1" {
			lines = append(lines, fmt.Sprintf("%q %s", all[2*i], ms))
		}
	}
	slices.Sort(lines)
	out["field expiries"] = strings.Join(lines, "\n")
	return out, nil
}

// quoted is a text that no other list gives.
func quoted(all []string) string {
	var b strings.Builder
	for i, s := range all {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Quote(s))
	}
	return b.String()
}

// brief is a text as a person can look at it.
func brief(s string) string {
	if len(s) <= 200 {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes, sha256 %x)", s[:160], len(s), sha256.Sum256([]byte(s)))
}
