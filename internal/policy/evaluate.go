package policy

import "strings"

// Context holds the condition keys of a request, in lower case, with their values. Make
// it with Set.
type Context map[string][]string

// Set gives a key its values; the key's case does not matter.
func (c Context) Set(key string, values ...string) { c[strings.ToLower(key)] = values }

// Add gives a key further values. It is for keys that are named after tags: those of tags
// that differ in case are one.
func (c Context) Add(key string, values ...string) {
	key = strings.ToLower(key)
	c[key] = append(c[key][:len(c[key]):len(c[key])], values...)
}

// With returns a copy of c that has what more holds as well.
func (c Context) With(more Context) Context {
	out := make(Context, len(c)+len(more))
	for _, from := range []Context{c, more} {
		for k, v := range from {
			out[k] = v
		}
	}
	return out
}

// Request is one thing that somebody asks to be allowed to do.
type Request struct {
	// Action is "elasticache:DeleteReplicationGroup".
	Action string
	// Resource is an ARN, or "*" where the action is about none.
	Resource string
	Context  Context
}

// Decision is what policies say of a request.
type Decision int

// The decisions. Only Allow lets in.
const (
	ImplicitDeny Decision = iota
	ExplicitDeny
	Allow
)

// Evaluate decides by all policies of an identity.
func Evaluate(docs []*Document, r Request) Decision {
	decision := ImplicitDeny
	for _, d := range docs {
		for i := range d.statements {
			s := &d.statements[i]
			switch {
			case s.allow && decision == Allow || !s.applies(r):
			case s.allow:
				decision = Allow
			default:
				return ExplicitDeny
			}
		}
	}
	return decision
}

func (s *statement) applies(r Request) bool {
	return s.aboutAction(strings.ToLower(r.Action)) && s.aboutResource(r) && s.holds(r.Context)
}

func (s *statement) aboutAction(action string) bool {
	for i := range s.actions {
		if ok, _ := s.actions[i].matches(action, nil); ok {
			return !s.notActions
		}
	}
	return s.notActions
}

func (s *statement) aboutResource(r Request) bool {
	for i := range s.resources {
		ok, resolved := s.resources[i].matches(r.Resource, r.Context)
		if !resolved && s.allow {
			return false
		}
		if ok {
			return !s.notThese
		}
	}
	return s.notThese
}

func (s *statement) holds(c Context) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(c, s.allow) {
			return false
		}
	}
	return true
}
