package control

import (
	"context"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// NewSnapshot is what CreateSnapshot asks for. One of GroupID and ClusterID is set.
type NewSnapshot struct {
	Name, GroupID, ClusterID string
	Tags                     []cache.Tag
}

// Manual snapshots of one cache that may be taken within a day.
const (
	maxSnapshotsADay = 20
	snapshotDay      = 24 * time.Hour
)

// CreateSnapshot writes a new snapshot down and marks what it is taken of.
func (c *Control) CreateSnapshot(ctx context.Context, region string, in NewSnapshot) (*cache.Snapshot, error) {
	if err := checkID("SnapshotName", in.Name, maxSnapshotName); err != nil {
		return nil, err
	}
	if (in.GroupID == "") == (in.ClusterID == "") {
		return nil, conflict("Exactly one of the parameters ReplicationGroupId and CacheClusterId must be provided.")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	var s *cache.Snapshot
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s, err = c.markSource(tx, region, &in); err != nil {
			return err
		}
		return c.putSnapshot(tx, s, in.Name, in.Tags)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// markSource finds what a snapshot is to be taken of, checks that it can be, and
// marks it as being backed up.
func (c *Control) markSource(tx *store.Tx, region string, in *NewSnapshot) (*cache.Snapshot, error) {
	if in.GroupID != "" {
		g, err := getGroup(tx, region, in.GroupID)
		if err != nil {
			return nil, err
		}
		return snapshotOfGroup(&g), markGroup(tx, &g, "")
	}
	k, err := getCluster(tx, region, in.ClusterID)
	if err != nil {
		return nil, err
	}
	if k.GroupID == "" {
		return snapshotOfCluster(&k), markCluster(tx, &k)
	}
	g, err := getGroup(tx, region, k.GroupID)
	if err != nil {
		return nil, err
	}
	s := snapshotOfGroup(&g)
	s.ClusterID, s.Zone, s.SourceCreatedAt = k.ID, k.Zone, k.CreatedAt
	return s, markGroup(tx, &g, k.ID)
}

// markGroup marks a group and the member that is read: the one asked for, else
// a replica where there is one.
func markGroup(tx *store.Tx, g *cache.ReplicationGroup, member string) error {
	if g.Status != cache.StatusAvailable {
		return cache.Faultf(codeGroupState, "Replication group %s has status %s; it must be in available state to take a snapshot.", g.ID, g.Status)
	}
	for _, id := range g.Members {
		if member == "" && (id != g.Primary || len(g.Members) == 1) {
			member = id
		}
	}
	k, err := getCluster(tx, g.Region, member)
	if err != nil {
		return err
	}
	if err := markCluster(tx, &k); err != nil {
		return err
	}
	g.Status = cache.StatusSnapshotting
	return records.Groups.Put(tx, g.Key(), *g)
}

func markCluster(tx *store.Tx, k *cache.CacheCluster) error {
	if t, ok := cache.FindNodeType(k.NodeType); ok && !t.Snapshots {
		return cache.Faultf(codeSnapshotFeature, "Snapshots are not supported on the node type %s.", k.NodeType)
	}
	if k.Status != cache.StatusAvailable {
		return cache.Faultf(codeClusterState, "Cache cluster %s has status %s; it must be in available state to take a snapshot.", k.ID, k.Status)
	}
	k.Status = cache.StatusSnapshotting
	return records.Clusters.Put(tx, k.Key(), *k)
}

// snapshotOfGroup starts the record of a snapshot with what it keeps of its group.
func snapshotOfGroup(g *cache.ReplicationGroup) *cache.Snapshot {
	return &cache.Snapshot{
		Region: g.Region, GroupID: g.ID, GroupDescription: g.Description,
		Settings: g.Settings, AutomaticFailover: g.AutomaticFailover, SourceCreatedAt: g.CreatedAt,
	}
}

// snapshotOfCluster does so for a cluster that stands alone.
func snapshotOfCluster(k *cache.CacheCluster) *cache.Snapshot {
	return &cache.Snapshot{
		Region: k.Region, ClusterID: k.ID, Settings: k.Settings, Zone: k.Zone, SourceCreatedAt: k.CreatedAt,
	}
}

// putSnapshot stores a new manual snapshot under a name that must be free.
func (c *Control) putSnapshot(tx *store.Tx, s *cache.Snapshot, name string, tags []cache.Tag) error {
	s.Name, s.Source, s.Status, s.CreatedAt, s.Tags = lower(name), cache.SourceManual, cache.StatusCreating, c.Now(), tags
	if err := checkNoSnapshot(tx, s.Region, s.Name); err != nil {
		return err
	}
	if err := c.checkSnapshotQuota(tx, s); err != nil {
		return err
	}
	return records.Snapshots.Put(tx, s.Key(), *s)
}

func checkNoSnapshot(tx *store.Tx, region, name string) error {
	_, taken, err := records.Snapshots.Get(tx, cache.Key(region, name))
	if err == nil && taken {
		err = cache.Faultf(codeSnapshotExists, "Snapshot %s already exists.", name)
	}
	return err
}

func (c *Control) checkSnapshotQuota(tx *store.Tx, s *cache.Snapshot) error {
	all, err := records.Snapshots.List(tx, records.InRegion(s.Region))
	if err != nil {
		return err
	}
	n := 0
	for i := range all {
		o := &all[i]
		same := o.GroupID == s.GroupID && (s.GroupID != "" || o.ClusterID == s.ClusterID)
		if same && o.CopyOf == "" && o.Source == cache.SourceManual && o.CreatedAt.After(c.Now().Add(-snapshotDay)) {
			n++
		}
	}
	if n >= maxSnapshotsADay {
		return cache.Faultf(codeSnapshotQuota, "The maximum number of manual snapshots for this cluster taken within 24 hours has been reached")
	}
	return nil
}
