package policy

import (
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// operator compares a value of the request with one of the policy's.
type operator struct {
	match     func(p *pattern, v string, c Context) bool
	check     func(string) bool // whether a value of the policy can be read
	negated   bool
	null      bool
	arn       bool
	variables bool // whether its values may hold policy variables
}

// operators are those of IAM but BinaryEquals, for which no key has a value.
var operators = makeOperators()

func makeOperators() map[string]operator {
	m := map[string]operator{
		"StringEquals":           {match: equals, variables: true},
		"StringEqualsIgnoreCase": {match: equalsFold, variables: true},
		"StringLike":             {match: like, variables: true},
		"ArnEquals":              {match: arnLike, check: arnForm, arn: true, variables: true},
		"ArnLike":                {match: arnLike, check: arnForm, arn: true, variables: true},
		"Bool":                   {match: equalsFold, check: isBool, variables: true},
		"IpAddress":              {match: inNetwork, check: isNetwork},
		"Null":                   {null: true, check: isBool},
	}
	for name, of := range map[string]string{
		"StringNotEquals": "StringEquals", "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase", "StringNotLike": "StringLike",
		"ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike", "NotIpAddress": "IpAddress",
	} {
		op := m[of]
		op.negated = true
		m[name] = op
	}
	for name, holds := range map[string]func(int) bool{
		"Equals":            func(c int) bool { return c == 0 },
		"LessThan":          func(c int) bool { return c < 0 },
		"LessThanEquals":    func(c int) bool { return c <= 0 },
		"GreaterThan":       func(c int) bool { return c > 0 },
		"GreaterThanEquals": func(c int) bool { return c >= 0 },
	} {
		m["Numeric"+name] = operator{match: ordered(number, holds), check: readable(number)}
		m["Date"+name] = operator{match: ordered(date, holds), check: readable(date)}
	}
	for _, kind := range []string{"Numeric", "Date"} {
		op := m[kind+"Equals"]
		op.negated = true
		m[kind+"NotEquals"] = op
	}
	return m
}

func equals(p *pattern, v string, c Context) bool {
	want, ok := p.literal(c)
	return ok && want == v
}

func equalsFold(p *pattern, v string, c Context) bool {
	want, ok := p.literal(c)
	return ok && strings.EqualFold(want, v)
}

func like(p *pattern, v string, c Context) bool {
	ok, _ := p.matches(v, c)
	return ok
}

// arnLike compares what is an ARN only.
func arnLike(p *pattern, v string, c Context) bool {
	return strings.HasPrefix(v, "arn:") && like(p, v, c)
}

func arnForm(s string) bool { return s == "*" || checkARN("The value", s) == nil }

func isBool(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "false") }

func isNetwork(s string) bool {
	_, ok := network(s)
	return ok
}

// network reads an address, or a range of them.
func network(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

func inNetwork(p *pattern, v string, _ Context) bool {
	n, ok := network(p.source)
	a, err := netip.ParseAddr(v)
	return ok && err == nil && n.Contains(a.Unmap().WithZone(""))
}

// ordered compares by a reader of values; what cannot be read is unlike everything.
func ordered(read func(string) (*big.Rat, bool), holds func(int) bool) func(*pattern, string, Context) bool {
	return func(p *pattern, v string, _ Context) bool {
		want, ok1 := read(p.source)
		got, ok2 := read(v)
		return ok1 && ok2 && holds(got.Cmp(want))
	}
}

func readable(read func(string) (*big.Rat, bool)) func(string) bool {
	return func(s string) bool {
		_, ok := read(s)
		return ok
	}
}

// maxNumber bounds the length of a number: an exponent could make it huge.
const maxNumber = 40

func number(s string) (*big.Rat, bool) {
	if len(s) > maxNumber || s == "" || strings.ContainsAny(s, "eExX_/pPbBoO") {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// dateForms are those of ISO 8601 that IAM's documentation has.
var dateForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02"}

// date reads ISO 8601, or seconds since 1970.
func date(s string) (*big.Rat, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return new(big.Rat).SetInt64(n), true
	}
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil {
			at := new(big.Rat).SetInt64(t.Unix())
			return at.Add(at, big.NewRat(int64(t.Nanosecond()), int64(time.Second))), true
		}
	}
	return nil, false
}
