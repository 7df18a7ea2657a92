package engine

import (
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
)

// FuzzUserRules: whatever a user's rules are, what nobody may give is taken away behind
// all of those outside of selectors, and at the end of each selector.
func FuzzUserRules(f *testing.F) {
	for _, s := range []string{
		"on nopass ~* +@all", "(+config) -@all", "( +get ~a ) clearselectors (+@all", "((", "()", "( )", "(+get) (+set) +acl", "(a b", "a) b", "(+@all ~*)",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, joined bool) {
		rules := strings.Fields(text)
		if joined {
			rules = strings.Split(text, " ")
		}
		for _, d := range []dialect{{cache.Redis, version{6, 0, 16}}, {cache.Redis, version{7, 0, 15}}, {cache.Valkey, version{9, 1, 2}}} {
			u := cache.NodeUser{Name: "app", Rules: rules}
			if checkRules(d, u) != nil {
				continue
			}
			taken := withhold(d, nil, true)
			at := 0
			for i, r := range userRules(d, "secret", u) {
				switch {
				case strings.HasPrefix(r, "("):
					if !strings.HasSuffix(r, " "+strings.Join(taken, " ")+")") {
						t.Fatalf("%q: the selector %q keeps what nobody may have", rules, r)
					}
				case r == "-shutdown":
					at = i
				case strings.HasPrefix(r, "+") && at > 0 && d.has(since70):
					t.Fatalf("%q: %q stands behind what was taken away", rules, r)
				}
			}
			if at == 0 {
				t.Errorf("%q: nothing is taken away", rules)
			}
		}
	})
}
