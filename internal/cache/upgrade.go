package cache

import "time"

// Kind is what a node can be replaced to be: the engine and its version, the node type,
// and the parameter group that comes with them.
type Kind struct {
	Engine, EngineVersion, NodeType string
	// ParameterGroup is a name, Parameters its values as in Settings.
	ParameterGroup string
	Parameters     map[string]string `json:",omitempty"`
	// Build is the installed engine that serves EngineVersion: "redis-7.0.15".
	Build string
}

// Kind is what the settings ask for, served by a build.
func (s *Settings) Kind(build string) Kind {
	return Kind{
		Engine: s.Engine, EngineVersion: s.EngineVersion, NodeType: s.NodeType,
		ParameterGroup: s.ParameterGroup, Parameters: s.Parameters, Build: build,
	}
}

// Become gives the settings another kind.
func (s *Settings) Become(k Kind) {
	s.Engine, s.EngineVersion, s.NodeType = k.Engine, k.EngineVersion, k.NodeType
	s.ParameterGroup, s.Parameters = k.ParameterGroup, k.Parameters
}

// Same tells whether two kinds differ in nothing that a node would notice.
func (k Kind) Same(o Kind) bool {
	return k.Engine == o.Engine && k.EngineVersion == o.EngineVersion && k.NodeType == o.NodeType &&
		k.ParameterGroup == o.ParameterGroup && k.Build == o.Build
}

// Holds is how many bytes of data a node of this kind may hold: what its node type has,
// less what its parameter group reserves.
func (k Kind) Holds() int64 {
	t, _ := FindNodeType(k.NodeType)
	s := Settings{}
	s.Become(k)
	return DataMemory(t, s.EffectiveParameters(k.Parameters))
}

// Pending is what was asked of a cache and has not begun: ApplyImmediately has it begin
// at once, all else waits for the maintenance window. Empty fields ask for no change.
type Pending struct {
	Engine, EngineVersion, Build string `json:",omitempty"`
	NodeType                     string `json:",omitempty"`
	ParameterGroup               string `json:",omitempty"` // comes with another engine or version
	// AskedAt is when the last of it was asked for; Now tells that it is not to wait.
	AskedAt time.Time
	Now     bool `json:",omitempty"`
}

// Empty tells whether nothing waits.
func (p *Pending) Empty() bool {
	return p == nil || p.Engine == "" && p.EngineVersion == "" && p.NodeType == ""
}

// What names it for people: "engine version valkey 8.1 and cache node type cache.m6g.large".
func (p *Pending) What() string {
	switch engine, size := "engine version "+p.Engine+" "+p.EngineVersion, "cache node type "+p.NodeType; {
	case p.EngineVersion == "":
		return size
	case p.NodeType == "":
		return engine
	default:
		return engine + " and " + size
	}
}

// Upgrade is the change of all nodes of a cache from one kind to another, under way
// while it serves. Each node's own Settings and Build say whether it has been replaced;
// the cache's Settings become To at the end.
type Upgrade struct {
	From, To  Kind
	StartedAt time.Time
	// Snapshot is the name of the one that is taken first; "" for none.
	Snapshot string `json:",omitempty"`
	// Failed says why nothing more is replaced; "" while all is well. What had been
	// replaced by then is put back, as far as the former engine can follow the new one.
	Failed string `json:",omitempty"`
	// Stopped: somebody wanted no more than what has been replaced, which stays. Of an
	// upgrade within one engine version alone, see Patch; Failed says so too.
	Stopped bool `json:",omitempty"`
	// Pauses are for how long writes waited, once per primary, as the replacement saw it,
	// and once more for each attempt in cluster mode that was in vain.
	Pauses []time.Duration `json:",omitempty"`
	// Compared counts keys that were compared before a node took over.
	Compared int64 `json:",omitempty"`
	// Died counts primaries that ended by themselves meanwhile: what they acknowledged last
	// may not have reached the node that came in their place.
	Died int `json:",omitempty"`
	// StandIns are the ids of nodes that are there for the time of the upgrade alone, in
	// cluster mode: see StandIn. Handing is the lead that is being handed over; nil for none.
	StandIns []string  `json:",omitempty"`
	Handing  *Handover `json:",omitempty"`
}
