package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"
)

// MemcachedCluster is what a cache cluster of Memcached has besides what it shares with
// the others. Its Node says the build that is to serve and nothing else. Asked for:
// everything up to Change. Seen: the rest.
type MemcachedCluster struct {
	// Nodes in the order of their ids.
	Nodes []MemcachedNode
	// ConfigurationEndpoint is where clients find all nodes, for life.
	ConfigurationEndpoint Address
	CrossAZ               bool `json:",omitempty"`
	// TransitEncryption: clients speak TLS.
	TransitEncryption bool `json:",omitempty"`
	// Scale is how nodes are given another node type; nil for one at a time, without a pause.
	Scale *ScaleConfig `json:",omitempty"`
	// Pending waits for the maintenance window; nil for nothing.
	Pending *MemcachedPending `json:",omitempty"`
	// Change is what is under way while the cluster serves; nil for nothing.
	Change *MemcachedChange `json:",omitempty"`

	// Discovery is the version of the list that auto discovery answers.
	Discovery int
	// RolledAt is when nodes were last restarted for a change of all of them.
	RolledAt time.Time `json:",omitzero"`
}

// MemcachedNode is one node of a Memcached cluster. Asked for: everything up to Reboot. Seen: the rest.
type MemcachedNode struct {
	// ID of the node within its cluster, "0001"; no other node ever has it while this one is there.
	ID   string
	Zone string
	// Address is where clients find the node, for life.
	Address   Address
	CreatedAt time.Time
	// Leaving tells that the node is to be removed.
	Leaving bool `json:",omitempty"`
	// Reboot: it is to be restarted.
	Reboot bool `json:",omitempty"`

	// Build and NodeType that the process was started with; "" before the first start.
	Build    string
	NodeType string   `json:",omitempty"`
	Process  *Process `json:",omitempty"`
	// Told is the fingerprint of the parameters with which the process was started.
	Told string `json:",omitempty"`
	// Ready is true once memcached answers.
	Ready bool
	// Listed tells that the node is on the list that auto discovery answers.
	Listed              bool
	StartedAt, ExitedAt time.Time
	Failures            int
	// Recovering is set from an unasked exit, Restarting from one on purpose, until the
	// node is ready again.
	Recovering bool `json:",omitempty"`
	Restarting bool `json:",omitempty"`
	// Gone is set once everything of the node has been removed and its cluster's record stays.
	Gone bool `json:",omitempty"`
}

// MemcachedPending is what was asked for and waits for the maintenance window.
type MemcachedPending struct {
	// Add are new nodes, with their addresses; Remove are ids.
	Add    []MemcachedNode `json:",omitempty"`
	Remove []string        `json:",omitempty"`
	// EngineVersion, with the Build that serves it and the parameter group that goes with it.
	EngineVersion  string `json:",omitempty"`
	Build          string `json:",omitempty"`
	ParameterGroup string `json:",omitempty"`
	// NodeType and how nodes are given it.
	NodeType string       `json:",omitempty"`
	Scale    *ScaleConfig `json:",omitempty"`
}

// Empty tells whether nothing waits.
func (p *MemcachedPending) Empty() bool {
	return p == nil || len(p.Add) == 0 && len(p.Remove) == 0 && p.EngineVersion == "" && p.NodeType == ""
}

// MemcachedChange is what was asked of a cluster that serves, for what is told at its end.
type MemcachedChange struct {
	// From is how many nodes there were; 0 where their number does not change.
	From int `json:",omitempty"`
	// NodeType and EngineVersion that all nodes are to have; "" for the same.
	NodeType      string `json:",omitempty"`
	EngineVersion string `json:",omitempty"`
	// New are the ids of the nodes that are added.
	New []string `json:",omitempty"`
}

// Added tells whether a node is one that is added.
func (c *MemcachedChange) Added(id string) bool { return slices.Contains(c.New, id) }

// ScaleConfig is how fast nodes are given another node type.
type ScaleConfig struct {
	// Percent of the nodes that are restarted at once, and Minutes from one such batch to the next.
	Percent, Minutes int
}

// MemcachedSpec is everything that has to be known to run one memcached.
type MemcachedSpec struct {
	// Cluster is the key of its cache cluster, and Node its id there: its directory and its
	// identity in the process table follow from them.
	Cluster, Node string
	// Build names the installed engine.
	Build string
	// Parameters by ElastiCache's names, the whole set of the parameter group.
	Parameters map[string]string
	// Keep has its items outlive a planned stop.
	Keep bool
}

// Key of a node in messages and in the process table, "us-east-1/web/0001".
func (s MemcachedSpec) Key() string { return s.Cluster + "/" + s.Node }

// MemcachedFronts is everything that stands before the nodes of a cluster.
type MemcachedFronts struct {
	// Version and List are what auto discovery answers.
	Version int
	List    []Address
	// Doors are all addresses of the cluster.
	Doors []MemcachedDoor
	// TransitEncryption: clients speak TLS.
	TransitEncryption bool
}

// MemcachedDoor is one address, and the ids of the nodes behind it, which take turns.
type MemcachedDoor struct {
	At Address
	To []string
}

// MemcachedNodeID is the id of the nth node, from 1.
func MemcachedNodeID(n int) string { return fmt.Sprintf("%04d", n) }

// MemcachedNodeKey names a node, "us-east-1/web/0001".
func MemcachedNodeKey(cluster, node string) string { return cluster + "/" + node }

// Find returns the node of that id; nil for none.
func (m *MemcachedCluster) Find(id string) *MemcachedNode {
	i := slices.IndexFunc(m.Nodes, func(n MemcachedNode) bool { return n.ID == id })
	if i < 0 {
		return nil
	}
	return &m.Nodes[i]
}

// Remove forgets the node of that id.
func (m *MemcachedCluster) Remove(id string) {
	m.Nodes = slices.DeleteFunc(slices.Clone(m.Nodes), func(n MemcachedNode) bool { return n.ID == id })
}

// Staying are the nodes that are not to be removed.
func (m *MemcachedCluster) Staying() []MemcachedNode {
	return slices.DeleteFunc(slices.Clone(m.Nodes), func(n MemcachedNode) bool { return n.Leaving })
}

// Spans tells whether the nodes are in more than one zone.
func (m *MemcachedCluster) Spans() bool {
	return slices.ContainsFunc(m.Nodes, func(n MemcachedNode) bool { return n.Zone != m.Nodes[0].Zone })
}

// Fronts are those that are to stand: one at the address of each node that is there, and
// the configuration endpoint before all that are listed.
func (m *MemcachedCluster) Fronts() MemcachedFronts {
	f := MemcachedFronts{Version: m.Discovery, TransitEncryption: m.TransitEncryption}
	all := MemcachedDoor{At: m.ConfigurationEndpoint}
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if n.Leaving && !n.Listed {
			continue
		}
		f.Doors = append(f.Doors, MemcachedDoor{At: n.Address, To: []string{n.ID}})
		if n.Listed {
			f.List = append(f.List, n.Address)
			all.To = append(all.To, n.ID)
		}
	}
	f.Doors = append(f.Doors, all)
	return f
}

// MemcachedSpec is what a node of the cluster is to be started as; Keep is left to whoever starts it.
func (c *CacheCluster) MemcachedSpec(node string) MemcachedSpec {
	return MemcachedSpec{
		Cluster: c.Key(), Node: node, Build: c.Node.Build, Parameters: c.EffectiveParameters(c.Parameters),
	}
}

// Outdated tells whether a node runs as something else than it is to be by now, other
// than by its parameters, which wait for a reboot.
func (c *CacheCluster) Outdated(n *MemcachedNode) bool {
	return n.Build != "" && (n.Build != c.Node.Build || n.NodeType != c.NodeType)
}

// ParametersMark is a fingerprint of the values that the parameter group sets.
func (s *Settings) ParametersMark() string {
	if len(s.Parameters) == 0 {
		return ""
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		fmt.Fprintf(h, "%q=%q\n", name, s.Parameters[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// NodeParameterStatus is ParameterStatus of one node of a Memcached cluster: memcached
// reads all of its parameters when it is started.
func (c *CacheCluster) NodeParameterStatus(n *MemcachedNode) string {
	if n.Build == "" || n.Told == c.ParametersMark() {
		return ParametersInSync
	}
	return ParametersPendingReboot
}

// NodesToReboot are the ids of the nodes that wait for a reboot to have their parameters.
func (c *CacheCluster) NodesToReboot() []string {
	out := []string{}
	for i := range c.Memcached.Nodes {
		if n := &c.Memcached.Nodes[i]; c.NodeParameterStatus(n) != ParametersInSync {
			out = append(out, n.ID)
		}
	}
	return out
}
