package elasticache

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

// The values that ScaleConfig's members have when only the other one is given.
const (
	scalePercent = 20
	scaleMinutes = 5
)

// asksMemcached tells whether a creation is of a Memcached cluster.
func asksMemcached(in *elasticache.CreateCacheClusterInput) bool {
	return strings.ToLower(aws.ToString(in.Engine)) == cache.Memcached
}

func readNewMemcached(in *elasticache.CreateCacheClusterInput) control.NewMemcached {
	return control.NewMemcached{
		AZMode: string(in.AZMode), Zones: in.PreferredAvailabilityZones,
		TransitEncryption: aws.ToBool(in.TransitEncryptionEnabled),
	}
}

func readMemcachedChange(in *elasticache.ModifyCacheClusterInput) control.MemcachedChange {
	out := control.MemcachedChange{
		Nodes: number(in.NumCacheNodes), Remove: in.CacheNodeIdsToRemove, NewZones: in.NewAvailabilityZones,
		AZMode: string(in.AZMode), Immediately: aws.ToBool(in.ApplyImmediately),
	}
	if s := in.ScaleConfig; s != nil {
		out.Scale = &cache.ScaleConfig{Percent: scalePercent, Minutes: scaleMinutes}
		if s.ScalePercentage != nil {
			out.Scale.Percent = int(*s.ScalePercentage)
		}
		if s.ScaleIntervalMinutes != nil {
			out.Scale.Minutes = int(*s.ScaleIntervalMinutes)
		}
	}
	return out
}

// showMemcached shows of a Memcached cluster what the others have not.
func showMemcached(k *cache.CacheCluster, nodes bool, out *types.CacheCluster) {
	m := k.Memcached
	out.NumCacheNodes = integer(len(m.Staying()))
	out.SnapshotWindow, out.SnapshotRetentionLimit = nil, nil
	out.TransitEncryptionEnabled = aws.Bool(m.TransitEncryption)
	if m.TransitEncryption {
		out.TransitEncryptionMode = types.TransitEncryptionModeRequired
	}
	out.CacheParameterGroup.CacheNodeIdsToReboot = k.NodesToReboot()
	out.PreferredAvailabilityZone = aws.String("Multiple")
	if !m.Spans() {
		out.PreferredAvailabilityZone = aws.String(m.Nodes[0].Zone)
	}
	out.PendingModifiedValues = showWaiting(m)
	if !usable(k.Status) {
		return
	}
	out.ConfigurationEndpoint = showEndpoint(m.ConfigurationEndpoint)
	if !nodes {
		return
	}
	for i := range m.Nodes {
		out.CacheNodes = append(out.CacheNodes, showMemcachedNode(k, &m.Nodes[i]))
	}
}

func showMemcachedNode(k *cache.CacheCluster, n *cache.MemcachedNode) types.CacheNode {
	out := types.CacheNode{
		CacheNodeId:              aws.String(n.ID),
		CacheNodeStatus:          aws.String(memcachedNodeStatus(n)),
		CacheNodeCreateTime:      aws.Time(n.CreatedAt),
		CustomerAvailabilityZone: optional(n.Zone),
		ParameterGroupStatus:     aws.String(k.NodeParameterStatus(n)),
	}
	if n.Listed {
		out.Endpoint = showEndpoint(n.Address)
	}
	return out
}

func memcachedNodeStatus(n *cache.MemcachedNode) string {
	switch {
	case n.Leaving:
		return string(cache.StatusDeleting)
	case !n.Listed:
		return string(cache.StatusCreating)
	case n.Reboot || n.Restarting:
		return "rebooting"
	}
	return string(cache.StatusAvailable)
}

// showWaiting shows what waits for the maintenance window.
func showWaiting(m *cache.MemcachedCluster) *types.PendingModifiedValues {
	out := &types.PendingModifiedValues{}
	p := m.Pending
	if p == nil {
		return out
	}
	out.EngineVersion, out.CacheNodeType = optional(p.EngineVersion), optional(p.NodeType)
	if n := len(p.Add) - len(p.Remove); n != 0 {
		out.NumCacheNodes = integer(len(m.Staying()) + n)
		out.CacheNodeIdsToRemove = p.Remove
	}
	if s := p.Scale; s != nil {
		out.ScaleConfig = &types.ScaleConfig{ScalePercentage: integer(s.Percent), ScaleIntervalMinutes: integer(s.Minutes)}
	}
	return out
}
