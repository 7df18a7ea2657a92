package control

import (
	"context"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// ModifyCacheCluster changes settings of a cluster that stands alone. Those of
// the members of a group are their group's.
func (c *Control) ModifyCacheCluster(ctx context.Context, region, id string, in Change) (*cache.CacheCluster, error) {
	if err := in.check(region); err != nil {
		return nil, err
	}
	if k, yes, err := c.isMemcached(ctx, region, id); yes || err != nil {
		if err != nil {
			return nil, err
		}
		return c.modifyMemcached(ctx, &k, &in)
	}
	if err := in.Memcached.refuse(); err != nil {
		return nil, err
	}
	seen, err := c.lookAtCluster(ctx, region, id, &in)
	if err != nil {
		return nil, err
	}
	var k cache.CacheCluster
	err = c.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if k, err = getCluster(tx, region, id); err != nil {
			return err
		}
		if k.GroupID != "" {
			return invalid("Cache cluster %s is a member of replication group %s. Modify the group with ModifyReplicationGroup.", k.ID, k.GroupID)
		}
		if !modifiable(k.Status) {
			return notAvailable(&k)
		}
		return c.changeCluster(tx, &k, &in, seen)
	})
	if err != nil {
		return nil, c.tellRefusal(ctx, region, cache.EventCluster, lower(id), err)
	}
	return &k, nil
}

func (c *Control) changeCluster(tx *store.Tx, k *cache.CacheCluster, in *Change, seen sizes) error {
	fixed := Same{IPDiscovery: in.Same.IPDiscovery}
	if err := fixed.check(&k.Settings, ""); err != nil {
		return err
	}
	before := k.SnapshotRetention
	notes, err := c.apply(in, &k.Settings, &k.Automatic)
	if err != nil {
		return err
	}
	later, err := c.changeKind(tx, in, &k.Settings, &parameterUser{members: []cache.CacheCluster{*k}}, seen)
	if err != nil {
		return err
	}
	if later.begins {
		if k.Status != cache.StatusAvailable {
			return notAvailable(k)
		}
		k.Status = cache.StatusModifying
	}
	if k.SnapshotRetention != before {
		if err := keepFor(tx, k.Region, "", k.ID, k.SnapshotRetention); err != nil {
			return err
		}
	}
	if err := records.Clusters.Put(tx, k.Key(), *k); err != nil {
		return err
	}
	return c.tell(tx, k.Region, cache.EventCluster, k.ID, append(notes, later.notes...)...)
}

func notAvailable(k *cache.CacheCluster) error {
	return cache.Faultf(codeClusterState, "Cache cluster must be in available state to modify. Cache cluster %s has status %s.", k.ID, k.Status)
}
