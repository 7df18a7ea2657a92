package policy

import (
	"slices"
	"strings"
)

// condition is one operator over one key.
type condition struct {
	key      string // in lower case
	op       *operator
	set      string // "forallvalues:", "foranyvalue:" or ""
	ifExists bool
	values   []pattern
}

const (
	forAll    = "ForAllValues:"
	forAny    = "ForAnyValue:"
	ifPresent = "IfExists"
)

func parseConditions(v any, variables bool) ([]condition, error) {
	o, ok := v.(object)
	if !ok {
		return nil, malformed("Syntax errors in policy: Condition must be an object.")
	}
	var out []condition
	for _, m := range o {
		c, err := parseOperator(m.name)
		if err != nil {
			return nil, err
		}
		byKey, ok := m.value.(object)
		if !ok || len(byKey) == 0 {
			return nil, malformed("Syntax errors in policy: the condition %s must be an object with keys and values.", m.name)
		}
		seen := map[string]bool{}
		for _, k := range byKey {
			if seen[strings.ToLower(k.name)] {
				return nil, malformed("Duplicate element %q in the policy.", k.name)
			}
			seen[strings.ToLower(k.name)] = true
			one := c
			if err := one.setKey(k.name, m.name); err != nil {
				return nil, err
			}
			if err := one.setValues(k.value, m.name, variables); err != nil {
				return nil, err
			}
			out = append(out, one)
		}
	}
	return out, nil
}

// parseOperator reads the name of an operator with what stands before and behind it.
func parseOperator(name string) (condition, error) {
	var c condition
	rest := name
	for _, set := range []string{forAll, forAny} {
		if r, ok := strings.CutPrefix(rest, set); ok {
			c.set, rest = set, r
		}
	}
	if r, ok := strings.CutSuffix(rest, ifPresent); ok && r != "Null" {
		c.ifExists, rest = true, r
	}
	op, ok := operators[rest]
	if !ok || rest == "Null" && c.set != "" {
		return c, malformed("Invalid Condition type : %.100s.", name)
	}
	c.op = &op
	return c, nil
}

func (c *condition) setKey(name, operator string) error {
	c.key = strings.ToLower(name)
	known, ok := findKey(c.key)
	if !ok {
		return malformed("The condition key %.200s is not supported by this endpoint.", name)
	}
	// Without a set operator it is not defined which of the values count.
	if known.many && c.set == "" && operator != "Null" {
		return malformed("The condition key %s has several values: %s needs %s or %s.", name, operator, forAll, forAny)
	}
	return nil
}

func (c *condition) setValues(v any, operator string, variables bool) error {
	list, err := texts("The condition "+operator, v, true)
	if err != nil {
		return err
	}
	for _, s := range list {
		p, err := newPattern(s, variables && c.op.variables)
		if err != nil {
			return err
		}
		if c.op.check != nil && !p.variable() && !c.op.check(s) {
			return malformed("The value %.200s of the condition %s is not valid.", s, operator)
		}
		p.arn = c.op.arn && s != "*"
		p.freeze()
		c.values = append(c.values, p)
	}
	return nil
}

// holds tells whether the condition is met. allow is the effect of its statement: what
// cannot be resolved fails closed.
func (c *condition) holds(ctx Context, allow bool) bool {
	got, present := ctx[c.key]
	present = present && len(got) > 0
	if c.op.null {
		return c.nullHolds(present)
	}
	if !present {
		return c.ifExists || c.set == forAll || c.op.negated && c.set == ""
	}
	for i := range c.values {
		if !allow || c.values[i].fixed != nil {
			continue
		}
		if _, ok := c.values[i].glyphs(ctx); !ok {
			return false
		}
	}
	one := func(v string) bool { return c.matchesAny(v, ctx) != c.op.negated }
	// Without a set operator there is one value, as a rule: see the package's comment.
	if c.set == forAll || c.set == "" && allow {
		return !slices.ContainsFunc(got, func(v string) bool { return !one(v) })
	}
	return slices.ContainsFunc(got, one)
}

// matchesAny tells whether a value of the request is as one of the policy's.
func (c *condition) matchesAny(v string, ctx Context) bool {
	for i := range c.values {
		if c.op.match(&c.values[i], v, ctx) {
			return true
		}
	}
	return false
}

// nullHolds: "true" asks for a key that is not there, "false" for one that is.
func (c *condition) nullHolds(present bool) bool {
	for i := range c.values {
		if strings.EqualFold(c.values[i].source, "true") != present {
			return true
		}
	}
	return false
}
