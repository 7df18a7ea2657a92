package cache

import "time"

// Event source types as DescribeEvents takes them.
const (
	EventGroup          = "replication-group"
	EventCluster        = "cache-cluster"
	EventParameterGroup = "cache-parameter-group"
	EventSubnetGroup    = "cache-subnet-group"
)

// Event is one line of DescribeEvents. Events are kept for fourteen days.
type Event struct {
	Region     string
	SourceType string
	SourceID   string
	Message    string
	At         time.Time
}

// SubnetGroup is a named list of subnets. Holdfast has no networks of its own:
// the names are kept and shown, zones are derived from them.
type SubnetGroup struct {
	Region, Name string
	Description  string
	VpcID        string
	Subnets      []Subnet
	Tags         []Tag
}

// Subnet is one subnet of a group and the zone that it stands for.
type Subnet struct {
	ID   string
	Zone string
}

// Key is where the subnet group is stored.
func (g *SubnetGroup) Key() string { return Key(g.Region, g.Name) }
