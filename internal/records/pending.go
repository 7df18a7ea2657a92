package records

import (
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// Successor is what a cache of a kind becomes by what is pending, with the parameter
// group as it is at this moment. The error is a fault.
func Successor(tx *store.Tx, region string, now cache.Kind, p *cache.Pending) (cache.Kind, error) {
	to := now
	if p.EngineVersion != "" {
		to.Engine, to.EngineVersion, to.Build = p.Engine, p.EngineVersion, p.Build
	}
	if p.NodeType != "" {
		to.NodeType = p.NodeType
	}
	g, err := succeeding(tx, region, now, to, p.ParameterGroup)
	if err != nil {
		return to, err
	}
	to.ParameterGroup, to.Parameters = g.Name, g.Values
	return to, nil
}

// succeeding is the parameter group that comes with another kind: the one that was named,
// the present one, or, in place of a default group, that of the new family.
func succeeding(tx *store.Tx, region string, now, to cache.Kind, name string) (g cache.ParameterGroup, err error) {
	present, err := parameterGroup(tx, region, now.ParameterGroup)
	if err != nil {
		return g, err
	}
	family, _ := cache.FamilyOf(to.Engine, to.EngineVersion)
	switch {
	case name != "":
	case present.Family == family:
		name = present.Name
	case !present.Default():
		return g, cache.Faultf("InvalidParameterCombination",
			"%s %s needs a CacheParameterGroupName of the family %s, with the same static values as the present group %s.",
			to.Engine, to.EngineVersion, family, present.Name)
	case present.ClusterMode:
		name = cache.ClusterParameterGroup(family)
	default:
		name = cache.DefaultParameterGroup(family)
	}
	if g, err = parameterGroup(tx, region, name); err != nil {
		return g, err
	}
	if g.Family != family {
		return g, cache.Faultf("InvalidParameterCombination", "Expected a parameter group of family %s but found one of family %s", family, g.Family)
	}
	return g, checkStatic(&present, &g)
}

func parameterGroup(tx *store.Tx, region, name string) (cache.ParameterGroup, error) {
	g, ok, err := FindParameterGroup(tx, region, strings.ToLower(name))
	if err == nil && !ok {
		err = cache.Faultf("CacheParameterGroupNotFound", "CacheParameterGroup %s not found.", name)
	}
	return g, err
}

// checkStatic holds against each other what no engine that has data can change.
func checkStatic(now, to *cache.ParameterGroup) error {
	if now.ClusterMode != to.ClusterMode {
		return cache.Faultf("InvalidParameterCombination", "The parameter group %s cannot be used: cluster-enabled is %s in it and cannot be changed.",
			to.Name, to.Value(cache.ParamClusterEnabled))
	}
	for _, p := range cache.Parameters(to.Family, to.ClusterMode) {
		old, both := cache.FindParameter(now.Family, p.Name)
		static := p.Change == cache.ChangeReboot && p.Name != cache.ParamClusterEnabled
		if !static || !both || old.Change != cache.ChangeReboot {
			continue
		}
		if was, is := now.Value(p.Name), to.Value(p.Name); was != is {
			return cache.Faultf("InvalidParameterCombination", "The parameter group %s cannot be used: %s is %s in it and %s in %s, and has to be the same.",
				to.Name, p.Name, is, was, now.Name)
		}
	}
	return nil
}

// NoSnapshotTag is the key of the tag by which a cache refuses, with the value "no", the
// snapshot that is taken of it before its engine is changed.
const NoSnapshotTag = "holdfast:snapshot-before-upgrade"

// SnapshotsFirst tells whether a snapshot is to be taken of a cache before its engine is
// changed from any of these builds.
func SnapshotsFirst(s *cache.Settings, to cache.Kind, builds []string) bool {
	replaced := slices.ContainsFunc(builds, func(b string) bool { return b != to.Build })
	t, ok := cache.FindNodeType(s.NodeType)
	refused := slices.Contains(s.Tags, cache.Tag{Key: NoSnapshotTag, Value: "no"})
	return replaced && !refused && (!ok || t.Snapshots)
}

// ClearPending forgets what waited of engine, version, node type and parameter group.
func ClearPending(s *cache.Settings) { s.Pending = nil }
