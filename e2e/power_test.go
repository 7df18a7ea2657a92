package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// storing are operations that write files, each with the files that it writes.
var storing = []struct {
	name  string
	files []string
	run   func(s *service)
}{
	{"snapshot", []string{"second/0001.rdb", "second/0001.json"}, func(s *service) {
		s.takeSnapshot(east, "origin", "second")
		s.wantStored("second")
	}},
	{"copy", []string{"second/0001.rdb", "second/0001.json"}, func(s *service) {
		s.copySnapshot(east, "backup", "second")
		s.wantStored("second")
	}},
	{"export", []string{"taken-0001.rdb"}, func(s *service) {
		s.exportSnapshot(east, "backup", "exports", "taken")
		s.wantExported("taken")
	}},
	{"final snapshot", []string{"last/0001.rdb", "last/0001.json"}, func(s *service) {
		s.deleteGroup(east, "origin", "last")
		s.wantStored("last")
	}},
}

// moments of the writing of a file at which the power is cut.
var moments = []string{"creating", "writing", "committing", "committed"}

// TestThePowerIsCutWhileAFileIsStored kills the service while it writes, and
// expects that nothing half-done is ever shown as available, that whoever comes
// after finishes it, and that nothing is left of the first attempt.
func TestThePowerIsCutWhileAFileIsStored(t *testing.T) {
	for _, op := range storing {
		for _, file := range op.files {
			for _, moment := range moments {
				t.Run(op.name+" "+moment+" "+filepath.Base(file), func(t *testing.T) {
					t.Parallel()
					s := newService(t)
					s.revive = true
					s.start()
					backedUp(s)
					s.createBucket(east, "exports")
					s.stop()
					s.start("HOLDFAST_CRASH_AT=" + moment + " " + file)
					end := s.observe(east)
					op.run(s)
					s.reviveIfDead()
					if s.revived != 1 {
						t.Fatalf("the service died %d times and should have once", s.revived)
					}
					s.onlyWhole()
					end()
					for _, said := range s.messages(east) {
						if strings.Contains(said, "ailed") || strings.Contains(said, "Recovering") {
							t.Errorf("an event tells of harm: %s", said)
						}
					}
				})
			}
		}
	}
}

// wantStored fails the test unless a snapshot holds the made-up data.
func (s *service) wantStored(name string) {
	s.t.Helper()
	man, err := manifest(filepath.Join(s.dir, "snapshots", east, name))
	if err != nil || man.Fingerprint != reference(s.t, fewKeys) {
		s.t.Fatalf("snapshot %s holds %d keys, %s: %v", name, man.Keys, man.Fingerprint, err)
	}
}

// wantExported fails the test unless the bucket holds the file of the snapshot, and
// no part of another.
func (s *service) wantExported(name string) {
	s.t.Helper()
	man, err := manifest(filepath.Join(s.dir, "snapshots", east, "backup"))
	if err != nil {
		s.t.Fatal(err)
	}
	if keys := s.objects(east, "exports"); len(keys) != 1 || keys[0] != name+"-0001.rdb" {
		s.t.Fatalf("the bucket has %v", keys)
	}
	if sum := s.sum(east, "exports", name+"-0001.rdb"); sum != man.SHA256 {
		s.t.Fatalf("the exported file has the sum %s and should have %s", sum, man.SHA256)
	}
	parts, err := s.s3(east).ListMultipartUploads(s.t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("exports")})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, u := range parts.Uploads {
		s.t.Errorf("an upload of %s is left", aws.ToString(u.Key))
	}
}

// onlyWhole fails the test if the store of snapshots holds anything but the files
// of snapshots that are available.
func (s *service) onlyWhole() {
	s.t.Helper()
	out, err := s.elasticache(east).DescribeSnapshots(s.t.Context(), &elasticache.DescribeSnapshotsInput{})
	if err != nil {
		s.t.Fatal(err)
	}
	want := map[string]bool{}
	for _, snap := range out.Snapshots {
		want[aws.ToString(snap.SnapshotName)+"/0001.rdb"] = true
		want[aws.ToString(snap.SnapshotName)+"/0001.json"] = true
	}
	root := filepath.Join(s.dir, "snapshots")
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(filepath.Join(root, east), path)
		if err == nil && !want[filepath.ToSlash(name)] {
			s.t.Errorf("%s is left", name)
		}
		delete(want, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for name := range want {
		s.t.Errorf("%s is missing", name)
	}
}
