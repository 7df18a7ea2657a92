package e2e

import (
	"context"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// started is the end of the name of an automatic snapshot, which tells when it was begun.
var started = regexp.MustCompile(`-\d{4}-\d{2}-\d{2}-\d{2}-\d{2}|20\d{2}-\d{2}-\d{2}|\d{2}:\d{2}-\d{2}:\d{2}`)

// withData makes a group with data and without backups.
func withData(s *service) {
	s.t.Helper()
	g := s.createGroup(east, groupRequest("daily", "valkey", "8.1", 1))
	fill(s.t, primary(g), fewKeys)
}

// overdue changes the records of a service that does not run: the group has had
// automatic backups for days, its window is over, and its node is not known to be ready.
func overdue(s *service) {
	s.t.Helper()
	s.write(func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, cache.Key(east, "daily"))
		if err != nil {
			return err
		}
		from := time.Now().UTC().Add(-5 * time.Hour)
		g.CreatedAt = g.CreatedAt.AddDate(0, 0, -3)
		g.SnapshotRetention, g.SnapshottingCluster = 1, "daily-001"
		g.SnapshotWindow = from.Format("15:04") + "-" + from.Add(time.Hour).Format("15:04")
		if err := records.Groups.Put(tx, g.Key(), g); err != nil {
			return err
		}
		k, _, err := records.Clusters.Get(tx, cache.Key(east, "daily-001"))
		if err != nil {
			return err
		}
		k.Node.Ready = false
		return records.Clusters.Put(tx, k.Key(), k)
	})
}

// write opens the records of an installation whose service does not run.
func (s *service) write(fn func(tx *store.Tx) error) {
	s.t.Helper()
	db, err := store.Open(s.t.Context(), filepath.Join(s.dir, "holdfast.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(s.t.Context(), fn); err != nil {
		s.t.Fatal(err)
	}
}

// automaticBackup finds the backup that was overdue, once, with all data, and
// nothing of it after its group was deleted.
func automaticBackup(s *service) {
	s.t.Helper()
	got := s.awaitAutomatic(east, "daily-001")
	name := aws.ToString(got.SnapshotName)
	if man, err := manifest(filepath.Join(s.dir, "snapshots", east, name)); err != nil || man.Fingerprint != reference(s.t, fewKeys) {
		s.t.Fatalf("the automatic snapshot %s holds %s: %v", name, man.Fingerprint, err)
	}
	s.wantMessage(east, "passed without an automatic backup: no node of it was ready")
	s.awaitGroup(east, "daily", "available")
	if n := len(s.automatic(east)); n != 1 {
		s.t.Fatalf("%d automatic snapshots of one day", n)
	}
	s.deleteGroup(east, "daily", "")
	eventually(s.t, "its automatic snapshot is gone", func(ctx context.Context) (bool, error) {
		s.reviveIfDead()
		return len(s.automatic(east)) == 0, nil
	})
}

// automatic lists the automatic snapshots of a region.
func (s *service) automatic(region string) []types.Snapshot {
	s.t.Helper()
	out, err := s.elasticache(region).DescribeSnapshots(s.t.Context(), &elasticache.DescribeSnapshotsInput{SnapshotSource: aws.String("system")})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.Snapshots
}

// awaitAutomatic waits until the one automatic snapshot of a member is available.
func (s *service) awaitAutomatic(region, member string) (got types.Snapshot) {
	s.t.Helper()
	eventually(s.t, "an automatic snapshot of "+member, func(context.Context) (bool, error) {
		s.reviveIfDead()
		all := s.automatic(region)
		if len(all) != 1 {
			return false, nil
		}
		got = all[0]
		return aws.ToString(got.SnapshotStatus) == "available", nil
	})
	if aws.ToString(got.CacheClusterId) != member || aws.ToString(got.SnapshotSource) != "automated" || aws.ToInt32(got.SnapshotRetentionLimit) != 1 {
		s.t.Fatalf("it is %s of %s", aws.ToString(got.SnapshotSource), aws.ToString(got.CacheClusterId))
	}
	return got
}

// TestAutomaticBackupIsTurnedOn goes the way of a user: backups are turned on, for a
// window that is open, and one is taken; it can be restored, and stays while it is.
func TestAutomaticBackupIsTurnedOn(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start()
	g := s.createGroup(east, groupRequest("daily", "valkey", "8.1", 1))
	fill(t, primary(g), fewKeys)
	// Its minute lies within the first three quarters of the window.
	from := time.Now().UTC().Add(-12 * time.Hour)
	window := from.Format("15:04") + "-" + from.Add(14*time.Hour).Format("15:04")
	maintenance := from.Add(17 * time.Hour)
	_, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: aws.String("daily"), SnapshotRetentionLimit: aws.Int32(1), SnapshottingClusterId: aws.String("daily-001"),
		SnapshotWindow: &window, PreferredMaintenanceWindow: aws.String("sun:" + maintenance.Format("15:04") + "-" + dayAfter(maintenance, time.Hour)),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := s.awaitAutomatic(east, "daily-001")
	s.awaitGroup(east, "daily", "available")
	in := groupRequest("again", "valkey", "8.1", 1)
	in.SnapshotName = got.SnapshotName
	wantData(t, primary(s.createGroup(east, in)), fewKeys)
	if n := len(s.automatic(east)); n != 1 {
		t.Errorf("%d automatic snapshots of one day", n)
	}
	s.deleteGroup(east, "daily", "")
	eventually(t, "its automatic snapshot is gone", func(context.Context) (bool, error) { return len(s.automatic(east)) == 0, nil })
	s.deleteGroup(east, "again", "")
	s.nothingLeft()
}

// dayAfter writes the end of a window that begins on a Sunday.
func dayAfter(from time.Time, d time.Duration) string {
	end := from.Add(d)
	if end.Day() != from.Day() {
		return "mon:" + end.Format("15:04")
	}
	return "sun:" + end.Format("15:04")
}
