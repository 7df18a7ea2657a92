package reconcile

import (
	"fmt"
	"slices"
	"testing"

	"holdfast.dev/internal/cache"
)

// The last backup that may be of any use stays, also when it is not complete: one that
// was found damaged may be mended.
func TestTheLastBackupStays(t *testing.T) {
	// By age in days, the oldest first.
	const whole, rotten, failed, creating, byHand = "whole", "rotten", "failed", "creating", "by hand"
	for name, c := range map[string]struct {
		all  []string
		off  bool
		want []int // those that go
	}{
		"all complete":                 {all: []string{whole, whole, whole}, want: []int{0, 1}},
		"the newest is rotten":         {all: []string{whole, whole, rotten}, want: []int{0, 2}},
		"all are rotten":               {all: []string{rotten, rotten, rotten}, want: []int{0, 1}},
		"and the next ones failed":     {all: []string{rotten, rotten, failed, failed}, want: []int{0, 2, 3}},
		"and one is being taken":       {all: []string{rotten, rotten, creating}, want: []int{0}},
		"none has files":               {all: []string{failed, failed}, want: []int{0, 1}},
		"one by hand does not count":   {all: []string{rotten, byHand}, want: nil},
		"a rotten one, and no backups": {all: []string{rotten, rotten}, off: true, want: []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			g := cache.ReplicationGroup{Region: "r", ID: "g", CreatedAt: epoch.Add(-90 * day)}
			g.SnapshotRetention = 1
			if c.off {
				g.SnapshotRetention = 0
			}
			w := newWorld()
			w.putGroup(g.Key(), &g)
			for i, what := range c.all {
				s := cache.Snapshot{
					Region: "r", Name: fmt.Sprint("s", i), GroupID: "g", Source: cache.SourceAutomated, SourceCreatedAt: g.CreatedAt,
					Status: cache.StatusFailed, CreatedAt: epoch.AddDate(0, 0, i-60), Shards: []cache.ShardSnapshot{{}},
				}
				s.SnapshotRetention = 1
				switch what {
				case whole:
					s.Status = cache.StatusAvailable
				case rotten:
					s.Rotten = "a bit"
				case failed:
					s.Shards = nil
				case creating:
					s.Status, s.Shards = cache.StatusCreating, nil
				case byHand:
					s.Status, s.Source = cache.StatusAvailable, cache.SourceManual
				}
				w.putSnapshot(s.Key(), &s)
			}
			var gone []int
			for i, s := range w.snapshots {
				if len(PlanExpiry(s, w.keeping(&s), nil, nil, epoch).Do) > 0 {
					gone = append(gone, i)
				}
			}
			if !slices.Equal(gone, c.want) {
				t.Errorf("there go %v, want %v", gone, c.want)
			}
		})
	}
}
