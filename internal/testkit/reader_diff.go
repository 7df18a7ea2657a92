package testkit

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Differences names what a and b do not have in common, sorted; none if they are
// the same. Facets that one end's engine does not know are left out (Optional).
// Expiries may differ by a tolerance beyond what the engines tell.
func (a *Content) Differences(b *Content, tolerance time.Duration) []string {
	var out []string
	for k, v := range a.Keys {
		w, ok := b.Keys[k]
		if !ok {
			out = append(out, fmt.Sprintf("%v: missing in B (A: %s)", k, v.Type))
			continue
		}
		for _, what := range v.differences(w, tolerance.Milliseconds()) {
			out = append(out, fmt.Sprintf("%v: %s", k, what))
		}
	}
	for k, w := range b.Keys {
		if _, ok := a.Keys[k]; !ok {
			out = append(out, fmt.Sprintf("%v: missing in A (B: %s)", k, w.Type))
		}
	}
	for _, what := range unequal(a.Functions, b.Functions) {
		out = append(out, "function library "+what)
	}
	slices.Sort(out)
	return out
}

func (v Value) differences(w Value, tolerance int64) []string {
	if v.Type != w.Type {
		return []string{fmt.Sprintf("type (A: %s, B: %s)", v.Type, w.Type)}
	}
	out := unequal(v.Facets, w.Facets)
	if !v.Expiry.near(w.Expiry, tolerance) {
		out = append(out, fmt.Sprintf("expiry (A: %v, B: %v)", v.Expiry, w.Expiry))
	}
	return out
}

// near tells whether both can be the same moment.
func (e Expiry) near(o Expiry, tolerance int64) bool {
	if e == (Expiry{}) || o == (Expiry{}) {
		return e == o
	}
	return e.Lo <= o.Hi+tolerance && o.Lo <= e.Hi+tolerance
}

// unequal names the texts that differ, in order.
func unequal(a, b map[string]string) []string {
	names := maps.Clone(a)
	maps.Copy(names, b)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		v, inA := a[name]
		w, inB := b[name]
		switch {
		case inA && inB && v == w, inA != inB && Optional(name):
		case !inA:
			out = append(out, fmt.Sprintf("%s (only in B: %s)", name, brief(w)))
		case !inB:
			out = append(out, fmt.Sprintf("%s (only in A: %s)", name, brief(v)))
		default:
			out = append(out, fmt.Sprintf("%s (A: %s, B: %s)", name, brief(v), brief(w)))
		}
	}
	return out
}
