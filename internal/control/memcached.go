package control

import (
	"context"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

const (
	memcachedPort = 11211
	// maxMemcachedNodes is ElastiCache's quota.
	maxMemcachedNodes = 60
	// memcachedTLS is the oldest version that is offered with TLS.
	memcachedTLS = "1.6.12"
)

// The values of AZMode.
const (
	SingleAZ = "single-az"
	CrossAZ  = "cross-az"
)

// NewMemcached is what CreateCacheCluster asks of Memcached alone.
type NewMemcached struct {
	AZMode string
	// Zones are those of the nodes, one for each; none for wherever there is room.
	Zones             []string
	TransitEncryption bool
}

// memcachedSince are the versions from which Memcached is offered on a class of node types.
var memcachedSince = []struct{ classes, version string }{
	{"m6g t4g m7g r6g r7g c7gn", "1.5.16"},
	{"m8g r8g c8gn", "1.6.6"},
}

// plainClasses are node types without TLS.
var plainClasses = []string{"m1", "m2", "m3", "r3", "t1", "t2", "c1"}

// createMemcached writes a new Memcached cluster down: all of its nodes, and an address
// for each and for the configuration endpoint.
func (c *Control) createMemcached(ctx context.Context, region string, in *NewCluster) (*cache.CacheCluster, error) {
	n := orElse(in.Nodes, 1)
	if err := checkNewMemcached(region, in, n); err != nil {
		return nil, err
	}
	if in.Port == nil {
		port := memcachedPort
		in.Port = &port
	}
	in.memcached, in.ClusterMode = true, ClusterOff
	id := lower(in.ID)
	d, err := c.decide(ctx, region, id, &in.Asked, nil)
	if err != nil {
		return nil, err
	}
	if err := checkMemcachedTLS(d, in.Memcached.TransitEncryption); err != nil {
		return nil, err
	}
	var out cache.CacheCluster
	err = c.withAddresses(ctx, n+1, d.Port, func(tx *store.Tx, at []cache.Address, next int) error {
		out = d.newCluster(region, id, cache.Address{}, "")
		out.Node, out.CreatedAt = cache.Node{Build: d.choice.Build}, c.Now()
		return c.putMemcached(tx, &out, in, d, at, next)
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func checkNewMemcached(region string, in *NewCluster, n int) error {
	m := &in.Memcached
	if err := checkNodeCount(n); err != nil {
		return err
	}
	if err := checkAZMode(m.AZMode); err != nil {
		return err
	}
	if err := checkZones(region, m.Zones); err != nil {
		return err
	}
	a := &in.Asked
	spans := slices.ContainsFunc(m.Zones, func(z string) bool { return z != m.Zones[0] })
	switch {
	case a.SnapshotName != "" || len(a.SnapshotARNs) > 0 || a.SnapshotWindow != "" || orElse(a.SnapshotRetention, 0) > 0:
		return conflict("Snapshots are not supported for the engine memcached: SnapshotName, SnapshotArns, SnapshotWindow and SnapshotRetentionLimit cannot be used.")
	case len(m.Zones) > 0 && len(m.Zones) != n:
		return invalid("The number of PreferredAvailabilityZones must be equal to NumCacheNodes. Provided: %d zones for %d nodes", len(m.Zones), n)
	case m.AZMode == SingleAZ && spans:
		return conflict("PreferredAvailabilityZones names several zones, which needs the AZMode %s.", CrossAZ)
	case m.AZMode == CrossAZ && n == 1:
		return conflict("The AZMode %s needs NumCacheNodes to be more than 1.", CrossAZ)
	case m.AZMode == CrossAZ && in.Zone != "" && len(m.Zones) == 0:
		return conflict("The AZMode %s cannot be used with PreferredAvailabilityZone. Name a zone for each node with PreferredAvailabilityZones.", CrossAZ)
	}
	return nil
}

func checkNodeCount(n int) error {
	switch {
	case n < 1:
		return invalid("The parameter NumCacheNodes must be between 1 and %d. Provided value: %d", maxMemcachedNodes, n)
	case n > maxMemcachedNodes:
		return cache.Faultf(codeClusterNodeQuota, "Cluster node quota exceeded. Each cluster can have at most %d nodes in this region.", maxMemcachedNodes)
	}
	return nil
}

func checkAZMode(mode string) error {
	if mode != "" && mode != SingleAZ && mode != CrossAZ {
		return invalid("The parameter AZMode must be %s or %s. Provided value: %s", SingleAZ, CrossAZ, mode)
	}
	return nil
}

// checkMemcachedNodeType tells whether Memcached of a version is offered on a node type.
func checkMemcachedNodeType(t cache.NodeType, version string) error {
	if t.MemcachedMB == 0 {
		return conflict("The node type %s does not serve memcached.", t.Name)
	}
	for _, s := range memcachedSince {
		if slices.Contains(strings.Fields(s.classes), nodeClass(t.Name)) && cache.CompareVersions(version, s.version) < 0 {
			return conflict("The node type %s serves memcached from version %s on. Provided version: %s", t.Name, s.version, version)
		}
	}
	return nil
}

// nodeClass is "m6g" of "cache.m6g.large".
func nodeClass(nodeType string) string {
	class, _, _ := strings.Cut(strings.TrimPrefix(nodeType, "cache."), ".")
	return class
}

func checkMemcachedTLS(d *decided, wanted bool) error {
	switch {
	case !wanted:
	case cache.CompareVersions(d.EngineVersion, memcachedTLS) < 0:
		return conflict("TransitEncryptionEnabled needs memcached %s or newer. Provided version: %s", memcachedTLS, d.EngineVersion)
	case slices.Contains(plainClasses, nodeClass(d.NodeType)):
		return conflict("TransitEncryptionEnabled cannot be used with the node type %s.", d.NodeType)
	}
	return nil
}

// putMemcached writes everything that belongs to a new Memcached cluster. The first
// address is the configuration endpoint's.
func (c *Control) putMemcached(tx *store.Tx, k *cache.CacheCluster, in *NewCluster, d *decided, at []cache.Address, next int) error {
	if err := adoptParameters(tx, k.Region, &k.Settings, false); err != nil {
		return err
	}
	subnets, err := subnetGroup(tx, k.Region, k.SubnetGroup)
	if err != nil {
		return err
	}
	nodes := at[1:]
	exceeded, err := c.reserve(tx, k.Region, len(nodes), d.node)
	if err != nil {
		return err
	}
	k.Memcached = &cache.MemcachedCluster{
		ConfigurationEndpoint: at[0], TransitEncryption: in.Memcached.TransitEncryption, CrossAZ: in.Memcached.AZMode == CrossAZ,
	}
	claims := []records.AddressClaim{{Address: at[0], Owner: records.ClusterOwner(k.Key())}}
	zones := firstZones(k.Region, in, len(nodes), subnets)
	for i, a := range nodes {
		n := cache.MemcachedNode{ID: cache.MemcachedNodeID(i + 1), Zone: zones[i], Address: a, CreatedAt: k.CreatedAt}
		k.Memcached.Nodes = append(k.Memcached.Nodes, n)
		claims = append(claims, records.AddressClaim{Address: a, Owner: records.MemcachedOwner(k.Key(), n.ID)})
	}
	k.Zone = zones[0]
	k.Memcached.CrossAZ = k.Memcached.CrossAZ || k.Memcached.Spans()
	if err := putCluster(tx, *k); err != nil {
		return err
	}
	if err := c.claim(tx, next, claims); err != nil {
		return err
	}
	return c.tell(tx, k.Region, cache.EventCluster, k.ID, append(d.notes, exceeded)...)
}

// firstZones gives each node of a new cluster a zone: that asked for, else all the same
// one, or with cross-az in turn.
func firstZones(region string, in *NewCluster, n int, subnets *cache.SubnetGroup) []string {
	asked := in.Memcached.Zones
	if len(asked) == 0 && in.Memcached.AZMode != CrossAZ {
		asked = []string{in.Zone}
		if in.Zone == "" {
			asked = place(region, 1, nil, subnets)
		}
	}
	return place(region, n, asked, subnets)
}

// rebootMemcached writes down that nodes of a cluster are to be started anew.
func (c *Control) rebootMemcached(tx *store.Tx, k *cache.CacheCluster, nodes []string) error {
	m := k.Memcached
	for i, id := range nodes {
		n := m.Find(id)
		if n == nil || slices.Contains(nodes[:i], id) {
			return invalid("The parameter CacheNodeIdsToReboot must name nodes of cache cluster %s, each once. Provided value: %s", k.ID, id)
		}
		n.Reboot = true
	}
	if k.Status != cache.StatusAvailable {
		return cache.Faultf(codeClusterState, "Cache cluster must be in available state to reboot. Cache cluster %s has status %s.", k.ID, k.Status)
	}
	k.Status = cache.StatusRebooting
	return records.Clusters.Put(tx, k.Key(), *k)
}
