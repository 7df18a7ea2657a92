package cache

import (
	"slices"
	"strconv"
	"strings"
)

// generation orders the parameter group families of Redis and Valkey: each takes
// over the parameters of the one before, with changes.
type generation int

const (
	redis26 generation = iota
	redis28
	redis32
	redis40
	redis50
	redis6x
	redis7
	valkey7
	valkey8
	valkey9
)

// families in the order of generation, then Memcached's.
var families = []Family{
	{"redis2.6", Redis, "2.6.13"},
	{"redis2.8", Redis, "2.8.6"},
	{"redis3.2", Redis, "3.2.4"},
	{"redis4.0", Redis, "4.0.10"},
	{"redis5.0", Redis, "5.0.0"},
	{"redis6.x", Redis, "6.0"},
	{"redis7", Redis, "7.0"},
	{"valkey7", Valkey, "7.2"},
	{"valkey8", Valkey, "8.0"},
	{"valkey9", Valkey, "9.0"},
	{"memcached1.4", Memcached, "1.4.5"},
	{"memcached1.5", Memcached, "1.5.10"},
	{"memcached1.6", Memcached, "1.6.6"},
}

// Family is a parameter group family: the engine versions that share one set of
// parameters.
type Family struct {
	Name   string // "redis6.x"
	Engine string
	First  string // the oldest version of it
}

// Families are all of them, oldest first within an engine.
func Families() []Family { return slices.Clone(families) }

// FindFamily returns the family of that name.
func FindFamily(name string) (Family, bool) {
	for _, f := range families {
		if f.Name == name {
			return f, true
		}
	}
	return Family{}, false
}

// FamilyOf is the name of the family that an engine's version belongs to.
func FamilyOf(engine, version string) (string, bool) {
	major, minor := leading(version)
	var name string
	switch {
	case engine == Redis && major == 6:
		name = "redis6.x"
	case engine == Redis && major >= 7, engine == Valkey:
		name = engine + strconv.Itoa(major)
	default:
		name = engine + strconv.Itoa(major) + "." + strconv.Itoa(minor)
	}
	_, ok := FindFamily(name)
	return name, ok
}

// leading are the first two numbers of a version; -1 for what is no number.
func leading(version string) (major, minor int) {
	parts := strings.SplitN(version, ".", 3)
	number := func(i int) int {
		if i >= len(parts) {
			return 0
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	return number(0), number(1)
}

// CompareVersions orders versions by their numbers: "7.0" before "7.0.15" before
// "10.0". What is no number counts as less than any.
func CompareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if d := versionPart(as, i) - versionPart(bs, i); d != 0 {
			return d
		}
	}
	return 0
}

func versionPart(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil {
		return -1
	}
	return n
}

const (
	defaultPrefix = "default."
	clusterSuffix = ".cluster.on"
)

// ParameterGroup is a named set of parameter values: a family's default group, which
// nobody can change and which is the same in every region, or one of the owner's own.
type ParameterGroup struct {
	Region      string `json:",omitempty"` // "" for a default group
	Name        string // "default.redis7.cluster.on"
	Family      string
	ClusterMode bool // cluster-enabled is yes
	Description string
	// Values that somebody has set, by parameter; all others are the family's defaults.
	Values map[string]string `json:",omitempty"`
	Tags   []Tag             `json:",omitempty"`
}

// Key is where a group of the owner's own is stored.
func (g *ParameterGroup) Key() string { return Key(g.Region, g.Name) }

// Default tells whether it is a group that nobody can change.
func (g *ParameterGroup) Default() bool { return strings.HasPrefix(g.Name, defaultPrefix) }

// DefaultParameterGroup names the family's default group for caches without cluster mode.
func DefaultParameterGroup(family string) string { return defaultPrefix + family }

// ClusterParameterGroup names the family's default group for caches with cluster mode.
func ClusterParameterGroup(family string) string { return defaultPrefix + family + clusterSuffix }

// ParameterGroups are the default groups of all families, by name.
func ParameterGroups() []ParameterGroup {
	var out []ParameterGroup
	for i, f := range families {
		out = append(out, ParameterGroup{
			Name: defaultPrefix + f.Name, Family: f.Name,
			Description: "Default parameter group for " + f.Name,
		})
		if f.Engine != Memcached && generation(i) >= redis32 {
			out = append(out, ParameterGroup{
				Name: defaultPrefix + f.Name + clusterSuffix, Family: f.Name, ClusterMode: true,
				Description: "Customized default parameter group for " + f.Name + " with cluster mode on",
			})
		}
	}
	slices.SortFunc(out, func(a, b ParameterGroup) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// FindParameterGroup returns the default group of that name.
func FindParameterGroup(name string) (ParameterGroup, bool) {
	for _, g := range ParameterGroups() {
		if g.Name == name {
			return g, true
		}
	}
	return ParameterGroup{}, false
}
