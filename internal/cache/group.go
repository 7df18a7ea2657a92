package cache

import (
	"strings"
	"time"
)

// Settings are what a replication group and a cache cluster are both asked to be.
type Settings struct {
	Engine        string
	EngineVersion string // as the API shows it: "7.0", "8.1", "5.0.6"
	NodeType      string // "cache.t3.micro"
	Port          int
	// ParameterGroup and SubnetGroup are names; SubnetGroup may be empty.
	ParameterGroup string
	// Parameters are the values that somebody has set in ParameterGroup: a copy, which
	// changes in the same transaction as the group. nil for a default group.
	Parameters       map[string]string `json:",omitempty"`
	SubnetGroup      string
	SecurityGroupIDs []string

	AutoMinorVersionUpgrade bool
	SnapshotRetention       int    // days; 0 means no automatic backups
	SnapshotWindow          string // "hh24:mi-hh24:mi", UTC
	MaintenanceWindow       string // "ddd:hh24:mi-ddd:hh24:mi", UTC
	NotificationTopicARN    string
	NetworkType             string // "ipv4"
	IPDiscovery             string // "ipv4"
	Tags                    []Tag
	// AtRestEncryption has snapshots sealed, with KmsKeyID where one was named.
	AtRestEncryption bool   `json:",omitempty"`
	KmsKeyID         string `json:",omitempty"`
	// TransitEncryption is "" for plain connections alone.
	TransitEncryption TransitMode `json:",omitempty"`
	// Access is the same for all nodes of a cache.
	Access *Access `json:",omitempty"`
	// Pending is what was asked for and has not begun; nil for nothing.
	Pending *Pending `json:",omitempty"`
	// MinorTried is the maintenance window, by its beginning, in which a newer minor or
	// build was last begun by itself.
	MinorTried time.Time `json:",omitzero"`
}

// Address is where something answers.
type Address struct {
	Host string // an IP address, or a name where names are configured
	Port int
}

// IsZero tells whether there is no address.
func (a Address) IsZero() bool { return a.Host == "" }

// Seed says where the first data of a new group or cluster comes from: one of
// SnapshotName and ObjectARNs is set.
type Seed struct {
	// SnapshotName is a snapshot of the same region.
	SnapshotName string
	// ObjectARNs are "arn:aws:s3:::bucket/key.rdb"; exactly one without cluster mode.
	ObjectARNs []string
	// Bytes is the size of the files, for the memory check.
	Bytes int64

	// Observed: Manifest says what was loaded, once it was; Verified that the
	// live node was compared with it, or, in cluster mode, every primary with its part.
	Manifest *Manifest `json:",omitempty"`
	Verified bool
	// Percent is how much of the data has been read.
	Percent int `json:",omitempty"`
	// Shards are the parts that the data was divided into, in cluster mode, by node group.
	Shards map[string]SeedShard `json:",omitempty"`
}

// SeedShard is what a seed put into one node group.
type SeedShard struct {
	Manifest Manifest
	Verified bool
}

// Deletion says how a resource is to go.
type Deletion struct {
	RequestedAt   time.Time
	FinalSnapshot string // name of a snapshot to take first; "" for none
	RetainPrimary bool   // the primary stays as a cache cluster of its own
}

// ReplicationGroup is one primary and its replicas. Asked for: everything up to
// Deletion. Seen: the rest.
type ReplicationGroup struct {
	Region, ID  string
	Description string
	Settings
	// Members are the ids of the cache clusters, in the order of their numbers.
	Members []string
	// ClusterEnabled tells that the keys are spread over NodeGroups by their slots.
	// Without it there is one node group, which Shards makes up.
	ClusterEnabled      bool        `json:",omitempty"`
	NodeGroups          []NodeGroup `json:",omitempty"`
	AutomaticFailover   bool
	MultiAZ             bool
	SnapshottingCluster string
	// Automatic is what is remembered of the daily backups.
	Automatic AutomaticBackups `json:",omitzero"`
	Seed      *Seed            `json:",omitempty"`
	CreatedAt time.Time
	Deletion  *Deletion `json:",omitempty"`

	Status Status
	// Reason is why the status is a failed one.
	Reason string
	// Primary is the id of the member that is primary; in cluster mode each of
	// NodeGroups has its own and this is empty.
	Primary string
	// PrimaryEndpoint and ReaderEndpoint keep their address for the life of the group;
	// in cluster mode ConfigurationEndpoint does, in their place.
	PrimaryEndpoint, ReaderEndpoint Address
	ConfigurationEndpoint           Address `json:",omitzero"`
	// Secret is the password of Holdfast's own administrator on every node of
	// the group. It is never shown.
	Secret string
	// Change is what is being done to its members while it serves; nil for nothing.
	Change *MemberChange `json:",omitempty"`
	// Test is the failover that is being tested; nil for none.
	Test *FailoverTest `json:",omitempty"`
	// Resharding is what is being done to its node groups while it serves; nil for
	// nothing. Unfinished are moves that an earlier one left open: their slots are at the
	// one node group or at the other, and the next resharding ends them first.
	Resharding *Resharding    `json:",omitempty"`
	Unfinished []SlotTransfer `json:",omitempty"`
	// Upgrade is what its nodes are being replaced for while it serves; nil for nothing.
	Upgrade *Upgrade `json:",omitempty"`
	// TransitChange is what TransitEncryption is about to be; nil for what it is.
	TransitChange *TransitChange `json:",omitempty"`
	// AuthTokens are the hashes of the tokens that let clients in, oldest first; two at
	// most. AuthOpen: so are those that have none, until the next SET.
	AuthTokens          []string  `json:",omitempty"`
	AuthOpen            bool      `json:",omitempty"`
	AuthTokenModifiedAt time.Time `json:",omitzero"`
	// UserGroupIDs are the user groups whose users may log in; one at most.
	UserGroupIDs []string `json:",omitempty"`
	// UserGroupsChange is what was changed of them last; nodes may still have to be told.
	UserGroupsChange *UserGroupsChange `json:",omitempty"`
}

// Key is where the group is stored.
func (g *ReplicationGroup) Key() string { return Key(g.Region, g.ID) }

// CacheCluster is one Redis or Valkey node, on its own or as the member of a
// group, or all nodes of a Memcached cluster. Asked for: everything up to Deletion. Seen: the rest.
type CacheCluster struct {
	Region, ID string
	GroupID    string // "" when it stands alone
	// NodeGroupID is the shard of a member of a group in cluster mode; see ShardID.
	NodeGroupID string `json:",omitempty"`
	Settings
	Zone      string // availability zone, "us-east-1a"
	Seed      *Seed  `json:",omitempty"` // only when it stands alone
	CreatedAt time.Time
	Deletion  *Deletion `json:",omitempty"`

	Status Status
	Reason string
	// Reboot is set while the node is rebooted.
	Reboot *Reboot `json:",omitempty"`
	// StandIn: it is a node of its shard for the time of an upgrade and no member of its
	// group as clients of the API see it. The upgrade lists it; see Upgrade.StandIns.
	StandIn bool `json:",omitempty"`
	// Departed: it is no member of its group's shards any more and only to be stopped
	// and forgotten, for good. Its group lists it until that is done.
	Departed bool `json:",omitempty"`
	// Automatic is what is remembered of the daily backups of a cluster that stands alone.
	Automatic AutomaticBackups `json:",omitzero"`
	// ManualBackups are when snapshots of this node were asked for, within the last day.
	ManualBackups []time.Time `json:",omitempty"`
	// Secret as in ReplicationGroup; used when the cluster stands alone.
	Secret string
	Node   Node
	// Upgrade as in ReplicationGroup; used when the cluster stands alone.
	Upgrade *Upgrade `json:",omitempty"`
	// Memcached is what a cluster of that engine is made of; nil for the others.
	Memcached *MemcachedCluster `json:",omitempty"`
}

// Key is where the cluster is stored.
func (c *CacheCluster) Key() string { return Key(c.Region, c.ID) }

// Node is the one engine process of a cache cluster.
type Node struct {
	// Address is the node's own, for life; BusPort is where it hears the other
	// nodes of its cluster, 0 without cluster mode.
	Address Address
	BusPort int `json:",omitempty"`
	// Build names the installed engine that really serves: "redis-7.0.15".
	Build string

	// Process is the running engine; nil when none is known to run.
	Process *Process `json:",omitempty"`
	// Role, Primary and Binds that the node was last told: whether it leads,
	// whom it follows, and which endpoints it answers on besides its own address.
	Role    Role
	Primary Address  `json:",omitzero"`
	Binds   []string `json:",omitempty"`
	// Ready is true once the node answered, had its data and, as a replica,
	// was in step with its primary.
	Ready bool
	// StartedAt and ExitedAt of the last run; Failures counts exits that nobody asked for since the last stable run.
	StartedAt, ExitedAt time.Time
	Failures            int
	// Recovering is set from an unasked exit until the node is ready again.
	Recovering bool
	// Heirless: since its last exit the replicas of this primary have been asked, and none
	// has more than the primary's own files do, so that it may be started.
	Heirless bool `json:",omitempty"`
	// Silent: it hangs, so that no reader is to be sent to it.
	Silent bool `json:",omitempty"`
	// RecoveryTold: an event has told of it. That of a primary comes after its failover.
	RecoveryTold bool `json:",omitempty"`
	// Parked says that the node was stopped with its data in its seed file, to be
	// loaded at the next start.
	Parked bool
	// Gone is set once the process and the directory have been removed for good.
	Gone bool
	// Parameters are those that the engine runs with.
	Parameters NodeParameters `json:",omitzero"`
	// Transit is the mode that the node was last told.
	Transit TransitMode `json:",omitempty"`
	// Access is the digest of the Access that the node was last told, or AccessUnsure, and
	// Logins are the users of it, as Access.Logins has them.
	Access string            `json:",omitempty"`
	Logins map[string]string `json:",omitempty"`
	// Blocked are the commands that the node was last told to keep from everybody.
	Blocked string `json:",omitempty"`
	// Proved is the process whose data were last compared with its primary's, for an upgrade.
	Proved *Process `json:",omitempty"`
	// Generation counts the replacements of this node: each has a directory and a name in
	// the process table of its own. Next is the one that is on its way; nil for none.
	Generation int   `json:",omitempty"`
	Next       *Node `json:",omitempty"`
	// Of a Next: Becomes is the kind that it is of. Compared: what it holds is what its
	// primary holds. TakingOver: once the node's process is dead it is the node, whatever
	// it holds; as long as that lives it is not.
	Becomes    *Kind `json:",omitempty"`
	Compared   bool  `json:",omitempty"`
	TakingOver bool  `json:",omitempty"`
	// Discard are the generations whose processes and directories are to go.
	Discard []int `json:",omitempty"`
}

// Process identifies one process for as long as the machine is up: a process
// id alone may be given to another.
type Process struct {
	PID       int
	StartTime uint64 // clock ticks since boot, as the kernel tells
	BootID    string
}

// Origin names where a seed comes from, for people.
func (s *Seed) Origin() string {
	if s.SnapshotName != "" {
		return "snapshot " + s.SnapshotName
	}
	return strings.Join(s.ObjectARNs, ", ")
}
