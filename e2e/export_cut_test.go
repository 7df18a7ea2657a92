package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A power cut in the middle of an upload leaves no upload behind that a bucket would
// keep for ever, and touches nobody else's.
func TestAnUploadThatAPowerCutEndsIsSweptAway(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.revive = true
	g := s.createGroup(east, groupRequest("orders", "valkey", "8.1", 1))
	out, err := exec.Command(program, "generate", "redis://"+primary(g), "--keys", "200000").CombinedOutput()
	if err != nil {
		t.Fatalf("generate: %v\n%s", err, out)
	}
	s.takeSnapshot(east, "orders", "backup")
	s.createBucket(east, "exports")
	theirs, err := s.s3(east).CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("exports"), Key: aws.String("cut-9-0001.rdb")})
	if err != nil {
		t.Fatal(err)
	}
	cut := ""
	for n := 0; cut == "" && n < 20; n++ {
		name := fmt.Sprintf("cut-%d", n)
		if _, err := s.elasticache(east).CopySnapshot(t.Context(), &elasticache.CopySnapshotInput{
			SourceSnapshotName: aws.String("backup"), TargetSnapshotName: &name, TargetBucket: aws.String("exports"),
		}); err != nil {
			t.Fatal(err)
		}
		if s.killInUpload(name) {
			cut = name
		}
		s.reviveIfDead()
		s.awaitSnapshot(east, "backup", "available")
	}
	if cut == "" {
		t.Fatal("no export was caught in the middle of its upload")
	}
	left, err := s.s3(east).ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("exports")})
	if err != nil {
		t.Fatal(err)
	}
	if len(left.Uploads) != 1 || aws.ToString(left.Uploads[0].UploadId) != aws.ToString(theirs.UploadId) {
		t.Errorf("the uploads that are left are %+v; one is somebody else's", left.Uploads)
	}
	notes, err := filepath.Glob(filepath.Join(s.dir, "snapshots", east, "backup", "upload-*"))
	if err != nil || len(notes) > 0 {
		t.Errorf("the notes %v are left, %v", notes, err)
	}
	man, err := manifest(filepath.Join(s.dir, "snapshots", east, "backup"))
	if sum := s.sum(east, "exports", cut+"-0001.rdb"); err != nil || sum != man.SHA256 {
		t.Errorf("the exported file has the sum %s and should have %s, %v", sum, man.SHA256, err)
	}
}

// killInUpload kills the service as soon as a part of an upload has arrived, and tells
// whether there was one before the export ended.
func (s *service) killInUpload(name string) bool {
	s.t.Helper()
	whole := filepath.Join(s.dir, "s3", east, "exports", name+"-0001.rdb")
	parts := filepath.Join(s.dir, "s3", east, "exports", ".sgwtmp", "multipart", "*", "*", "[0-9]*")
	note := filepath.Join(s.dir, "snapshots", east, "backup", "upload-*")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		found, err := filepath.Glob(parts)
		if err != nil {
			s.t.Fatal(err)
		}
		noted, err := filepath.Glob(note)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(found) > 0 && len(noted) > 0 {
			s.kill()
			noted, err = filepath.Glob(note)
			return err == nil && len(noted) > 0 // else it had just ended
		}
		if _, err := os.Stat(whole); err == nil {
			return false
		}
	}
	return false
}
