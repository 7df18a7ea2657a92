package control

import (
	"time"

	"holdfast.dev/internal/cache"
)

// Manual snapshots of one node that may be taken within any day.
const (
	maxSnapshotsADay = 20
	snapshotDay      = 24 * time.Hour
)

// countSnapshot counts a manual snapshot, a final one too, against the node that is
// read. What counts is that it was asked for: deleting it does not make room for
// another. Copies and automatic backups do not count.
func (c *Control) countSnapshot(k *cache.CacheCluster) error {
	now := c.Now()
	k.ManualBackups = keepIf(k.ManualBackups, func(at *time.Time) bool {
		// What a clock wrote that was far ahead of this one must not block for ever.
		return at.After(now.Add(-snapshotDay)) && at.Before(now.Add(snapshotDay))
	})
	if len(k.ManualBackups) >= maxSnapshotsADay {
		if k.NodeGroupID != "" {
			return cache.Faultf(codeSnapshotQuota, "The maximum number of manual snapshots for this node taken within 24 hours has been reached its quota of %d", maxSnapshotsADay)
		}
		return cache.Faultf(codeSnapshotQuota, "The maximum number of manual snapshots for this cluster taken within 24 hours has been reached")
	}
	k.ManualBackups = append(k.ManualBackups, now)
	return nil
}
