package control

import (
	"context"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// UpgradeReports are those of a replication group, or of a cache cluster that stands alone,
// oldest first. A member is asked for its group's.
func (c *Control) UpgradeReports(ctx context.Context, region, id string) (out []cache.UpgradeReport, err error) {
	id = strings.ToLower(id)
	err = c.DB.View(ctx, func(tx *store.Tx) error {
		_, group, err := records.Groups.Get(tx, cache.Key(region, id))
		if err != nil {
			return err
		}
		if !group {
			cluster, ok, err := records.Clusters.Get(tx, cache.Key(region, id))
			switch {
			case err != nil:
				return err
			case !ok:
				return cache.Faultf("ReplicationGroupNotFoundFault", "There is no replication group and no cache cluster %s in %s.", id, region)
			case cluster.GroupID != "":
				id, group = cluster.GroupID, true
			}
		}
		out, err = records.Reports.List(tx, records.ReportsOf(region, group, id))
		return err
	})
	return out, err
}
