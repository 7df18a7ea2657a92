package records

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// The tables.
var (
	Groups       = store.NewTable[cache.ReplicationGroup]("groups")
	Clusters     = store.NewTable[cache.CacheCluster]("clusters")
	Snapshots    = store.NewTable[cache.Snapshot]("snapshots")
	SubnetGroups = store.NewTable[cache.SubnetGroup]("subnetgroups")
	Events       = store.NewTable[cache.Event]("events")
	Steps        = store.NewTable[cache.Step]("steps")
	Addresses    = store.NewTable[AddressClaim]("addresses")
	// FailoverTests are those that were asked for within the last day.
	FailoverTests = store.NewTable[cache.FailoverTest]("failovertests")
	// Pools has one record, under PoolKey, in the table of what belongs to the
	// installation as a whole.
	Pools = store.NewTable[Pool]("meta")
)

// PoolKey is where the address pool is kept.
const PoolKey = "address-pool"

// GroupOwner and ClusterOwner name who holds an address, by the record's key: a
// group its endpoints, a cluster the address of its node.
func GroupOwner(key string) string   { return "group " + key }
func ClusterOwner(key string) string { return "cluster " + key }

// NextOwner names who holds the address of the node that is to replace a cluster's.
func NextOwner(key string) string { return "next " + key }

// InRegion is the prefix of the keys of one region.
func InRegion(region string) string { return region + "/" }
