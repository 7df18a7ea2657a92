package cache

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Names of parameters that the service itself looks at.
const (
	ParamClusterEnabled = "cluster-enabled"
	// ParamClusterDatabases is how many databases there are in cluster mode.
	ParamClusterDatabases = "cluster-databases"
	ParamAppendOnly       = "appendonly"
	ParamReservedMemory   = "reserved-memory"
	ParamReservedPercent  = "reserved-memory-percent"
)

// Parameters are those of a group with its own values, by name. A group holds one of
// reserved-memory and reserved-memory-percent: newer families have the latter, and the
// former in its place once it is set.
func (g *ParameterGroup) Parameters() []Parameter {
	out := Parameters(g.Family, g.ClusterMode && g.Default())
	if _, bytes := g.Values[ParamReservedMemory]; bytes && !slices.ContainsFunc(out, named(ParamReservedMemory)) {
		i := slices.IndexFunc(out, named(ParamReservedPercent))
		if i >= 0 {
			out[i] = reservedBytes(out[i].MinVersion)
		}
	}
	for i := range out {
		if v, set := g.Values[out[i].Name]; set {
			out[i].Value, out[i].Source = v, SourceUser
		}
	}
	return out
}

func named(name string) func(Parameter) bool {
	return func(p Parameter) bool { return p.Name == name }
}

// reservedBytes is reserved-memory as the oldest families have it.
func reservedBytes(version string) Parameter {
	for _, r := range engineRows {
		if r.name == ParamReservedMemory {
			return r.parameter(version)
		}
	}
	return Parameter{}
}

// FindParameter returns a family's parameter, with the value of the default group;
// reserved-memory for every family that reserves memory.
func FindParameter(family, name string) (Parameter, bool) {
	p, ok := parameterIndex()[family][name]
	return p, ok
}

// parameterIndex has all parameters by family and name. It is never changed.
var parameterIndex = sync.OnceValue(func() map[string]map[string]Parameter {
	out := map[string]map[string]Parameter{}
	for _, f := range families {
		index := map[string]Parameter{}
		for _, p := range Parameters(f.Name, false) {
			index[p.Name] = p
		}
		_, bytes := index[ParamReservedMemory]
		if p, percent := index[ParamReservedPercent]; percent && !bytes {
			index[ParamReservedMemory] = reservedBytes(p.MinVersion)
		}
		out[f.Name] = index
	}
	return out
})

// Set sets a value of the group that Check has passed.
func (g *ParameterGroup) Set(name, value string) {
	values := maps.Clone(g.Values)
	if values == nil {
		values = map[string]string{}
	}
	switch name {
	case ParamReservedMemory:
		delete(values, ParamReservedPercent)
	case ParamReservedPercent:
		delete(values, ParamReservedMemory)
	}
	values[name] = value
	g.put(values)
}

// Reset gives parameters their defaults again; with no names all of them.
func (g *ParameterGroup) Reset(names ...string) {
	if len(names) == 0 {
		g.put(nil)
		return
	}
	values := maps.Clone(g.Values)
	for _, n := range names {
		delete(values, n)
	}
	g.put(values)
}

func (g *ParameterGroup) put(values map[string]string) {
	if len(values) == 0 {
		values = nil
	}
	g.Values = values
	g.ClusterMode = values[ParamClusterEnabled] == "yes"
}

// effective are the values for a node of this type and version.
func (g *ParameterGroup) effective(nodeType, version string) map[string]string {
	t, _ := FindNodeType(nodeType)
	out := map[string]string{}
	for _, p := range g.Parameters() {
		if CompareVersions(p.MinVersion, highest(version)) > 0 {
			continue
		}
		out[p.Name] = p.Value
		if v := NodeTypeValue(p.Name, t); v != "" {
			out[p.Name] = v
		}
	}
	return out
}

// EffectiveParameters are the values that a node with these settings is to have, with
// own in place of what its parameter group sets; nil for a group that there is not.
func (s *Settings) EffectiveParameters(own map[string]string) map[string]string {
	g, ok := FindParameterGroup(s.ParameterGroup)
	if !ok {
		if strings.HasPrefix(s.ParameterGroup, defaultPrefix) || s.ParameterGroup == "" {
			return nil
		}
		g.Family, ok = FamilyOf(s.Engine, s.EngineVersion)
		if !ok {
			return nil
		}
		g.Name = s.ParameterGroup
	}
	g.Values = own
	return g.effective(s.NodeType, s.EngineVersion)
}

// Check holds a value against what the parameter allows. The error is a sentence.
func (p *Parameter) Check(value string) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("The parameter value %s for parameter %s is invalid: %s",
			strconv.Quote(value), p.Name, fmt.Sprintf(format, args...))
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return bad("it may hold printable ASCII characters only.")
	}
	switch {
	case p.Name == "notify-keyspace-events":
		if i := strings.IndexFunc(value, func(r rune) bool { return !strings.ContainsRune(eventClasses, r) }); i >= 0 {
			return bad("%q is none of the event classes %s.", value[i], eventClasses)
		}
		return nil
	case p.Name == ParamRenameCommands:
		return checkRenames(value, bad)
	case p.Allowed == "":
		return nil
	case p.Type == TypeFloat:
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			return bad("it must be a number.")
		}
	case p.Type == TypeInteger:
		if _, err := strconv.ParseInt(value, 10, 64); err != nil || value != strings.TrimPrefix(value, "+") {
			return bad("it must be an integer.")
		}
	}
	if !allowed(p.Allowed, value) {
		return bad("the allowed values are %s.", p.Allowed)
	}
	return nil
}

// eventClasses are the letters of notify-keyspace-events.
const eventClasses = "KEg$lshzxeA"

func notAlphanumeric(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
}

// allowed tells whether a value is among "yes,no", "0-", "1-64", "0,20-", "-" or
// "-5,-4,-3,-2,-1,1-".
func allowed(rule, value string) bool {
	if rule == "-" {
		return true
	}
	n, err := strconv.ParseFloat(value, 64)
	for part := range strings.SplitSeq(rule, ",") {
		if part == value {
			return true
		}
		// A dash at the beginning is a sign.
		i := strings.LastIndexByte(part, '-')
		if err != nil || i <= 0 {
			continue
		}
		low, lerr := strconv.ParseFloat(part[:i], 64)
		high, herr := strconv.ParseFloat(part[i+1:], 64)
		if lerr == nil && n >= low && (part[i+1:] == "" || herr == nil && n <= high) {
			return true
		}
	}
	return false
}

// Value is the group's value of a parameter; "" too where the node type has it.
func (g *ParameterGroup) Value(name string) string {
	if v, ok := g.Values[name]; ok {
		return v
	}
	p, _ := FindParameter(g.Family, name)
	if name == ParamClusterEnabled && g.ClusterMode {
		return "yes"
	}
	return p.Value
}
