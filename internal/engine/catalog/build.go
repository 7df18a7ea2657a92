package catalog

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Engine names as the API spells them.
const (
	Redis     = "redis"
	Valkey    = "valkey"
	Memcached = "memcached"
)

// Dialects: the first bytes of the RDB files that an engine writes. The type
// bytes mean different things in each from 22 on.
const (
	DialectRedis  = "REDIS"
	DialectValkey = "VALKEY"
)

// Build is one installed engine.
type Build struct {
	Name    string // "redis-7.0.15": engine and full version
	Engine  string // Redis, Valkey or Memcached
	Version string // full: "7.0.15"; of Valkey its own, not the Redis version it reports
	Suite   string // the release it was packaged for; "" for one from PATH
	Dir     string // the bundle; "" for one from PATH
	// Server is the absolute path of the program to start. The process that is
	// started is the engine itself, whatever it passes through on the way.
	Server string
	CLI    string   // redis-cli or valkey-cli of the same build; "" when there is none
	Env    []string // to be added to the environment; nil when nothing is needed
	Abilities
}

// Abilities are what differs between builds and cannot be asked of a server that
// does not run yet.
type Abilities struct {
	RDBVersion    int    // of the files it writes: 9, 10, 11, 12 or 80; 0 for Memcached
	Dialect       string // of the files it writes; "" for Memcached
	ACL           bool   // ACL SETUSER and the rest
	Rebind        bool   // CONFIG SET bind
	PauseWrites   bool   // CLIENT PAUSE ms WRITE
	ExpireTime    bool   // PEXPIRETIME
	Functions     bool   // FUNCTION LOAD
	DisklessSync  bool   // repl-diskless-sync is on unless configured
	FieldTTL      bool   // HPEXPIRE and the rest
	DebugGuard    bool   // DEBUG needs enable-debug-command
	MultiDBShards bool   // more than one database in cluster mode
}

// gain is an ability and the version of each engine that brought it; "" for never.
type gain struct {
	redis, valkey string
	set           func(*Abilities)
}

var gains = []gain{
	{"6.0", "7.2", func(a *Abilities) { a.ACL = true }},
	{"6.2", "7.2", func(a *Abilities) { a.PauseWrites = true }},
	{"7.0", "7.2", func(a *Abilities) { a.Rebind = true }},
	{"7.0", "7.2", func(a *Abilities) { a.ExpireTime = true }},
	{"7.0", "7.2", func(a *Abilities) { a.Functions = true }},
	{"7.0", "7.2", func(a *Abilities) { a.DisklessSync = true }},
	{"7.0", "7.2", func(a *Abilities) { a.DebugGuard = true }},
	{"7.4", "9.0", func(a *Abilities) { a.FieldTTL = true }},
	{"", "9.0", func(a *Abilities) { a.MultiDBShards = true }},
	{"", "7.2", func(a *Abilities) { a.RDBVersion = 11 }},
	{"", "9.0", func(a *Abilities) { a.RDBVersion, a.Dialect = 80, DialectValkey }},
	{"4.0", "", func(a *Abilities) { a.RDBVersion = 8 }},
	{"5.0", "", func(a *Abilities) { a.RDBVersion = 9 }},
	{"7.0", "", func(a *Abilities) { a.RDBVersion = 10 }},
	{"7.2", "", func(a *Abilities) { a.RDBVersion = 11 }},
	{"7.4", "", func(a *Abilities) { a.RDBVersion = 12 }},
}

func abilitiesOf(engine, version string) Abilities {
	var a Abilities
	if engine == Memcached {
		return a
	}
	a.Dialect = DialectRedis
	for _, g := range gains {
		from := g.redis
		if engine == Valkey {
			from = g.valkey
		}
		if from != "" && compareVersions(version, from) >= 0 {
			g.set(&a)
		}
	}
	return a
}

// firstValkeyRDB is the lowest RDB version of Valkey's own numbering.
const firstValkeyRDB = 80

// Reads tells whether the build loads RDB files of a version as they are. Redis
// and Valkey share the numbers up to 11; 12 to 79 are Redis', 80 and up Valkey's.
func (b Build) Reads(rdbVersion int) bool {
	switch {
	case b.RDBVersion == 0 || rdbVersion < 1:
		return false
	case rdbVersion <= 11:
		return rdbVersion <= b.RDBVersion
	case rdbVersion < firstValkeyRDB:
		return b.Engine == Redis && rdbVersion <= b.RDBVersion
	default:
		return b.Engine == Valkey && rdbVersion <= b.RDBVersion
	}
}

// Line is the name of the build without its patch, as scripts/engines takes it: "redis-7.0".
func (b Build) Line() string {
	parts := strings.SplitN(b.Version, ".", 3)
	return b.Engine + "-" + strings.Join(parts[:min(2, len(parts))], ".")
}

// compareVersions orders versions by their numbers: "7.0" before "7.0.15" before
// "10.0". A part that is not a number counts as its leading digits.
func compareVersions(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

func numbers(version string) []int {
	var out []int
	for part := range strings.SplitSeq(version, ".") {
		end := 0
		for end < len(part) && part[end] >= '0' && part[end] <= '9' {
			end++
		}
		n, err := strconv.Atoi(part[:end])
		if err != nil {
			n = -1 // no digits, or more of them than any version has
		}
		out = append(out, n)
	}
	return out
}

func compareBuilds(a, b Build) int {
	return cmp.Or(strings.Compare(a.Engine, b.Engine), compareVersions(a.Version, b.Version), strings.Compare(b.Dir, a.Dir),
		strings.Compare(a.Server, b.Server))
}
