package access

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLength of an access string, in bytes.
const maxLength = 16 << 10

// String is an access string that has been understood.
type String struct {
	on   bool
	root permissions
	// selectors are further permissions: a command passes if any one lets all of it pass.
	selectors []permissions
}

// Parse understands an access string. The error is meant for its author; it never
// repeats a password that stands in it by mistake.
func Parse(text string) (String, error) {
	var s String
	switch {
	case len(text) > maxLength:
		return s, fmt.Errorf("it has %d characters; %d are allowed", len(text), maxLength)
	case !utf8.ValidString(text), strings.ContainsFunc(text, notRule):
		return s, errors.New("rules are separated by spaces and hold no control characters")
	}
	rules, err := split(text)
	if err != nil {
		return s, err
	}
	for _, rule := range rules {
		if err := s.apply(rule); err != nil {
			return String{}, err
		}
	}
	return s, nil
}

func notRule(r rune) bool { return r != ' ' && (unicode.IsControl(r) || unicode.IsSpace(r)) }

// split takes rules apart at spaces, as an engine does: a selector goes on from a word
// that begins with a parenthesis to the first that ends with one.
func split(text string) ([]string, error) {
	var out []string
	open := ""
	for word := range strings.SplitSeq(text, " ") {
		switch {
		case word == "":
			continue
		case open != "":
			open += " " + word
		case word[0] == '(':
			open = word
		default:
			out = append(out, word)
			continue
		}
		if strings.HasSuffix(open, ")") {
			out, open = append(out, open), ""
		}
	}
	if open != "" {
		return nil, errors.New("a selector is not closed: a parenthesis is missing")
	}
	return out, nil
}

// apply takes one rule of a user in.
func (s *String) apply(rule string) error {
	if strings.ContainsAny(rule[:1], "><#!") {
		return errors.New("passwords cannot be specified in an access string")
	}
	switch strings.ToLower(rule) {
	case "on":
		s.on = true
		return nil
	case "off":
		s.on = false
		return nil
	case "sanitize-payload": // as every user has it
		return nil
	case "clearselectors":
		s.selectors = nil
		return nil
	case "nopass", "resetpass", "reset", "skip-sanitize-payload":
		return fmt.Errorf("the rule %s is not allowed", rule)
	}
	if rule[0] == '(' {
		return s.selector(rule[1 : len(rule)-1])
	}
	return s.root.apply(rule)
}

func (s *String) selector(inside string) error {
	if strings.ContainsAny(inside, `"'`) {
		return errors.New("a selector cannot hold quotes, which engines take for more than themselves there")
	}
	var p permissions
	for _, rule := range strings.Fields(inside) {
		if err := p.apply(rule); err != nil {
			return err
		}
	}
	s.selectors = append(s.selectors, p)
	return nil
}

// Rules are the normalised rules, each an argument of ACL SETUSER for a user that has none yet.
func (s *String) Rules() []string {
	state := "off"
	if s.on {
		state = "on"
	}
	out := append([]string{state}, s.root.rules()...)
	for i := range s.selectors {
		out = append(out, "("+strings.Join(s.selectors[i].rules(), " ")+")")
	}
	return out
}

// String prints the access string as ElastiCache does.
func (s *String) String() string { return strings.Join(s.Rules(), " ") }
