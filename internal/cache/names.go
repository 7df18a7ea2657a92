package cache

import (
	"fmt"
	"strings"
)

// Account is the twelve-digit account number that every installation shows. A
// Holdfast installation belongs to one owner, so one account is enough, and
// the same one everywhere keeps ARNs portable between installations.
const Account = "000000000000"

// Engine names as the API spells them.
const (
	Redis     = "redis"
	Valkey    = "valkey"
	Memcached = "memcached"
)

// NodeID is the id of the only node that a Redis or Valkey cache cluster has.
const NodeID = "0001"

// NodeGroupID is the id of the only shard of a group without cluster mode.
const NodeGroupID = "0001"

// Key is where a record of a region is stored, and how steps name it.
func Key(region, id string) string { return region + "/" + id }

// SplitKey undoes Key.
func SplitKey(key string) (region, id string) {
	region, id, _ = strings.Cut(key, "/")
	return region, id
}

// Resource kinds as they stand in an ARN.
const (
	KindGroup          = "replicationgroup"
	KindCluster        = "cluster"
	KindSnapshot       = "snapshot"
	KindSubnetGroup    = "subnetgroup"
	KindParameterGroup = "parametergroup"
)

// ARN names a resource of this installation.
func ARN(region, kind, id string) string {
	return fmt.Sprintf("arn:aws:elasticache:%s:%s:%s:%s", region, Account, kind, id)
}

// MemberID is the id of the nth node (from 1) of a group without cluster mode.
func MemberID(group string, n int) string { return fmt.Sprintf("%s-%03d", group, n) }

// Tag is a key and a value that the owner put on a resource.
type Tag struct {
	Key   string
	Value string
}
