package elasticache

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/control"
)

func (h *handlers) modifyReplicationGroup(ctx context.Context, in *elasticache.ModifyReplicationGroupInput) (*elasticache.ModifyReplicationGroupOutput, error) {
	if err := refuseGroupChange(in); err != nil {
		return nil, err
	}
	g, err := h.ctl.ModifyReplicationGroup(ctx, region(ctx), aws.ToString(in.ReplicationGroupId), control.GroupChange{
		Change: control.Change{
			SnapshotRetention:       number(in.SnapshotRetentionLimit),
			SnapshotWindow:          aws.ToString(in.SnapshotWindow),
			MaintenanceWindow:       aws.ToString(in.PreferredMaintenanceWindow),
			NotificationTopicARN:    in.NotificationTopicArn,
			NotificationTopicStatus: aws.ToString(in.NotificationTopicStatus),
			AutoMinorVersionUpgrade: in.AutoMinorVersionUpgrade,
			SecurityGroupIDs:        in.SecurityGroupIds,
			ParameterGroup:          aws.ToString(in.CacheParameterGroupName),
			Same: control.Same{
				Engine:        aws.ToString(in.Engine),
				EngineVersion: aws.ToString(in.EngineVersion),
				NodeType:      aws.ToString(in.CacheNodeType),
				IPDiscovery:   string(in.IpDiscovery),
			},
			Immediately: aws.ToBool(in.ApplyImmediately),
		},
		Description:         in.ReplicationGroupDescription,
		SnapshottingCluster: aws.ToString(in.SnapshottingClusterId),
		AutomaticFailover:   in.AutomaticFailoverEnabled,
		MultiAZ:             in.MultiAZEnabled,
		PrimaryCluster:      aws.ToString(in.PrimaryClusterId),
		ClusterMode:         string(in.ClusterMode),
		Transit:             control.Transit{Enabled: in.TransitEncryptionEnabled, Mode: string(in.TransitEncryptionMode)},
		Auth:                control.AuthChange{Token: aws.ToString(in.AuthToken), Strategy: string(in.AuthTokenUpdateStrategy)},
		UserGroups: control.UserGroupsOf{
			Add: in.UserGroupIdsToAdd, Remove: in.UserGroupIdsToRemove, RemoveAll: aws.ToBool(in.RemoveUserGroups),
		},
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.ModifyReplicationGroupOutput{ReplicationGroup: new(showGroup(g))}, nil
}

func (h *handlers) modifyCacheCluster(ctx context.Context, in *elasticache.ModifyCacheClusterInput) (*elasticache.ModifyCacheClusterOutput, error) {
	if err := refuseClusterChange(in); err != nil {
		return nil, err
	}
	k, err := h.ctl.ModifyCacheCluster(ctx, region(ctx), aws.ToString(in.CacheClusterId), control.Change{
		SnapshotRetention:       number(in.SnapshotRetentionLimit),
		SnapshotWindow:          aws.ToString(in.SnapshotWindow),
		MaintenanceWindow:       aws.ToString(in.PreferredMaintenanceWindow),
		NotificationTopicARN:    in.NotificationTopicArn,
		NotificationTopicStatus: aws.ToString(in.NotificationTopicStatus),
		AutoMinorVersionUpgrade: in.AutoMinorVersionUpgrade,
		SecurityGroupIDs:        in.SecurityGroupIds,
		ParameterGroup:          aws.ToString(in.CacheParameterGroupName),
		Same: control.Same{
			Engine:        aws.ToString(in.Engine),
			EngineVersion: aws.ToString(in.EngineVersion),
			NodeType:      aws.ToString(in.CacheNodeType),
			IPDiscovery:   string(in.IpDiscovery),
		},
		Immediately: aws.ToBool(in.ApplyImmediately),
		Memcached:   readMemcachedChange(in),
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.ModifyCacheClusterOutput{CacheCluster: new(showCluster(k, false))}, nil
}

// refuseGroupChange looks for what ModifyReplicationGroup does not build.
func refuseGroupChange(in *elasticache.ModifyReplicationGroupInput) error {
	return refuse(
		ask{"CacheSecurityGroupNames", len(in.CacheSecurityGroupNames) > 0},
		ask{"Durability", unlike(in.Durability, types.DurabilityDisabled) && unlike(in.Durability, types.DurabilityDefault)},
		ask{"LogDeliveryConfigurations", len(in.LogDeliveryConfigurations) > 0},
	)
}

// refuseClusterChange looks for what ModifyCacheCluster does not build.
func refuseClusterChange(in *elasticache.ModifyCacheClusterInput) error {
	return refuse(
		ask{"AuthToken", text(in.AuthToken)},
		ask{"AuthTokenUpdateStrategy", in.AuthTokenUpdateStrategy != ""},
		ask{"CacheSecurityGroupNames", len(in.CacheSecurityGroupNames) > 0},
		ask{"LogDeliveryConfigurations", len(in.LogDeliveryConfigurations) > 0},
	)
}
