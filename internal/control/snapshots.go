package control

import (
	"context"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// NewSnapshot is what CreateSnapshot asks for. One of GroupID and ClusterID is set.
type NewSnapshot struct {
	Name, GroupID, ClusterID string
	Tags                     []cache.Tag
	KmsKeyID                 string
}

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
	if err := checkKey(region, in.KmsKeyID); err != nil {
		return nil, err
	}
	var s *cache.Snapshot
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s, err = c.markSource(tx, region, &in); err != nil {
			return err
		}
		if in.KmsKeyID != "" {
			s.KmsKeyID = in.KmsKeyID
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
		s := cache.SnapshotOfGroup(&g)
		return &s, c.markGroup(tx, &g, "")
	}
	k, err := getCluster(tx, region, in.ClusterID)
	if err != nil {
		return nil, err
	}
	if k.GroupID == "" {
		s := cache.SnapshotOfCluster(&k)
		return &s, c.markCluster(tx, &k)
	}
	g, err := getGroup(tx, region, k.GroupID)
	if err != nil {
		return nil, err
	}
	if g.ClusterEnabled {
		return nil, conflict("Cache cluster %s is one node of replication group %s, which is in cluster mode: "+
			"snapshots are taken of the whole group, by its ReplicationGroupId.", k.ID, g.ID)
	}
	s := cache.SnapshotOfMember(&g, &k)
	return &s, c.markGroup(tx, &g, k.ID)
}

// markGroup marks a group and what is read of it: the member that was asked for,
// else a replica where there is one; in cluster mode every node.
func (c *Control) markGroup(tx *store.Tx, g *cache.ReplicationGroup, member string) error {
	if err := checkSnapshots(&g.Settings); err != nil {
		return err
	}
	if g.Status != cache.StatusAvailable {
		return cache.Faultf(codeGroupState, "Replication group %s has status %s; it must be in available state to take a snapshot.", g.ID, g.Status)
	}
	members := []string{member}
	switch {
	case g.ClusterEnabled:
		members = g.Members
	case member == "":
		members[0] = replicaOf(g)
	}
	for _, id := range members {
		k, err := getCluster(tx, g.Region, id)
		if err != nil {
			return err
		}
		if g.ClusterEnabled && !g.Leads(id) {
			k.Status = cache.StatusSnapshotting
			err = records.Clusters.Put(tx, k.Key(), k)
		} else {
			err = c.markCluster(tx, &k)
		}
		if err != nil {
			return err
		}
	}
	g.Status = cache.StatusSnapshotting
	return records.Groups.Put(tx, g.Key(), *g)
}

// replicaOf is the member that spares the primary; the primary if it is alone.
func replicaOf(g *cache.ReplicationGroup) string {
	for _, id := range g.Members {
		if id != g.Primary {
			return id
		}
	}
	return g.Primary
}

// markCluster marks a node that is to be read, and counts the snapshot against it.
func (c *Control) markCluster(tx *store.Tx, k *cache.CacheCluster) error {
	if err := checkSnapshots(&k.Settings); err != nil {
		return err
	}
	if k.Status != cache.StatusAvailable {
		return cache.Faultf(codeClusterState, "Cache cluster %s has status %s; it must be in available state to take a snapshot.", k.ID, k.Status)
	}
	if err := c.countSnapshot(k); err != nil {
		return err
	}
	k.Status = cache.StatusSnapshotting
	return records.Clusters.Put(tx, k.Key(), *k)
}

// checkSnapshots refuses what ElastiCache takes no backups of.
func checkSnapshots(s *cache.Settings) error {
	if s.Engine == cache.Memcached {
		return cache.Faultf(codeSnapshotFeature, "Snapshots are not supported for the engine memcached.")
	}
	if t, ok := cache.FindNodeType(s.NodeType); ok && !t.Snapshots {
		return cache.Faultf(codeSnapshotFeature, "%s", noSnapshots(s.NodeType))
	}
	return nil
}

func noSnapshots(nodeType string) string {
	return "Snapshots are not supported on the node type " + nodeType + "."
}

// putSnapshot stores a new manual snapshot under a name that must be free.
func (c *Control) putSnapshot(tx *store.Tx, s *cache.Snapshot, name string, tags []cache.Tag) error {
	s.Name, s.Source, s.Status, s.CreatedAt, s.Tags = lower(name), cache.SourceManual, cache.StatusCreating, c.Now(), tags
	if err := checkNoSnapshot(tx, s.Region, s.Name); err != nil {
		return err
	}
	var err error
	if s.VpcID, err = records.VpcOf(tx, s.Region, s.SubnetGroup); err != nil {
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
