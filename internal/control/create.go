package control

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// newSecret makes the password of Holdfast's own administrator: 32 random bytes
// in hex. crypto/rand never fails.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// prepare does what both kinds of creation do before their transaction. It returns
// the snapshot to restore, nil for none, too.
func (c *Control) prepare(ctx context.Context, region, id string, a *Asked) (*decided, *cache.Snapshot, error) {
	seed, from, err := c.findSeed(ctx, region, a)
	if err != nil {
		return nil, nil, err
	}
	d, err := c.decide(ctx, region, id, a, from)
	if err != nil {
		return nil, nil, err
	}
	d.seed = seed
	if seed != nil && !d.node.Snapshots {
		return nil, nil, cache.Faultf(codeSnapshotFeature, "Snapshots are not supported on the node type %s.", d.NodeType)
	}
	return d, from, nil
}

// fits refuses data that the nodes, or the machine, cannot hold.
func (c *Control) fits(d *decided, from *cache.Snapshot, shards []layout) error {
	if d.seed == nil {
		return nil
	}
	usable := cache.DataMemory(d.node, d.EffectiveParameters(d.Parameters))
	return checkShards(d, from, shards, usable, c.Memory.Available())
}

// subnetGroup reads the subnet group that a new cache names; nil if none.
func subnetGroup(tx *store.Tx, region, name string) (*cache.SubnetGroup, error) {
	if name == "" {
		return nil, nil
	}
	g, ok, err := records.SubnetGroups.Get(tx, cache.Key(region, name))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, subnetGroupNotFound(name)
	}
	return &g, nil
}

// newCluster makes the record of one node.
func (d *decided) newCluster(region, id string, at cache.Address, role cache.Role) cache.CacheCluster {
	k := cache.CacheCluster{
		Region: region, ID: id, Settings: d.Settings,
		Status: cache.StatusCreating,
		Node:   cache.Node{Address: at, Build: d.choice.Build, Role: role},
	}
	k.SecurityGroupIDs, k.Tags = slices.Clone(k.SecurityGroupIDs), slices.Clone(k.Tags)
	return k
}

// putCluster stores a new node's record if its name is free.
func putCluster(tx *store.Tx, k cache.CacheCluster) error {
	_, taken, err := records.Clusters.Get(tx, k.Key())
	if err != nil {
		return err
	}
	if taken {
		return cache.Faultf(codeClusterExists, "Cache cluster %s already exists.", k.ID)
	}
	return records.Clusters.Put(tx, k.Key(), k)
}

// tell writes notes down as events.
func (c *Control) tell(tx *store.Tx, region, sourceType, id string, notes ...string) error {
	for _, n := range notes {
		if n == "" {
			continue
		}
		if err := records.AddEvent(tx, region, sourceType, id, n, c.Now()); err != nil {
			return err
		}
	}
	return nil
}
