package records

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// ParameterGroups are those of the owner's own, keyed "<region>/<name>". The default
// groups are no records.
var ParameterGroups = store.NewTable[cache.ParameterGroup]("parametergroups")

// FindParameterGroup returns the group of that name, be it a default group or the
// owner's own, and false if there is none.
func FindParameterGroup(tx *store.Tx, region, name string) (cache.ParameterGroup, bool, error) {
	if g, ok := cache.FindParameterGroup(name); ok {
		return g, true, nil
	}
	if name == "" {
		return cache.ParameterGroup{}, false, nil
	}
	return ParameterGroups.Get(tx, cache.Key(region, name))
}
