package elasticache

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
)

// ask is a member of a request that is not built, and whether it asks for it.
type ask struct {
	member string
	asked  bool
}

// refuse names the first member that asks for something that is not built.
func refuse(asks ...ask) error {
	for _, a := range asks {
		if a.asked {
			return cache.Faultf("InvalidParameterValue",
				"The parameter %s asks for something that is not supported by this endpoint yet. Leave it out or turn it off.", a.member)
		}
	}
	return nil
}

func text(s *string) bool { return aws.ToString(s) != "" }

func unlike[T ~string](v, only T) bool { return v != "" && v != only }

// refuseGroup looks for what CreateReplicationGroup does not build.
func refuseGroup(in *elasticache.CreateReplicationGroupInput) error {
	return refuse(
		ask{"ClusterMode", unlike(in.ClusterMode, types.ClusterModeDisabled) && in.ClusterMode != types.ClusterModeEnabled},
		ask{"GlobalReplicationGroupId", text(in.GlobalReplicationGroupId)},
		ask{"PrimaryClusterId", text(in.PrimaryClusterId)},
		ask{"LogDeliveryConfigurations", len(in.LogDeliveryConfigurations) > 0},
		ask{"DataTieringEnabled", aws.ToBool(in.DataTieringEnabled)},
		ask{"Durability", unlike(in.Durability, types.DurabilityDisabled) && unlike(in.Durability, types.DurabilityDefault)},
		ask{"NetworkType", unlike(in.NetworkType, types.NetworkTypeIpv4)},
		ask{"IpDiscovery", unlike(in.IpDiscovery, types.IpDiscoveryIpv4)},
		ask{"ServerlessCacheSnapshotName", text(in.ServerlessCacheSnapshotName)},
		ask{"CacheSecurityGroupNames", len(in.CacheSecurityGroupNames) > 0},
	)
}

// refuseShard looks for what the configuration of a node group does not build.
func refuseShard(n *types.NodeGroupConfiguration) error {
	return refuse(
		ask{"NodeGroupConfiguration.PrimaryOutpostArn", text(n.PrimaryOutpostArn)},
		ask{"NodeGroupConfiguration.ReplicaOutpostArns", len(n.ReplicaOutpostArns) > 0},
	)
}

// refuseCluster looks for what CreateCacheCluster does not build.
func refuseCluster(in *elasticache.CreateCacheClusterInput) error {
	return refuse(
		ask{"TransitEncryptionEnabled", aws.ToBool(in.TransitEncryptionEnabled) && !asksMemcached(in)},
		ask{"AuthToken", text(in.AuthToken)},
		ask{"AZMode", unlike(in.AZMode, types.AZModeSingleAz) && !asksMemcached(in)},
		ask{"LogDeliveryConfigurations", len(in.LogDeliveryConfigurations) > 0},
		ask{"NetworkType", unlike(in.NetworkType, types.NetworkTypeIpv4)},
		ask{"IpDiscovery", unlike(in.IpDiscovery, types.IpDiscoveryIpv4)},
		ask{"OutpostMode", in.OutpostMode != ""},
		ask{"PreferredOutpostArn", text(in.PreferredOutpostArn)},
		ask{"PreferredOutpostArns", len(in.PreferredOutpostArns) > 0},
		ask{"CacheSecurityGroupNames", len(in.CacheSecurityGroupNames) > 0},
	)
}
