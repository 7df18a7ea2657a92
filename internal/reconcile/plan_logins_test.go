package reconcile

import (
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
)

// TestPlanLogins: in front of nodes some of whose users log in with tokens stands a
// forwarder that looks at them, once no engine holds the address any more.
func TestPlanLogins(t *testing.T) {
	stand := "\nforward p iam\nforward p 1\nforward r iam\nforward r 2"
	for _, c := range []struct{ name, state, kind, want string }{
		{
			"engines let go first", "group transit=required\nnode 1 up ready told=primary//p transit=required\nnode 2 up ready told=replica/1/r transit=required",
			"configure", "configure r/g-001, configure r/g-002",
		},
		{
			"then forwarders come", "group transit=required\nnode 1 up ready told=primary// transit=required\nnode 2 up ready told=replica/1/ transit=required",
			"forward", "forward r/g p:6379, forward r/g r:6379",
		},
		{
			"others are changed", "group transit=required\nnode 1 up ready told=primary// transit=required\nnode 2 up ready told=replica/1/ transit=required\nforward p 1\nforward r 2",
			"forward", "forward r/g p:6379, forward r/g r:6379",
		},
		{"they are left alone", "group transit=required\nnode 1 up ready told=primary// transit=required\nnode 2 up ready told=replica/1/ transit=required" + stand, "", ""},
	} {
		v := parseState(t, c.name, c.state)
		v.Group.Access = &cache.Access{Users: []cache.NodeUser{{Name: "a", IAM: true}}}
		for at, to := range v.Forwards {
			for i := range to {
				if to[i].Host == "niam" {
					to[i] = loginsMark
				}
			}
			v.Forwards[at] = to
		}
		kinds := []Kind{Kind(c.kind)}
		if c.kind == "" {
			kinds = []Kind{actForward, actUnforward, actConfigure}
		}
		if got := planned(v, kinds...); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		for _, a := range Plan(v, epoch).Do {
			if _, marked := withoutLogins(a.To); a.Kind == actForward && !marked {
				t.Errorf("%s: %s goes to %v", c.name, a.Target, a.To)
			}
		}
		v.Group.Access.Users[0].IAM = false
		if got := planned(v, actForward); strings.Contains(got, "forward") && c.name == "engines let go first" {
			t.Errorf("without such a user: %s", got)
		}
	}
}
