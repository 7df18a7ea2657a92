package control

import (
	"slices"
	"strings"
)

// VersionFilter is what DescribeCacheEngineVersions asks for; empty fields match all.
type VersionFilter struct {
	Engine, Version, Family string
	// DefaultOnly asks for the version that a cache gets when it names none: of
	// the engine, or of the engine's version line or family where one is given.
	DefaultOnly bool
}

// DescribeCacheEngineVersions returns the page of the versions that can be served
// on this machine, by engine and then from old to new.
func (c *Control) DescribeCacheEngineVersions(f VersionFilter, page Page[Version]) ([]Version, error) {
	all := keepIf(slices.Clone(c.Catalogue.Versions()), func(v *Version) bool { return f.matches(v) })
	slices.SortStableFunc(all, compareVersions)
	if f.DefaultOnly {
		all = defaults(all)
	}
	return page.of(all)
}

// VersionOrder is a name of a version that sorts as DescribeCacheEngineVersions does.
func VersionOrder(v Version) string {
	var b strings.Builder
	b.WriteString(v.Engine)
	for part := range strings.SplitSeq(v.Asked, ".") {
		b.WriteString("." + strings.Repeat("0", max(0, 6-len(part))) + part)
	}
	return b.String()
}

func compareVersions(a, b Version) int { return strings.Compare(VersionOrder(a), VersionOrder(b)) }

func (f *VersionFilter) matches(v *Version) bool {
	line := strings.TrimSuffix(f.Version, "x")
	return (f.Engine == "" || v.Engine == lower(f.Engine)) &&
		(f.Family == "" || v.Family == lower(f.Family)) &&
		(f.Version == "" || v.Asked == f.Version || line != f.Version && strings.HasPrefix(v.Asked, line))
}

// defaults keeps the newest of each engine; all are sorted.
func defaults(all []Version) []Version {
	var out []Version
	for i, v := range all {
		if i+1 == len(all) || all[i+1].Engine != v.Engine {
			out = append(out, v)
		}
	}
	return out
}
