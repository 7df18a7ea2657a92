package policy

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// piece is a run of a pattern: text, a wildcard, or a variable.
type piece struct {
	text     string // of a text, or the key of a variable
	kind     pieceKind
	fallback *string
}

type pieceKind int

const (
	pieceText pieceKind = iota
	pieceAny
	pieceOne
	pieceVariable
)

// pattern is text with wildcards and variables.
type pattern struct {
	pieces []piece
	arn    bool
	source string
	// fixed is the pattern spelled out, where it has no variable; see freeze.
	fixed []glyph
}

// freeze spells the pattern out once and for all, if that can be done.
func (p *pattern) freeze() {
	if !p.variable() {
		p.fixed, _ = p.glyphs(nil)
	}
}

// variable tells whether the pattern has a variable.
func (p *pattern) variable() bool {
	return slices.ContainsFunc(p.pieces, func(x piece) bool { return x.kind == pieceVariable })
}

// plainPattern has wildcards and no variables.
func plainPattern(s string) pattern {
	p := pattern{source: s}
	p.addText(s)
	return p
}

// newPattern reads variables as well, where the policy's version has them.
func newPattern(s string, variables bool) (pattern, error) {
	if !variables {
		return plainPattern(s), nil
	}
	p := pattern{source: s}
	for {
		before, rest, found := strings.Cut(s, "${")
		p.addText(before)
		if !found {
			return p, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return p, malformed("A policy variable is not closed: %.100s", s)
		}
		if err := p.addVariable(name); err != nil {
			return p, err
		}
		s = after
	}
}

// addVariable adds what stands between the braces: a key, one with a default, or a
// letter that would else be special.
func (p *pattern) addVariable(name string) error {
	if name == "*" || name == "?" || name == "$" {
		p.pieces = append(p.pieces, piece{text: name, kind: pieceText})
		return nil
	}
	v := piece{kind: pieceVariable}
	key, fallback, has := strings.Cut(name, ",")
	if has {
		text, ok := unquote(strings.TrimSpace(fallback))
		if !ok {
			return malformed("The default value of the policy variable ${%.100s} must stand in single quotes.", name)
		}
		v.fallback = &text
	}
	v.text = strings.ToLower(strings.TrimSpace(key))
	known, ok := findKey(v.text)
	if !ok {
		return malformed("The policy variable ${%.100s} is not known.", key)
	}
	if known.many {
		return malformed("The policy variable ${%.100s} has several values and cannot be used so.", key)
	}
	p.pieces = append(p.pieces, v)
	return nil
}

func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return "", false
	}
	return s[1 : len(s)-1], true
}

// addText splits text at its wildcards.
func (p *pattern) addText(s string) {
	for s != "" {
		i := strings.IndexAny(s, "*?")
		if i < 0 {
			p.pieces = append(p.pieces, piece{text: s})
			return
		}
		if i > 0 {
			p.pieces = append(p.pieces, piece{text: s[:i]})
		}
		kind := pieceOne
		if s[i] == '*' {
			kind = pieceAny
		}
		p.pieces = append(p.pieces, piece{kind: kind})
		s = s[i+1:]
	}
}

// literal is the pattern with its wildcards as letters; ok is false when a variable has
// no value.
func (p *pattern) literal(c Context) (text string, ok bool) {
	var b strings.Builder
	for _, one := range p.pieces {
		switch one.kind {
		case pieceText:
			b.WriteString(one.text)
		case pieceAny:
			b.WriteByte('*')
		case pieceOne:
			b.WriteByte('?')
		case pieceVariable:
			v, ok := one.value(c)
			if !ok {
				return "", false
			}
			b.WriteString(v)
		}
	}
	return b.String(), true
}

func (v *piece) value(c Context) (string, bool) {
	switch values := c[v.text]; {
	case len(values) == 1:
		return values[0], true
	case len(values) == 0 && v.fallback != nil:
		return *v.fallback, true
	}
	return "", false
}

// glyph is one letter of a pattern, or a wildcard.
type glyph struct {
	r    rune
	kind pieceKind
	wide bool // a wildcard that goes on beyond colons
}

// glyphs spells the pattern out; ok is false when a variable has no value.
func (p *pattern) glyphs(c Context) (out []glyph, ok bool) {
	for _, one := range p.pieces {
		text := one.text
		switch one.kind {
		case pieceAny, pieceOne:
			out = append(out, glyph{kind: one.kind, wide: true})
			continue
		case pieceVariable:
			if text, ok = one.value(c); !ok {
				return nil, false
			}
		}
		for _, r := range text {
			out = append(out, glyph{r: r})
		}
	}
	if p.arn {
		narrow(out)
	}
	return out, true
}

// arnColons is how many colons stand before the resource in an ARN.
const arnColons = 5

// narrow keeps the wildcards of an ARN's parts within them.
func narrow(g []glyph) {
	colons := 0
	for i := range g {
		switch {
		case g[i].kind == pieceText && g[i].r == ':':
			colons++
		case colons >= arnColons:
			return
		case g[i].kind == pieceOne:
			g[i].wide = false
		case g[i].kind == pieceAny:
			last := i+1 == len(g) || g[i+1].kind == pieceText && g[i+1].r == ':'
			g[i].wide = last
		}
	}
}

// matches tells whether s is of the pattern; resolved is false when a variable has no
// value.
func (p *pattern) matches(s string, c Context) (match, resolved bool) {
	g, ok := p.fixed, true
	if g == nil {
		g, ok = p.glyphs(c)
	}
	return ok && glob(g, s), ok
}

// glob follows all places of the pattern at once, so that its time is bounded by the
// product of both lengths whatever the pattern.
func glob(g []glyph, s string) bool {
	// Most patterns differ before their first wildcard.
	for len(g) > 0 && g[0].kind == pieceText {
		r, n := utf8.DecodeRuneInString(s)
		if n == 0 || r != g[0].r {
			return false
		}
		g, s = g[1:], s[n:]
	}
	now, next := make([]bool, len(g)+1), make([]bool, len(g)+1)
	enter(now, g, 0)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		clear(next)
		alive := false
		for i := range g {
			if !now[i] || !g[i].takes(r) {
				continue
			}
			alive = true
			if g[i].kind == pieceAny {
				enter(next, g, i)
			} else {
				enter(next, g, i+1)
			}
		}
		if !alive {
			return false
		}
		now, next = next, now
		s = s[n:]
	}
	return now[len(g)]
}

// enter marks a place, and those that '*' lets be skipped to.
func enter(at []bool, g []glyph, i int) {
	for !at[i] {
		at[i] = true
		if i == len(g) || g[i].kind != pieceAny {
			return
		}
		i++
	}
}

func (g *glyph) takes(r rune) bool {
	if g.kind == pieceText {
		return g.r == r
	}
	return g.wide || r != ':'
}
