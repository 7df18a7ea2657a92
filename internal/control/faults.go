package control

import (
	"strings"

	"holdfast.dev/internal/cache"
)

// ElastiCache's error codes, as they stand on the wire.
const (
	codeInvalidValue         = "InvalidParameterValue"
	codeInvalidCombination   = "InvalidParameterCombination"
	codeInsufficientCapacity = "InsufficientCacheClusterCapacity"
	codeNodeQuota            = "NodeQuotaForCustomerExceeded"
	codeClusterNodeQuota     = "NodeQuotaForClusterExceeded"
	codeNodeGroupQuota       = "NodeGroupsPerReplicationGroupQuotaExceeded"
	codeNoOperation          = "NoOperationFault"
	codeCallRate             = "APICallRateForCustomerExceeded"
	codeNodeGroupNotFound    = "NodeGroupNotFoundFault"
	codeTestNotAvailable     = "TestFailoverNotAvailableFault"

	codeGroupExists   = "ReplicationGroupAlreadyExists"
	codeGroupNotFound = "ReplicationGroupNotFoundFault"
	codeGroupState    = "InvalidReplicationGroupState"

	codeClusterExists   = "CacheClusterAlreadyExists"
	codeClusterNotFound = "CacheClusterNotFound"
	codeClusterState    = "InvalidCacheClusterState"

	codeSnapshotExists   = "SnapshotAlreadyExistsFault"
	codeSnapshotNotFound = "SnapshotNotFoundFault"
	codeSnapshotState    = "InvalidSnapshotState"
	codeSnapshotQuota    = "SnapshotQuotaExceededFault"
	codeSnapshotFeature  = "SnapshotFeatureNotSupportedFault"

	codeSubnetGroupExists   = "CacheSubnetGroupAlreadyExists"
	codeSubnetGroupNotFound = "CacheSubnetGroupNotFoundFault"
	codeSubnetGroupInUse    = "CacheSubnetGroupInUse"
	codeSubnetGroupQuota    = "CacheSubnetGroupQuotaExceeded"
	codeSubnetQuota         = "CacheSubnetQuotaExceededFault"
	codeSubnetInUse         = "SubnetInUse"
	codeInvalidSubnet       = "InvalidSubnet"

	codeParameterGroupNotFound = "CacheParameterGroupNotFound"
	codeParameterGroupExists   = "CacheParameterGroupAlreadyExists"
	codeParameterGroupState    = "InvalidCacheParameterGroupState"
	codeParameterGroupQuota    = "CacheParameterGroupQuotaExceeded"

	codeUserExists          = "UserAlreadyExists"
	codeUserNotFound        = "UserNotFound"
	codeUserState           = "InvalidUserState"
	codeUserQuota           = "UserQuotaExceeded"
	codeUserGroupExists     = "UserGroupAlreadyExists"
	codeUserGroupNotFound   = "UserGroupNotFound"
	codeUserGroupState      = "InvalidUserGroupState"
	codeUserGroupQuota      = "UserGroupQuotaExceeded"
	codeDuplicateUserName   = "DuplicateUserName"
	codeDefaultUserRequired = "DefaultUserRequired"
	codeDefaultUserInGroup  = "DefaultUserAssociatedToUserGroup"

	codeInvalidKey  = "InvalidKMSKeyFault"
	codeInvalidARN  = "InvalidARN"
	codeTagQuota    = "TagQuotaPerResourceExceeded"
	codeTagNotFound = "TagNotFound"

	codeUpdateNotFound = "ServiceUpdateNotFoundFault"
)

func invalid(format string, args ...any) error {
	return cache.Faultf(codeInvalidValue, format, args...)
}

func conflict(format string, args ...any) error {
	return cache.Faultf(codeInvalidCombination, format, args...)
}

func missing(parameter string) error {
	return invalid("The parameter %s must be provided and must not be null.", parameter)
}

func groupNotFound(id string) error {
	return cache.Faultf(codeGroupNotFound, "ReplicationGroup %s not found.", id)
}

func clusterNotFound(id string) error {
	return cache.Faultf(codeClusterNotFound, "CacheCluster not found: %s", id)
}

func snapshotNotFound(name string) error {
	return cache.Faultf(codeSnapshotNotFound, "Snapshot %s not found.", name)
}

func subnetGroupNotFound(name string) error {
	return cache.Faultf(codeSubnetGroupNotFound, "Cache Subnet Group %s does not exist.", name)
}

// lower is how names are stored and looked up.
func lower(id string) string { return strings.ToLower(id) }
