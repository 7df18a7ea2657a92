package cache

import (
	"slices"
	"strconv"
	"strings"
)

// Parameter types and kinds of change as DescribeCacheParameters prints them.
const (
	TypeString  = "string"
	TypeInteger = "integer"
	TypeBoolean = "boolean"
	TypeFloat   = "float"

	ChangeImmediate = "immediate"
	ChangeReboot    = "requires-reboot"

	SourceSystem = "system"
	SourceUser   = "user"
)

// Parameter is one parameter of a family, with its value in the default group.
type Parameter struct {
	Name        string
	Value       string // "" for one whose value depends on the node type
	Allowed     string // "0-", "1-64", "yes,no", "0,20-"
	Type        string
	Change      string
	Modifiable  bool
	MinVersion  string // engine version from which it exists
	Description string
	// ByNodeType tells that each node type has its own value: NodeTypeValue has it.
	ByNodeType bool
	// AtCreation tells that the value may be set though it is not Modifiable, in a group
	// that no replication group uses: all nodes of one have to agree on it from the start.
	AtCreation bool
	// Ours tells that the value may be set here though ElastiCache has it fixed.
	Ours bool
	// Source is SourceSystem, or SourceUser for a value that somebody has set.
	Source string
}

// Settable tells whether a group of the owner's own may hold another value.
func (p *Parameter) Settable() bool { return p.Modifiable || p.AtCreation || p.Ours }

// Parameters are those of the family's default group, by name; nil for a family
// that there is not. clusterMode chooses the group with cluster mode on.
func Parameters(family string, clusterMode bool) []Parameter {
	i := slices.IndexFunc(families, func(f Family) bool { return f.Name == family })
	if i < 0 {
		return nil
	}
	var out []Parameter
	if families[i].Engine == Memcached {
		out = memcachedParameters(families[i])
	} else {
		out = engineParameters(generation(i), clusterMode)
	}
	slices.SortFunc(out, func(a, b Parameter) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// EffectiveParameters are the values, by ElastiCache's names, that a node of
// this type and engine version gets from a default group; nil for a group that
// there is not. Parameters that the version does not have yet are left out.
func EffectiveParameters(group, nodeType, version string) map[string]string {
	g, ok := FindParameterGroup(group)
	if !ok {
		return nil
	}
	return g.effective(nodeType, version)
}

// highest reads "6.2" as the newest 6.2, since the API names no patches from 6.0 on.
func highest(version string) string {
	version = strings.TrimSuffix(version, ".x")
	if strings.Count(version, ".") < 2 {
		return version + ".999999"
	}
	return version
}

// NodeTypeValue is the value that a parameter has on a node type, "" where the
// type makes no difference.
func NodeTypeValue(parameter string, t NodeType) string {
	switch parameter {
	case "maxmemory":
		return strconv.FormatInt(t.MaxMemory, 10)
	case "client-output-buffer-limit-replica-hard-limit", "client-output-buffer-limit-replica-soft-limit",
		"client-output-buffer-limit-slave-hard-limit", "client-output-buffer-limit-slave-soft-limit":
		return strconv.FormatInt(t.MaxMemory/10, 10)
	case "maxclients":
		return maxClientsByType[t.Name]
	case "max_cache_memory":
		return strconv.Itoa(t.MemcachedMB)
	case "num_threads":
		return strconv.Itoa(t.VCPU)
	}
	return ""
}

var maxClientsByType = map[string]string{
	"cache.t3.micro": "20000", "cache.t4g.micro": "20000",
	"cache.t3.small": "46000", "cache.t3.medium": "46000",
}

// DataMemory is how many bytes of data a Redis or Valkey node may hold: its
// maxmemory less what the group's values reserve for backups and buffers.
func DataMemory(t NodeType, values map[string]string) int64 {
	if n, err := strconv.ParseInt(values["reserved-memory"], 10, 64); err == nil && n > 0 {
		return max(t.MaxMemory-n, 0)
	}
	percent, err := strconv.ParseInt(values["reserved-memory-percent"], 10, 64)
	if err != nil || percent < 0 || percent > 100 {
		return t.MaxMemory
	}
	return t.MaxMemory / 100 * (100 - percent)
}

// parameterRow is one parameter over the generations since to until, inclusive.
type parameterRow struct {
	name, value, allowed, typ string
	flags                     string // F fixed, R requires a reboot, N by node type, C at creation, O fixed elsewhere alone
	since, until              generation
	min                       string // a version inside a family from which it exists
	about                     string
}

func (r parameterRow) parameter(first string) Parameter {
	p := Parameter{
		Name: r.name, Value: r.value, Allowed: r.allowed, Type: r.typ,
		Change: ChangeImmediate, Modifiable: !strings.Contains(r.flags, "F"),
		MinVersion: first, Description: r.about, ByNodeType: strings.Contains(r.flags, "N"),
		AtCreation: strings.Contains(r.flags, "C"), Ours: strings.Contains(r.flags, "O"), Source: SourceSystem,
	}
	if strings.Contains(r.flags, "R") {
		p.Change = ChangeReboot
	}
	if CompareVersions(r.min, first) > 0 {
		p.MinVersion = r.min
	}
	return p
}

func engineParameters(g generation, clusterMode bool) []Parameter {
	var out []Parameter
	for _, r := range engineRows {
		if g < r.since || g > r.until {
			continue
		}
		p := r.parameter(families[g].First)
		if p.Name == "cluster-enabled" && clusterMode {
			p.Value = "yes"
		}
		out = append(out, p)
	}
	return out
}
