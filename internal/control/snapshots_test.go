package control_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

func settle(t *testing.T, w *controltest.World) {
	t.Helper()
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestTwentySnapshotsANode takes as many as may be taken of one node within any 24 hours.
func TestTwentySnapshotsANode(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	if _, err := w.Control.CreateReplicationGroup(ctx, region, group("g", 2)); err != nil {
		t.Fatal(err)
	}
	settle(t, w)
	taken := 0
	take := func(in control.NewSnapshot) error {
		taken++
		in.Name = fmt.Sprint("s", taken)
		_, err := w.Control.CreateSnapshot(ctx, region, in)
		settle(t, w)
		return err
	}
	primary, replica := control.NewSnapshot{ClusterID: "g-001"}, control.NewSnapshot{ClusterID: "g-002"}
	whole := control.NewSnapshot{GroupID: "g"} // its replica is read
	over := func(what string, err error) {
		t.Helper()
		if !cache.IsFault(err, "SnapshotQuotaExceededFault") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range 20 {
		if err := take(primary); err != nil {
			t.Fatalf("number %d: %v", i+1, err)
		}
		w.Pass(time.Hour)
	}
	over("the 21st of the primary", take(primary))
	_, err := w.Control.DeleteReplicationGroup(ctx, region, "g", "last")
	over("a final one, of the primary", err)
	if err := take(whole); err != nil {
		t.Errorf("of the group, whose replica is read: %v", err)
	}
	for i := range 19 {
		if err := take(replica); err != nil {
			t.Fatalf("number %d of the replica: %v", i+2, err)
		}
	}
	over("of the group, whose replica has had 20", take(whole))
	if _, err := w.Control.CopySnapshot(ctx, region, control.SnapshotCopy{Source: "s1", Target: "copy"}); err != nil {
		t.Errorf("a copy: %v", err)
	}
	settle(t, w)
	if _, err := w.Control.DeleteSnapshot(ctx, region, "s1"); err != nil {
		t.Fatal(err)
	}
	settle(t, w)
	over("after one was deleted", take(primary))
	w.Pass(4*time.Hour - time.Second)
	over("a second before the first is a day old", take(primary))
	w.Pass(time.Second)
	if err := take(primary); err != nil {
		t.Errorf("when the first is a day old: %v", err)
	}
	over("one more, while the second is not", take(primary))
	if _, err := w.Control.DeleteReplicationGroup(ctx, region, "g", ""); err != nil {
		t.Errorf("without a final one: %v", err)
	}
}

// TestNoSnapshots of what ElastiCache takes none of.
func TestNoSnapshots(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	_, err := w.Control.CreateCacheCluster(ctx, region, control.NewCluster{
		ID: "tiny", Asked: control.Asked{Engine: "redis", EngineVersion: "5.0.6", NodeType: "cache.t1.micro"},
	})
	if err != nil {
		t.Fatal(err)
	}
	settle(t, w)
	refused := func(what string, err error) {
		t.Helper()
		if !cache.IsFault(err, "SnapshotFeatureNotSupportedFault") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = w.Control.CreateSnapshot(ctx, region, control.NewSnapshot{Name: "s", ClusterID: "tiny"})
	refused("cache.t1.micro", err)
	_, err = w.Control.DeleteCacheCluster(ctx, region, "tiny", "last")
	refused("the final one of cache.t1.micro", err)
	putCluster(t, w, func(k *cache.CacheCluster) { k.Engine, k.NodeType = cache.Memcached, "cache.t3.micro" })
	_, err = w.Control.CreateSnapshot(ctx, region, control.NewSnapshot{Name: "s", ClusterID: "tiny"})
	refused("memcached", err)
	_, err = w.Control.DeleteCacheCluster(ctx, region, "tiny", "last")
	refused("the final one of memcached", err)
	if a := readAll(t, w.DB); len(a.snapshots) != 0 || a.clusters[0].Status != cache.StatusAvailable {
		t.Errorf("left: %+v", a)
	}
}

func putCluster(t *testing.T, w *controltest.World, change func(*cache.CacheCluster)) {
	t.Helper()
	err := w.DB.Update(context.Background(), func(tx *store.Tx) error {
		k, _, err := records.Clusters.Get(tx, cache.Key(region, "tiny"))
		if err != nil {
			return err
		}
		change(&k)
		return records.Clusters.Put(tx, k.Key(), k)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRetentionOfWhatIsThere changes for how long automatic snapshots are kept.
func TestRetentionOfWhatIsThere(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	in := group("g", 2)
	in.SnapshotRetention = new(7)
	if _, err := w.Control.CreateReplicationGroup(ctx, region, in); err != nil {
		t.Fatal(err)
	}
	settle(t, w)
	err := w.DB.Update(ctx, func(tx *store.Tx) error {
		for _, s := range []cache.Snapshot{
			{Name: "automatic.g-002-2026-11-20-03-00", GroupID: "g", Source: cache.SourceAutomated},
			{Name: "automatic.h-001-2026-11-20-03-00", GroupID: "h", Source: cache.SourceAutomated},
			{Name: "by-hand", GroupID: "g", Source: cache.SourceManual},
		} {
			s.Region, s.Status, s.SnapshotRetention = region, cache.StatusAvailable, 7
			if err := records.Snapshots.Put(tx, s.Key(), s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ asked, own, since int }{{2, 2, 0}, {0, 2, 0}, {9, 9, 1}} {
		w.Pass(time.Hour)
		change := control.GroupChange{Change: control.Change{SnapshotRetention: &c.asked}}
		if c.asked > 0 {
			change.SnapshottingCluster = "g-002"
		}
		g, err := w.Control.ModifyReplicationGroup(ctx, region, "g", change)
		if err != nil {
			t.Fatal(err)
		}
		all := readAll(t, w.DB).snapshots
		got := []int{all[0].SnapshotRetention, all[1].SnapshotRetention, all[2].SnapshotRetention}
		if got[0] != c.own || got[1] != 7 || got[2] != 7 {
			t.Errorf("with %d days they are kept for %v", c.asked, got)
		}
		if turnedOn := g.Automatic.Since.Equal(w.Now()); turnedOn != (c.since == 1) {
			t.Errorf("with %d days backups count from %v", c.asked, g.Automatic.Since)
		}
		if g.Members[1].SnapshotRetention != c.asked {
			t.Errorf("a member has %d days", g.Members[1].SnapshotRetention)
		}
	}
	g, err := w.Control.ModifyReplicationGroup(ctx, region, "g", control.GroupChange{Change: control.Change{SnapshotWindow: "21:00-22:00", MaintenanceWindow: "sun:01:00-sun:02:00"}})
	if err != nil || g.Automatic.Since.IsZero() {
		t.Errorf("a window that is moved: %v, %v", g, err)
	}
}

// TestSnapshotsOfClusterMode are taken of the whole group, and count against the
// primary of every shard.
func TestSnapshotsOfClusterMode(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	if _, err := w.Control.CreateReplicationGroup(ctx, region, group("g", 4)); err != nil {
		t.Fatal(err)
	}
	settle(t, w)
	err := w.DB.Update(ctx, func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, cache.Key(region, "g"))
		if err != nil {
			return err
		}
		g.ClusterEnabled, g.Primary = true, ""
		for i, slots := range cache.EvenSlots(2) {
			n := cache.NodeGroup{ID: cache.NodeGroupName(i + 1), Slots: slots, Members: g.Members[2*i : 2*i+2], Primary: g.Members[2*i]}
			g.NodeGroups = append(g.NodeGroups, n)
			for _, id := range n.Members {
				k, _, err := records.Clusters.Get(tx, cache.Key(region, id))
				if err != nil {
					return err
				}
				k.NodeGroupID = n.ID
				if err := records.Clusters.Put(tx, k.Key(), k); err != nil {
					return err
				}
			}
		}
		return records.Groups.Put(tx, g.Key(), g)
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Control.CreateSnapshot(ctx, region, control.NewSnapshot{Name: "s", ClusterID: "g-003"})
	if !cache.IsFault(err, "InvalidParameterCombination") {
		t.Errorf("of one node: %v", err)
	}
	_, err = w.Control.ModifyReplicationGroup(ctx, region, "g", control.GroupChange{SnapshottingCluster: "g-003"})
	if !cache.IsFault(err, "InvalidParameterCombination") || err.Error() != "InvalidParameterCombination: Cannot set snapshotting cluster for cluster mode enabled replication group" {
		t.Errorf("a source for the daily backup: %v", err)
	}
	if _, err = w.Control.ModifyReplicationGroup(ctx, region, "g", control.GroupChange{Change: control.Change{SnapshotRetention: new(3)}}); err != nil {
		t.Errorf("daily backups: %v", err)
	}
	s, err := w.Control.CreateSnapshot(ctx, region, control.NewSnapshot{Name: "s", GroupID: "g"})
	if err != nil || len(s.NodeGroups) != 2 {
		t.Fatalf("of the group: %+v, %v", s, err)
	}
	for _, k := range readAll(t, w.DB).clusters {
		leads := k.ID == "g-001" || k.ID == "g-003"
		if k.Status != cache.StatusSnapshotting || (len(k.ManualBackups) == 1) != leads {
			t.Errorf("%s has status %s and %d snapshots", k.ID, k.Status, len(k.ManualBackups))
		}
	}
}
