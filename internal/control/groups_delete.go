package control

import (
	"context"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// DeleteReplicationGroup writes down that a group is to go, after a last
// snapshot if finalSnapshot names one.
func (c *Control) DeleteReplicationGroup(ctx context.Context, region, id, finalSnapshot string) (*Group, error) {
	if finalSnapshot != "" {
		if err := checkID("FinalSnapshotIdentifier", finalSnapshot, maxSnapshotName); err != nil {
			return nil, err
		}
	}
	var out Group
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := getGroup(tx, region, id)
		if err != nil {
			return err
		}
		if out, err = withMembers(tx, g); err != nil {
			return err
		}
		if err := c.lastSnapshotOfGroup(tx, &out, finalSnapshot); err != nil {
			return err
		}
		out.Status = cache.StatusDeleting
		out.Deletion = &cache.Deletion{RequestedAt: c.Now(), FinalSnapshot: lower(finalSnapshot)}
		if err := records.Groups.Put(tx, g.Key(), out.ReplicationGroup); err != nil {
			return err
		}
		for i := range out.Members {
			k := &out.Members[i]
			k.Status = cache.StatusDeleting
			k.Deletion = &cache.Deletion{RequestedAt: c.Now()}
			if err := records.Clusters.Put(tx, k.Key(), *k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// lastSnapshotOfGroup checks that a group can be deleted, and writes its final
// snapshot down if one is asked for. It reads the primaries, and counts like any other.
func (c *Control) lastSnapshotOfGroup(tx *store.Tx, g *Group, name string) error {
	ended := g.Status == cache.StatusCreateFailed
	switch {
	case g.Status != cache.StatusAvailable && !ended:
		return cache.Faultf(codeGroupState, "Replication group %s has status %s which is not valid for deletion.", g.ID, g.Status)
	case name == "":
		return nil
	case ended:
		return cache.Faultf(codeGroupState, "Replication group %s has status %s: it has no data for a final snapshot.", g.ID, g.Status)
	}
	if err := checkSnapshots(&g.Settings); err != nil {
		return err
	}
	for i := range g.Members {
		if k := &g.Members[i]; g.Leads(k.ID) {
			if err := c.countSnapshot(k); err != nil {
				return err
			}
		}
	}
	s := cache.SnapshotOfGroup(&g.ReplicationGroup)
	return c.putSnapshot(tx, &s, name, nil)
}
