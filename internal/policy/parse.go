package policy

import (
	"regexp"
	"strings"
)

// Versions of the policy language. Variables are known since the newer one.
const (
	version2012 = "2012-10-17"
	version2008 = "2008-10-17"
)

// Document is a policy that has been read. It never changes.
type Document struct{ statements []statement }

// statement is one rule.
type statement struct {
	allow      bool
	actions    []pattern
	notActions bool
	resources  []pattern
	notThese   bool // resources are those that it is not about
	conditions []condition
}

// Parse reads a policy document. Errors are *Malformed.
func Parse(doc string) (*Document, error) {
	v, err := parseJSON(doc)
	if err != nil {
		return nil, err
	}
	o, ok := v.(object)
	if !ok {
		return nil, malformed("The policy must be a JSON object.")
	}
	variables := false
	var rules any
	for _, m := range o {
		switch m.name {
		case "Version":
			s, _ := m.value.(scalar)
			if s.text != version2012 && s.text != version2008 || !s.quoted {
				return nil, malformed("The policy must contain a valid version string: %s or %s.", version2012, version2008)
			}
			variables = s.text == version2012
		case "Id":
			if s, ok := m.value.(scalar); !ok || !s.quoted {
				return nil, malformed("The element Id must be a string.")
			}
		case "Statement":
			rules = m.value
		default:
			return nil, malformed("Syntax errors in policy: the element %q is not known.", m.name)
		}
	}
	return parseStatements(rules, variables)
}

func parseStatements(v any, variables bool) (*Document, error) {
	list, many := v.([]any)
	if !many {
		list = []any{v}
	}
	if v == nil || len(list) == 0 {
		return nil, malformed("Syntax errors in policy: a Statement is missing.")
	}
	d, sids := &Document{}, map[string]bool{}
	for _, one := range list {
		o, ok := one.(object)
		if !ok {
			return nil, malformed("Syntax errors in policy: each Statement must be an object.")
		}
		s, sid, err := parseStatement(o, variables)
		if err != nil {
			return nil, err
		}
		if sid != "" && sids[sid] {
			return nil, malformed("Statement IDs (SID) in a single policy must be unique: %s", sid)
		}
		sids[sid] = true
		d.statements = append(d.statements, s)
	}
	return d, nil
}

var sidForm = regexp.MustCompile(`^[A-Za-z0-9]*$`)

func parseStatement(o object, variables bool) (s statement, sid string, err error) {
	var effect string
	for _, m := range o {
		switch m.name {
		case "Sid":
			t, ok := m.value.(scalar)
			if sid = t.text; !ok || !t.quoted || !sidForm.MatchString(sid) {
				return s, "", malformed("Statement IDs (SID) must be alpha-numeric.")
			}
		case "Effect":
			t, _ := m.value.(scalar)
			effect = t.text
		case "Action", "NotAction":
			if s.actions != nil {
				return s, "", malformed("A Statement cannot have both Action and NotAction.")
			}
			s.notActions = m.name == "NotAction"
			s.actions, err = parseActions(m.value)
		case "Resource", "NotResource":
			if s.resources != nil {
				return s, "", malformed("A Statement cannot have both Resource and NotResource.")
			}
			s.notThese = m.name == "NotResource"
			s.resources, err = parseResources(m.value, variables)
		case "Condition":
			s.conditions, err = parseConditions(m.value, variables)
		case "Principal", "NotPrincipal":
			err = malformed("Policy document should not specify a principal.")
		default:
			err = malformed("Syntax errors in policy: the element %q of a Statement is not known.", m.name)
		}
		if err != nil {
			return s, "", err
		}
	}
	switch {
	case effect != "Allow" && effect != "Deny":
		return s, "", malformed("Syntax errors in policy: Effect must be Allow or Deny.")
	case s.actions == nil:
		return s, "", malformed("Policy statement must contain actions.")
	case s.resources == nil:
		return s, "", malformed("Policy statement must contain resources.")
	}
	s.allow = effect == "Allow"
	return s, sid, nil
}

var actionForm = regexp.MustCompile(`^[A-Za-z0-9-]+:[A-Za-z0-9*?]+$`)

func parseActions(v any) ([]pattern, error) {
	list, err := texts("Action", v, false)
	if err != nil {
		return nil, err
	}
	var out []pattern
	for _, a := range list {
		switch {
		case a == "*":
		case !strings.Contains(a, ":"):
			return nil, malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: %.100s", a)
		case !actionForm.MatchString(a):
			return nil, malformed("The action %.100s is not valid.", a)
		}
		p := plainPattern(strings.ToLower(a))
		p.freeze()
		out = append(out, p)
	}
	return out, nil
}

func parseResources(v any, variables bool) ([]pattern, error) {
	list, err := texts("Resource", v, false)
	if err != nil {
		return nil, err
	}
	var out []pattern
	for _, r := range list {
		if r != "*" {
			if err := checkARN("Resource", r); err != nil {
				return nil, err
			}
		}
		p, err := newPattern(r, variables)
		if err != nil {
			return nil, err
		}
		p.arn = r != "*"
		p.freeze()
		out = append(out, p)
	}
	return out, nil
}

var partitionForm = regexp.MustCompile(`^(aws[a-z-]*|[a-z*?-]*[*?][a-z*?-]*)$`)

// checkARN holds a pattern of ARNs against their form. Wildcards that end the pattern
// early stand for what is missing.
func checkARN(what, arn string) error {
	parts := strings.SplitN(arn, ":", 6)
	if parts[0] != "arn" || len(parts) < 6 && !strings.HasSuffix(arn, "*") {
		return malformed("%s %.200s must be in ARN format or \"*\".", what, arn)
	}
	if len(parts) > 1 && !strings.Contains(parts[1], "$") && !partitionForm.MatchString(parts[1]) {
		return malformed("Partition \"%.50s\" is not valid for resource \"%.200s\".", parts[1], arn)
	}
	return nil
}
