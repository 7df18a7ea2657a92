package api

import "holdfast.dev/internal/cache"

// Kinds of resources that policies may name, beside those that cache has.
const (
	kindUser           = "user"
	kindUserGroup      = "usergroup"
	kindSecurityGroup  = "securitygroup"
	kindGlobalGroup    = "globalreplicationgroup"
	kindServerless     = "serverlesscache"
	kindServerlessCopy = "serverlesscachesnapshot"
	kindReserved       = "reserved-instance"
	// anyKind: the field holds a whole ARN.
	anyKind = "arn"
)

// resource is a field of an input that names a resource.
type resource struct {
	kind, field string
	// always: a call that names none is about all of the kind, or about the default one.
	always bool
	// made: the call makes it.
	made bool
}

// rule says what resources an action is about.
type rule []resource

func about(kind, field string) resource { return resource{kind: kind, field: field, always: true} }
func makes(kind, field string) resource {
	return resource{kind: kind, field: field, always: true, made: true}
}
func perhaps(kind, field string) resource { return resource{kind: kind, field: field} }

// elasticacheActions are all actions of ElastiCache, with the resource types that AWS'
// service authorization reference has for them. What is named there as required is always
// asked for; what is optional, where the call names it.
var elasticacheActions = map[string]rule{
	"AddTagsToResource":      {about(anyKind, "ResourceName")},
	"RemoveTagsFromResource": {about(anyKind, "ResourceName")},
	"ListTagsForResource":    {about(anyKind, "ResourceName")},

	"CreateReplicationGroup": {
		makes(cache.KindGroup, "ReplicationGroupId"), about(cache.KindParameterGroup, "CacheParameterGroupName"),
		perhaps(cache.KindSubnetGroup, "CacheSubnetGroupName"), perhaps(cache.KindSnapshot, "SnapshotName"), perhaps(cache.KindCluster, "PrimaryClusterId"),
		perhaps(kindUserGroup, "UserGroupIds"), perhaps(kindSecurityGroup, "CacheSecurityGroupNames"), perhaps(kindGlobalGroup, "GlobalReplicationGroupId"),
		perhaps(kindServerlessCopy, "ServerlessCacheSnapshotName"),
	},
	"ModifyReplicationGroup": {
		about(cache.KindGroup, "ReplicationGroupId"), perhaps(cache.KindParameterGroup, "CacheParameterGroupName"),
		perhaps(kindUserGroup, "UserGroupIdsToAdd"), perhaps(kindUserGroup, "UserGroupIdsToRemove"), perhaps(kindSecurityGroup, "CacheSecurityGroupNames"),
	},
	"DeleteReplicationGroup":                   {about(cache.KindGroup, "ReplicationGroupId"), perhaps(cache.KindSnapshot, "FinalSnapshotIdentifier")},
	"DescribeReplicationGroups":                {about(cache.KindGroup, "ReplicationGroupId")},
	"ModifyReplicationGroupShardConfiguration": {about(cache.KindGroup, "ReplicationGroupId")},
	"IncreaseReplicaCount":                     {about(cache.KindGroup, "ReplicationGroupId")},
	"DecreaseReplicaCount":                     {about(cache.KindGroup, "ReplicationGroupId")},
	"TestFailover":                             {about(cache.KindGroup, "ReplicationGroupId")},
	"StartMigration":                           {perhaps(cache.KindGroup, "ReplicationGroupId"), perhaps(kindServerless, "ServerlessCacheName")},
	"TestMigration":                            {about(cache.KindGroup, "ReplicationGroupId")},
	"PrepareMigration":                         {about(kindServerless, "ServerlessCacheName")},
	"StopMigration":                            {about(kindServerless, "ServerlessCacheName")},
	"CompleteMigration":                        {perhaps(cache.KindGroup, "ReplicationGroupId"), perhaps(kindServerless, "ServerlessCacheName")},

	"CreateCacheCluster": {
		makes(cache.KindCluster, "CacheClusterId"), about(cache.KindParameterGroup, "CacheParameterGroupName"),
		perhaps(cache.KindGroup, "ReplicationGroupId"), perhaps(cache.KindSubnetGroup, "CacheSubnetGroupName"), perhaps(cache.KindSnapshot, "SnapshotName"),
		perhaps(kindSecurityGroup, "CacheSecurityGroupNames"),
	},
	"ModifyCacheCluster": {
		about(cache.KindCluster, "CacheClusterId"), perhaps(cache.KindParameterGroup, "CacheParameterGroupName"),
		perhaps(kindSecurityGroup, "CacheSecurityGroupNames"),
	},
	"DeleteCacheCluster":               {about(cache.KindCluster, "CacheClusterId"), perhaps(cache.KindSnapshot, "FinalSnapshotIdentifier")},
	"DescribeCacheClusters":            {about(cache.KindCluster, "CacheClusterId")},
	"RebootCacheCluster":               {about(cache.KindCluster, "CacheClusterId")},
	"ListAllowedNodeTypeModifications": {perhaps(cache.KindCluster, "CacheClusterId"), perhaps(cache.KindGroup, "ReplicationGroupId")},

	"CreateSnapshot":    {makes(cache.KindSnapshot, "SnapshotName"), perhaps(cache.KindCluster, "CacheClusterId"), perhaps(cache.KindGroup, "ReplicationGroupId")},
	"CopySnapshot":      {about(cache.KindSnapshot, "SourceSnapshotName"), makes(cache.KindSnapshot, "TargetSnapshotName")},
	"DeleteSnapshot":    {about(cache.KindSnapshot, "SnapshotName")},
	"DescribeSnapshots": {about(cache.KindSnapshot, "SnapshotName")},

	"CreateCacheParameterGroup":       {makes(cache.KindParameterGroup, "CacheParameterGroupName")},
	"ModifyCacheParameterGroup":       {about(cache.KindParameterGroup, "CacheParameterGroupName")},
	"ResetCacheParameterGroup":        {about(cache.KindParameterGroup, "CacheParameterGroupName")},
	"DeleteCacheParameterGroup":       {about(cache.KindParameterGroup, "CacheParameterGroupName")},
	"DescribeCacheParameters":         {about(cache.KindParameterGroup, "CacheParameterGroupName")},
	"DescribeCacheParameterGroups":    {about(cache.KindParameterGroup, "CacheParameterGroupName")},
	"DescribeEngineDefaultParameters": {},
	"DescribeCacheEngineVersions":     {},

	"CreateCacheSubnetGroup":    {makes(cache.KindSubnetGroup, "CacheSubnetGroupName")},
	"ModifyCacheSubnetGroup":    {about(cache.KindSubnetGroup, "CacheSubnetGroupName")},
	"DeleteCacheSubnetGroup":    {about(cache.KindSubnetGroup, "CacheSubnetGroupName")},
	"DescribeCacheSubnetGroups": {about(cache.KindSubnetGroup, "CacheSubnetGroupName")},

	"CreateCacheSecurityGroup":           {makes(kindSecurityGroup, "CacheSecurityGroupName")},
	"DeleteCacheSecurityGroup":           {about(kindSecurityGroup, "CacheSecurityGroupName")},
	"DescribeCacheSecurityGroups":        {about(kindSecurityGroup, "CacheSecurityGroupName")},
	"AuthorizeCacheSecurityGroupIngress": {about(kindSecurityGroup, "CacheSecurityGroupName")},
	"RevokeCacheSecurityGroupIngress":    {about(kindSecurityGroup, "CacheSecurityGroupName")},

	"CreateUser":         {makes(kindUser, "UserId")},
	"ModifyUser":         {about(kindUser, "UserId")},
	"DeleteUser":         {about(kindUser, "UserId")},
	"DescribeUsers":      {about(kindUser, "UserId")},
	"CreateUserGroup":    {makes(kindUserGroup, "UserGroupId"), perhaps(kindUser, "UserIds")},
	"ModifyUserGroup":    {about(kindUserGroup, "UserGroupId"), perhaps(kindUser, "UserIdsToAdd"), perhaps(kindUser, "UserIdsToRemove")},
	"DeleteUserGroup":    {about(kindUserGroup, "UserGroupId")},
	"DescribeUserGroups": {about(kindUserGroup, "UserGroupId")},

	"DescribeEvents":         {},
	"DescribeServiceUpdates": {},
	"DescribeUpdateActions":  {perhaps(cache.KindGroup, "ReplicationGroupIds"), perhaps(cache.KindCluster, "CacheClusterIds")},
	"BatchApplyUpdateAction": {perhaps(cache.KindGroup, "ReplicationGroupIds"), perhaps(cache.KindCluster, "CacheClusterIds")},
	"BatchStopUpdateAction":  {perhaps(cache.KindGroup, "ReplicationGroupIds"), perhaps(cache.KindCluster, "CacheClusterIds")},

	"CreateServerlessCache":            {makes(kindServerless, "ServerlessCacheName"), perhaps(kindUserGroup, "UserGroupId")},
	"ModifyServerlessCache":            {about(kindServerless, "ServerlessCacheName"), perhaps(kindUserGroup, "UserGroupId")},
	"DeleteServerlessCache":            {about(kindServerless, "ServerlessCacheName"), perhaps(kindServerlessCopy, "FinalSnapshotName")},
	"DescribeServerlessCaches":         {about(kindServerless, "ServerlessCacheName")},
	"CreateServerlessCacheSnapshot":    {makes(kindServerlessCopy, "ServerlessCacheSnapshotName"), about(kindServerless, "ServerlessCacheName")},
	"CopyServerlessCacheSnapshot":      {about(kindServerlessCopy, "SourceServerlessCacheSnapshotName"), makes(kindServerlessCopy, "TargetServerlessCacheSnapshotName")},
	"DeleteServerlessCacheSnapshot":    {about(kindServerlessCopy, "ServerlessCacheSnapshotName")},
	"ExportServerlessCacheSnapshot":    {about(kindServerlessCopy, "ServerlessCacheSnapshotName")},
	"DescribeServerlessCacheSnapshots": {about(kindServerlessCopy, "ServerlessCacheSnapshotName"), perhaps(kindServerless, "ServerlessCacheName")},

	"CreateGlobalReplicationGroup":               {about(kindGlobalGroup, "GlobalReplicationGroupIdSuffix"), about(cache.KindGroup, "PrimaryReplicationGroupId")},
	"ModifyGlobalReplicationGroup":               {about(kindGlobalGroup, "GlobalReplicationGroupId"), perhaps(cache.KindParameterGroup, "CacheParameterGroupName")},
	"DeleteGlobalReplicationGroup":               {about(kindGlobalGroup, "GlobalReplicationGroupId")},
	"DescribeGlobalReplicationGroups":            {about(kindGlobalGroup, "GlobalReplicationGroupId")},
	"DisassociateGlobalReplicationGroup":         {about(kindGlobalGroup, "GlobalReplicationGroupId")},
	"FailoverGlobalReplicationGroup":             {about(kindGlobalGroup, "GlobalReplicationGroupId")},
	"IncreaseNodeGroupsInGlobalReplicationGroup": {about(kindGlobalGroup, "GlobalReplicationGroupId")},
	"DecreaseNodeGroupsInGlobalReplicationGroup": {about(kindGlobalGroup, "GlobalReplicationGroupId")},
	"RebalanceSlotsInGlobalReplicationGroup":     {about(kindGlobalGroup, "GlobalReplicationGroupId")},

	"PurchaseReservedCacheNodesOffering":  {makes(kindReserved, "ReservedCacheNodeId")},
	"DescribeReservedCacheNodes":          {about(kindReserved, "ReservedCacheNodeId")},
	"DescribeReservedCacheNodesOfferings": {},
}
