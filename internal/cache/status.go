package cache

// Status of a replication group, cache cluster or snapshot, in the API's spelling.
type Status string

// The statuses that ElastiCache documents; which resource uses which stands in
// its reference.
const (
	StatusCreating      Status = "creating"
	StatusAvailable     Status = "available"
	StatusModifying     Status = "modifying"
	StatusSnapshotting  Status = "snapshotting"
	StatusDeleting      Status = "deleting"
	StatusCreateFailed  Status = "create-failed"
	StatusRestoreFailed Status = "restore-failed"
	StatusCopying       Status = "copying"
	StatusRestoring     Status = "restoring"
	StatusFailed        Status = "failed"
	StatusRebooting     Status = "rebooting cluster nodes"
)

// Role of a node in its replication group.
type Role string

// The roles as DescribeReplicationGroups prints them.
const (
	RolePrimary Role = "primary"
	RoleReplica Role = "replica"
)
