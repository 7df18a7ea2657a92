package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of Resolve, to be looked for with errors.Is.
var (
	// ErrUnknown: ElastiCache has no such engine or version.
	ErrUnknown = errors.New("unknown engine version")
	// ErrNotInstalled: no installed build can serve it. The error's text names what
	// is installed and what to run.
	ErrNotInstalled = errors.New("engine not installed")
	// ErrCannotServe: no open build has what the version is about.
	ErrCannotServe = errors.New("engine version cannot be served")
)

// Version is one that ElastiCache names and an installed build serves.
type Version struct {
	Engine  string
	Version string // as ElastiCache spells it: "7.1", "5.0.6"
	Family  string // parameter group family: "redis7"
	// Exact tells whether the build is of that very version; otherwise it is a
	// newer one, or an older name for the same.
	Exact bool
	// Lacks names what ElastiCache's own build has and this one has not.
	Lacks []string
	Build Build
}

// EngineDescription is what DescribeCacheEngineVersions calls the engine.
func (v Version) EngineDescription() string {
	switch v.Engine {
	case Redis:
		return "Redis"
	case Valkey:
		return "Valkey"
	}
	return v.Engine
}

// Description names the version and the build behind it.
func (v Version) Description() string {
	s := v.Engine + " version " + v.Build.Version
	if !v.Exact {
		s = v.Engine + " version " + v.Version + ", served by " + v.Build.Version
	}
	return s
}

// Versions are all that can be served, by engine, oldest first.
func (c *Catalog) Versions() []Version {
	var out []Version
	for _, o := range offers {
		if v, ok := c.serve(o); ok {
			out = append(out, v)
		}
	}
	return out
}

// Resolve finds the build that serves a version as a request names it. The empty
// version stands for the newest that can be served, "6.x" for the newest 6 that
// can. The error is one of ErrUnknown, ErrNotInstalled and ErrCannotServe.
func (c *Catalog) Resolve(engine, asked string) (Version, error) {
	var known []offer
	for _, o := range offers {
		if o.engine == engine {
			known = append(known, o)
		}
	}
	if len(known) == 0 {
		return Version{}, fmt.Errorf("%w: there is no engine %q; there are %s, %s and %s", ErrUnknown, engine, Redis, Valkey, Memcached)
	}
	if family, ok := strings.CutSuffix(asked, ".x"); ok {
		return c.newest(known, asked, family+".")
	}
	if asked == "" {
		return c.newest(known, asked, "")
	}
	i := slices.IndexFunc(known, func(o offer) bool { return o.version == asked })
	if i < 0 {
		return Version{}, unknownVersion(engine, asked, known)
	}
	o := known[i]
	if o.refused != "" {
		return Version{}, fmt.Errorf("%w: %s %s: %s", ErrCannotServe, engine, asked, o.refused)
	}
	if v, ok := c.serve(o); ok {
		return v, nil
	}
	return Version{}, c.notInstalled(engine+" "+asked, o)
}

// newest finds the newest served version that begins so.
func (c *Catalog) newest(known []offer, asked, prefix string) (Version, error) {
	// ElastiCache knows "6.x" only; the others of that form are not versions.
	if asked != "" && asked != "6.x" {
		return Version{}, unknownVersion(known[0].engine, asked, known)
	}
	var oldest *offer
	for i := len(known) - 1; i >= 0; i-- {
		if !strings.HasPrefix(known[i].version, prefix) {
			continue
		}
		if v, ok := c.serve(known[i]); ok {
			return v, nil
		}
		oldest = &known[i]
	}
	if oldest == nil {
		return Version{}, unknownVersion(known[0].engine, asked, known)
	}
	return Version{}, c.notInstalled(strings.TrimSpace(known[0].engine+" "+asked), *oldest)
}

// serve picks the closest installed build that is not older: the lowest line, and
// of that line the newest patch.
func (c *Catalog) serve(o offer) (Version, bool) {
	if o.refused != "" {
		return Version{}, false
	}
	best, found := Build{}, false
	for _, b := range c.builds { // oldest first
		if b.Engine != o.engine || compareVersions(b.Version, o.oldest()) < 0 {
			continue
		}
		if found && b.Line() != best.Line() {
			break
		}
		best, found = b, true
	}
	exact := strings.HasPrefix(best.Version+".", o.version+".")
	return Version{Engine: o.engine, Version: o.version, Family: o.family, Exact: exact, Lacks: slices.Clone(o.lacks), Build: best}, found
}

func (o offer) oldest() string {
	if o.from != "" {
		return o.from
	}
	return o.version
}

func unknownVersion(engine, asked string, known []offer) error {
	var names []string
	for _, o := range known {
		names = append(names, o.version)
		// 7.0.5 for 7.0: the caller named a patch where ElastiCache has none.
		if strings.HasPrefix(asked, o.version+".") {
			return fmt.Errorf("%w: %s %s: name major and minor only: %s", ErrUnknown, engine, asked, o.version)
		}
	}
	return fmt.Errorf("%w: %s %s; there are %s", ErrUnknown, engine, asked, strings.Join(names, ", "))
}

func (c *Catalog) notInstalled(what string, o offer) error {
	installed := "nothing"
	if len(c.builds) > 0 {
		var names []string
		for _, b := range c.builds {
			names = append(names, b.Name)
		}
		installed = strings.Join(names, ", ")
	}
	run := "no line that the engines script knows is as new"
	for _, line := range lines {
		engine, version, _ := strings.Cut(line, "-")
		if engine == o.engine && compareVersions(version, o.oldest()) >= 0 {
			run = "run scripts/engines install " + line
			break
		}
	}
	return fmt.Errorf("%w: nothing installed serves %s (installed: %s); %s", ErrNotInstalled, what, installed, run)
}
