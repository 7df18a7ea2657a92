package main

import "holdfast.dev/internal/cache"

// newest is what a cache of some version may become by itself: the newest minor of the same
// family of which a build is installed, not one that only stands in for it, or else the same
// version, with the build that serves it now.
func (c catalogue) newest(engine, version string) (to cache.Successor) {
	family, _ := cache.FamilyOf(engine, version)
	for _, v := range c.Versions() {
		if v.Engine != engine || v.Family != family || v.Asked != version && !v.Exact {
			continue
		}
		if at := cache.CompareVersions(v.Asked, version); at < 0 || to.Build != "" && cache.CompareVersions(v.Asked, to.EngineVersion) < 0 {
			continue
		}
		to = cache.Successor{EngineVersion: v.Asked, Build: v.Build}
	}
	return to
}
