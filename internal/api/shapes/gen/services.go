package main

// service is what the SDK's sources do not say about a service.
type service struct {
	name      string // as in the credential scope and in the module path
	variable  string // name of the Go variable
	namespace string // of the XML replies
	status    map[int][]string
}

// services are those spoken in the Query protocol. The SDK keeps no HTTP status
// of errors; all that are not listed here are 400.
var services = []service{
	{
		name:      "elasticache",
		variable:  "ElastiCache",
		namespace: "http://elasticache.amazonaws.com/doc/2015-02-02/",
		status: map[int][]string{
			404: {
				"AuthorizationNotFound",
				"CacheClusterNotFound",
				"CacheParameterGroupNotFound",
				"CacheSecurityGroupNotFound",
				"GlobalReplicationGroupNotFoundFault",
				"NodeGroupNotFoundFault",
				"ReplicationGroupNotFoundFault",
				"ReservedCacheNodeAlreadyExists", // the API's own oddity
				"ReservedCacheNodeNotFound",
				"ReservedCacheNodesOfferingNotFound",
				"ServerlessCacheNotFoundFault",
				"ServerlessCacheSnapshotNotFoundFault",
				"ServiceUpdateNotFoundFault",
				"SnapshotNotFoundFault",
				"TagNotFound",
				"UserGroupNotFound",
				"UserNotFound",
			},
			408: {"InvalidCredentialsException"},
		},
	},
	{
		name:      "sts",
		variable:  "STS",
		namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		status: map[int][]string{
			403: {"IDPRejectedClaim", "RegionDisabledException"},
		},
	},
}
