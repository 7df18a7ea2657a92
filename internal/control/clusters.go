package control

import (
	"context"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// NewCluster is what CreateCacheCluster asks for: one node that stands alone, or, with
// GroupID, one more replica of that replication group; or the nodes of a Memcached cluster.
type NewCluster struct {
	ID, GroupID string
	Asked
	Nodes *int
	Zone  string
	// Memcached is for that engine alone.
	Memcached NewMemcached
}

// CreateCacheCluster writes a new cluster down.
func (c *Control) CreateCacheCluster(ctx context.Context, region string, in NewCluster) (*cache.CacheCluster, error) {
	if err := checkNewCluster(region, &in); err != nil {
		return nil, err
	}
	if in.GroupID != "" {
		return c.addReplica(ctx, region, &in)
	}
	id := lower(in.ID)
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		_, taken, err := records.Clusters.Get(tx, cache.Key(region, id))
		if err == nil && taken {
			err = cache.Faultf(codeClusterExists, "Cache cluster %s already exists.", id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if lower(in.Engine) == cache.Memcached {
		return c.createMemcached(ctx, region, &in)
	}
	in.ClusterMode = ClusterOff
	d, from, err := c.prepare(ctx, region, id, &in.Asked)
	if err == nil {
		err = c.fits(d, from, []layout{{nodes: 1}})
	}
	if err != nil {
		return nil, err
	}
	var out cache.CacheCluster
	err = c.withAddresses(ctx, 1, d.Port, func(tx *store.Tx, at []cache.Address, next int) error {
		out = d.newCluster(region, id, at[0], cache.RolePrimary)
		out.Seed, out.CreatedAt, out.Secret = d.seed, c.Now(), newSecret()
		return c.putAlone(tx, &out, in.Zone, d, next)
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func checkNewCluster(region string, in *NewCluster) error {
	if err := checkID("CacheClusterId", in.ID, maxClusterID); err != nil {
		return err
	}
	if err := checkAsked(region, &in.Asked); err != nil {
		return err
	}
	if n := orElse(in.Nodes, 1); n != 1 && lower(in.Engine) != cache.Memcached {
		return invalid("The parameter NumCacheNodes must be 1 for redis and valkey. Provided value: %d", n)
	}
	if in.Zone != "" {
		return checkZones(region, []string{in.Zone})
	}
	return nil
}

// putAlone writes everything that belongs to a new cluster of its own.
func (c *Control) putAlone(tx *store.Tx, k *cache.CacheCluster, zone string, d *decided, next int) error {
	if err := adoptParameters(tx, k.Region, &k.Settings, false); err != nil {
		return err
	}
	subnets, err := subnetGroup(tx, k.Region, k.SubnetGroup)
	if err != nil {
		return err
	}
	exceeded, err := c.reserve(tx, k.Region, 1, d.node)
	if err != nil {
		return err
	}
	var asked []string
	if zone != "" {
		asked = []string{zone}
	}
	k.Zone = place(k.Region, 1, asked, subnets)[0]
	if err := putCluster(tx, *k); err != nil {
		return err
	}
	claims := []records.AddressClaim{{Address: k.Node.Address, Owner: records.ClusterOwner(k.Key())}}
	if err := c.claim(tx, next, claims); err != nil {
		return err
	}
	if err := markRestore(tx, k.Region, d.seed, k.Key()); err != nil {
		return err
	}
	return c.tell(tx, k.Region, cache.EventCluster, k.ID, append(d.notes, exceeded)...)
}

// DescribeCacheClusters returns the cluster of that id, or, if id is empty, the
// page of the region's clusters: all, or those that stand alone.
func (c *Control) DescribeCacheClusters(ctx context.Context, region, id string, alone bool, page Page[cache.CacheCluster]) ([]cache.CacheCluster, error) {
	var out []cache.CacheCluster
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		if id != "" {
			k, err := getCluster(tx, region, id)
			out = []cache.CacheCluster{k}
			return err
		}
		all, err := records.Clusters.List(tx, records.InRegion(region))
		if err != nil {
			return err
		}
		all = keepIf(all, func(k *cache.CacheCluster) bool { return !k.StandIn })
		if alone {
			all = keepIf(all, func(k *cache.CacheCluster) bool { return k.GroupID == "" })
		}
		out, err = page.of(all)
		return err
	})
	return out, err
}

func keepIf[T any](all []T, keep func(*T) bool) []T {
	out := all[:0]
	for i := range all {
		if keep(&all[i]) {
			out = append(out, all[i])
		}
	}
	return out
}

func getCluster(tx *store.Tx, region, id string) (cache.CacheCluster, error) {
	k, ok, err := records.Clusters.Get(tx, cache.Key(region, lower(id)))
	if err == nil && (!ok || k.StandIn) { // a stand-in is nobody's
		err = clusterNotFound(id)
	}
	return k, err
}

// DeleteCacheCluster writes down that a cluster is to go, after a last snapshot
// if finalSnapshot names one.
func (c *Control) DeleteCacheCluster(ctx context.Context, region, id, finalSnapshot string) (*cache.CacheCluster, error) {
	if finalSnapshot != "" {
		if err := checkID("FinalSnapshotIdentifier", finalSnapshot, maxSnapshotName); err != nil {
			return nil, err
		}
	}
	var k cache.CacheCluster
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if k, err = getCluster(tx, region, id); err != nil {
			return err
		}
		if k.GroupID != "" {
			return c.deleteReplica(tx, &k, finalSnapshot)
		}
		if err := c.lastSnapshotOfCluster(tx, &k, finalSnapshot); err != nil {
			return err
		}
		k.Status = cache.StatusDeleting
		k.Deletion = &cache.Deletion{RequestedAt: c.Now(), FinalSnapshot: lower(finalSnapshot)}
		return records.Clusters.Put(tx, k.Key(), k)
	})
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// lastSnapshotOfCluster checks that a cluster can be deleted, and writes its final
// snapshot down if one is asked for.
func (c *Control) lastSnapshotOfCluster(tx *store.Tx, k *cache.CacheCluster, name string) error {
	ended := k.Status == cache.StatusRestoreFailed
	switch {
	case k.Status != cache.StatusAvailable && !ended:
		return cache.Faultf(codeClusterState, "Cache cluster %s has status %s which is not valid for deletion.", k.ID, k.Status)
	case name == "":
		return nil
	case ended:
		return cache.Faultf(codeClusterState, "Cache cluster %s has status %s: it has no data for a final snapshot.", k.ID, k.Status)
	}
	if err := checkSnapshots(&k.Settings); err != nil {
		return err
	}
	if err := c.countSnapshot(k); err != nil {
		return err
	}
	s := cache.SnapshotOfCluster(k)
	return c.putSnapshot(tx, &s, name, nil)
}
