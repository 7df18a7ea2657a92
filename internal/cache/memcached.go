package cache

import (
	"fmt"
	"time"
)

// MemcachedNode is one node of a Memcached cluster. Asked for: everything up to Leaving. Seen: the rest.
type MemcachedNode struct {
	// ID of the node within its cluster, "0001"; no other node ever has it while this one is there.
	ID   string
	Zone string
	// Address is where clients find the node, for life.
	Address   Address
	CreatedAt time.Time
	// Leaving tells that the node is to be removed.
	Leaving bool `json:",omitempty"`

	Build   string
	Process *Process `json:",omitempty"`
	// Told is the fingerprint of the settings with which the process was started.
	Told string `json:",omitempty"`
	// Ready is true once memcached answers and the front before it stands.
	Ready bool
	// Listed tells that the node is on the list that auto discovery answers.
	Listed              bool
	StartedAt, ExitedAt time.Time
	Failures            int
	Recovering          bool `json:",omitempty"`
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

// MemcachedNodeID is the id of the nth node, from 1.
func MemcachedNodeID(n int) string { return fmt.Sprintf("%04d", n) }
