package control

import (
	"maps"
	"slices"

	"holdfast.dev/internal/cache"
)

// refersTo tells whether a cache has a parameter group, or is about to have it.
func refersTo(s *cache.Settings, up *cache.Upgrade, group string) bool {
	return s.ParameterGroup == group || s.Pending != nil && s.Pending.ParameterGroup == group ||
		up != nil && (up.From.ParameterGroup == group || up.To.ParameterGroup == group)
}

// giveValues gives a cache the values of a parameter group wherever it has that group: in
// the midst of an upgrade some of its nodes may have another one.
func giveValues(s *cache.Settings, up *cache.Upgrade, g *cache.ParameterGroup) {
	if s.ParameterGroup == g.Name {
		s.Parameters = maps.Clone(g.Values)
	}
	if up == nil {
		return
	}
	for _, k := range []*cache.Kind{&up.From, &up.To} {
		if k.ParameterGroup == g.Name {
			k.Parameters = maps.Clone(g.Values)
		}
	}
}

// buildsWith are the builds that run with a parameter group, or are to run with it.
func buildsWith(u *parameterUser, group string) []string {
	var out []string
	future := func(s *cache.Settings, up *cache.Upgrade) {
		if p := s.Pending; p != nil && p.ParameterGroup == group && p.Build != "" {
			out = append(out, p.Build)
		}
		if up != nil && up.To.ParameterGroup == group {
			out = append(out, up.To.Build)
		}
	}
	if u.group != nil {
		future(&u.group.Settings, u.group.Upgrade)
	}
	for i := range u.members {
		k := &u.members[i]
		if k.ParameterGroup == group {
			out = append(out, k.Node.Build)
		}
		future(&k.Settings, k.Upgrade)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
