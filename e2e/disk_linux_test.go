package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
)

// smallDisk puts a file system of so many mebibytes in the place of a directory.
func smallDisk(t *testing.T, dir string, mebibytes int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mebibytes)); err != nil {
		t.Skipf("LOUD SKIP: no small file system can be mounted, so a full disk is not tried: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

// TestAFullDiskFailsASnapshot, says so, and takes nothing with it: not the group,
// not the snapshot that was there, and no room.
func TestAFullDiskFailsASnapshot(t *testing.T) {
	t.Parallel()
	s := newService(t)
	dir := filepath.Join(s.dir, "snapshots")
	smallDisk(t, dir, 12)
	// Before the file system goes whoever writes to it has to.
	t.Cleanup(func() { s.kill() })
	s.start()
	g := s.createGroup(east, groupRequest("large", "valkey", "8.1", 1))
	c := redis(t, primary(g))
	for i := range 10 {
		ask(t, c, "SET", fmt.Sprint("key", i), strings.Repeat(fmt.Sprint(i), 700_000))
	}
	s.takeSnapshot(east, "large", "one")
	end := s.observe(east)
	_, err := s.elasticache(east).CreateSnapshot(t.Context(), &elasticache.CreateSnapshotInput{
		ReplicationGroupId: aws.String("large"), SnapshotName: aws.String("two"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.awaitSnapshot(east, "two", "failed")
	s.awaitGroup(east, "large", "available")
	s.wantMessage(east, "Snapshot failed for snapshot with ID 'two'")
	s.wantMessage(east, "no space left on device")
	for _, name := range []string{filepath.Join(east, "two"), ".partial/*"} {
		if left, err := filepath.Glob(filepath.Join(dir, name)); err != nil || len(left) > 0 {
			t.Errorf("left: %v %v", left, err)
		}
	}
	// A deletion does not go on without its final snapshot.
	_, err = s.elasticache(east).DeleteReplicationGroup(t.Context(), &elasticache.DeleteReplicationGroupInput{
		ReplicationGroupId: aws.String("large"), FinalSnapshotIdentifier: aws.String("last"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.awaitSnapshot(east, "last", "failed")
	s.awaitGroup(east, "large", "available")
	if n := ask(t, redis(t, primary(g)), "DBSIZE"); n != "10" {
		t.Errorf("the group has %s keys left", n)
	}
	// With room again it does.
	s.deleteSnapshot(east, "one")
	s.deleteSnapshot(east, "two")
	s.deleteSnapshot(east, "last")
	s.deleteGroup(east, "large", "last")
	man, err := manifest(filepath.Join(dir, east, "last"))
	if err != nil || man.Keys != 10 {
		t.Errorf("the final snapshot has %d keys: %v", man.Keys, err)
	}
	end()
	s.onlyWhole()
}

// TestAnObjectStoreThatDies is exported to all the same: it is killed when an export
// has been asked for, and again when it is back and the export still goes on.
func TestAnObjectStoreThatDies(t *testing.T) {
	t.Parallel()
	s := startService(t)
	backedUp(s)
	s.createBucket(east, "exports")
	_, err := s.elasticache(east).CopySnapshot(t.Context(), &elasticache.CopySnapshotInput{
		SourceSnapshotName: aws.String("backup"), TargetSnapshotName: aws.String("taken"), TargetBucket: aws.String("exports"),
	})
	if err != nil {
		t.Fatal(err)
	}
	kills := 0
	eventually(t, "it is killed, or the export is over", func(context.Context) (bool, error) {
		if pid := s.objectStore(); pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			kills++
		}
		said := strings.Join(s.messages(east), " ")
		return kills >= 3 || kills > 0 && strings.Contains(said, "exported to bucket"), nil
	})
	s.awaitSnapshot(east, "backup", "available")
	s.wantMessage(east, "exported to bucket exports as taken")
	s.wantExported("taken")
	s.onlyWhole()
}

// objectStore is the process that keeps the buckets, 0 if there is none.
func (s *service) objectStore() int {
	s.t.Helper()
	cmd, _ := s.process()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, dir := range all {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &pid); err != nil {
			continue
		}
		if parent(pid) == cmd.Process.Pid && strings.Contains(commandLine(pid), "internal s3") {
			return pid
		}
	}
	return 0
}
