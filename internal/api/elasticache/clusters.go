package elasticache

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

func (h *handlers) createCacheCluster(ctx context.Context, in *elasticache.CreateCacheClusterInput) (*elasticache.CreateCacheClusterOutput, error) {
	if err := refuseCluster(in); err != nil {
		return nil, err
	}
	zone, err := readZone(in)
	if err != nil {
		return nil, err
	}
	k, err := h.ctl.CreateCacheCluster(ctx, region(ctx), control.NewCluster{
		ID: aws.ToString(in.CacheClusterId), GroupID: aws.ToString(in.ReplicationGroupId),
		Asked: control.Asked{
			Engine:                  aws.ToString(in.Engine),
			EngineVersion:           aws.ToString(in.EngineVersion),
			NodeType:                aws.ToString(in.CacheNodeType),
			Port:                    number(in.Port),
			ParameterGroup:          aws.ToString(in.CacheParameterGroupName),
			SubnetGroup:             aws.ToString(in.CacheSubnetGroupName),
			SecurityGroupIDs:        in.SecurityGroupIds,
			AutoMinorVersionUpgrade: in.AutoMinorVersionUpgrade,
			SnapshotRetention:       number(in.SnapshotRetentionLimit),
			SnapshotWindow:          aws.ToString(in.SnapshotWindow),
			MaintenanceWindow:       aws.ToString(in.PreferredMaintenanceWindow),
			NotificationTopicARN:    aws.ToString(in.NotificationTopicArn),
			Tags:                    readTags(in.Tags),
			SnapshotName:            aws.ToString(in.SnapshotName),
			SnapshotARNs:            in.SnapshotArns,
		},
		Nodes:     number(in.NumCacheNodes),
		Zone:      zone,
		Memcached: readNewMemcached(in),
	})
	if err != nil {
		return nil, err
	}
	return &elasticache.CreateCacheClusterOutput{CacheCluster: new(showCluster(k, false))}, nil
}

// readZone takes the zone of the one node from either of the two members that
// may name it.
func readZone(in *elasticache.CreateCacheClusterInput) (string, error) {
	one, many := aws.ToString(in.PreferredAvailabilityZone), in.PreferredAvailabilityZones
	switch {
	case asksMemcached(in):
		return one, nil // the others are read with what Memcached alone has
	case len(many) > 1:
		return "", cache.Faultf("InvalidParameterValue", "The number of PreferredAvailabilityZones must be equal to NumCacheNodes.")
	case len(many) == 0:
		return one, nil
	case one != "" && one != many[0]:
		return "", cache.Faultf("InvalidParameterCombination", "PreferredAvailabilityZone and PreferredAvailabilityZones contradict each other.")
	}
	return many[0], nil
}

func (h *handlers) describeCacheClusters(ctx context.Context, in *elasticache.DescribeCacheClustersInput) (*elasticache.DescribeCacheClustersOutput, error) {
	out := &elasticache.DescribeCacheClustersOutput{}
	clusters, err := h.ctl.DescribeCacheClusters(ctx, region(ctx), aws.ToString(in.CacheClusterId),
		aws.ToBool(in.ShowCacheClustersNotInReplicationGroups),
		paged(func(k *cache.CacheCluster) string { return k.ID }, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	if err := h.ctl.ShowPending(ctx, clusters); err != nil {
		return nil, err
	}
	out.CacheClusters = make([]types.CacheCluster, len(clusters))
	for i := range clusters {
		out.CacheClusters[i] = showCluster(&clusters[i], aws.ToBool(in.ShowCacheNodeInfo))
	}
	return out, nil
}

func (h *handlers) deleteCacheCluster(ctx context.Context, in *elasticache.DeleteCacheClusterInput) (*elasticache.DeleteCacheClusterOutput, error) {
	k, err := h.ctl.DeleteCacheCluster(ctx, region(ctx), aws.ToString(in.CacheClusterId), aws.ToString(in.FinalSnapshotIdentifier))
	if err != nil {
		return nil, err
	}
	return &elasticache.DeleteCacheClusterOutput{CacheCluster: new(showCluster(k, false))}, nil
}

func showCluster(k *cache.CacheCluster, nodes bool) types.CacheCluster {
	out := types.CacheCluster{
		ARN:                        aws.String(cache.ARN(k.Region, cache.KindCluster, k.ID)),
		CacheClusterId:             aws.String(k.ID),
		CacheClusterStatus:         aws.String(string(k.Status)),
		CacheClusterCreateTime:     aws.Time(k.CreatedAt),
		ReplicationGroupId:         optional(k.GroupID),
		CacheNodeType:              aws.String(k.NodeType),
		Engine:                     aws.String(k.Engine),
		EngineVersion:              aws.String(shownVersion(k.EngineVersion, k.Node.Build)),
		NumCacheNodes:              aws.Int32(1),
		PreferredAvailabilityZone:  optional(k.Zone),
		PreferredMaintenanceWindow: aws.String(k.MaintenanceWindow),
		SnapshotRetentionLimit:     integer(k.SnapshotRetention),
		SnapshotWindow:             aws.String(k.SnapshotWindow),
		AutoMinorVersionUpgrade:    aws.Bool(k.AutoMinorVersionUpgrade),
		CacheSubnetGroupName:       optional(k.SubnetGroup),
		CacheSecurityGroups:        []types.CacheSecurityGroupMembership{},
		CacheParameterGroup: &types.CacheParameterGroupStatus{
			CacheParameterGroupName: aws.String(k.ParameterGroup),
			ParameterApplyStatus:    aws.String(k.ParameterStatus()),
			CacheNodeIdsToReboot:    nodesToReboot(k),
		},
		NetworkType:                        types.NetworkType(k.NetworkType),
		IpDiscovery:                        types.IpDiscovery(k.IPDiscovery),
		AuthTokenEnabled:                   aws.Bool(hasToken(k.Access)),
		AuthTokenLastModifiedDate:          tokenDate(k.Access),
		TransitEncryptionEnabled:           aws.Bool(k.TransitEncryption != ""),
		TransitEncryptionMode:              types.TransitEncryptionMode(k.TransitEncryption),
		AtRestEncryptionEnabled:            aws.Bool(k.AtRestEncryption),
		ReplicationGroupLogDeliveryEnabled: aws.Bool(false),
		PendingModifiedValues:              &types.PendingModifiedValues{},
	}
	for _, id := range k.SecurityGroupIDs {
		out.SecurityGroups = append(out.SecurityGroups, types.SecurityGroupMembership{SecurityGroupId: aws.String(id), Status: aws.String("active")})
	}
	if k.NotificationTopicARN != "" {
		// Inactive: nothing is sent.
		out.NotificationConfiguration = &types.NotificationConfiguration{TopicArn: aws.String(k.NotificationTopicARN), TopicStatus: aws.String("inactive")}
	}
	if k.Memcached != nil {
		showMemcached(k, nodes, &out)
		return out
	}
	showKind(k.Pending, out.PendingModifiedValues)
	if nodes && usable(k.Status) {
		out.CacheNodes = []types.CacheNode{showNode(k)}
	}
	return out
}

// showNode shows the one node of a cluster that can be used.
func showNode(k *cache.CacheCluster) types.CacheNode {
	return types.CacheNode{
		CacheNodeId:              aws.String(cache.NodeID),
		CacheNodeStatus:          aws.String(nodeStatus(k)),
		CacheNodeCreateTime:      aws.Time(k.CreatedAt),
		CustomerAvailabilityZone: optional(k.Zone),
		Endpoint:                 showEndpoint(k.Node.Address),
		ParameterGroupStatus:     aws.String(k.ParameterStatus()),
	}
}

// nodesToReboot are the nodes that wait for a reboot to have their parameters.
func nodesToReboot(k *cache.CacheCluster) []string {
	if k.ParameterStatus() == cache.ParametersPendingReboot {
		return []string{cache.NodeID}
	}
	return []string{}
}

func nodeStatus(k *cache.CacheCluster) string {
	if k.Status == cache.StatusRebooting {
		return "rebooting"
	}
	return string(cache.StatusAvailable)
}
