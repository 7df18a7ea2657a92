package gateway_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A bucket that a kill left half made is not there, and its name is free.
func TestABucketIsWholeOrNotThere(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"half", "full"} {
		if err := os.MkdirAll(filepath.Join(root, region, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, region, ".unborn-"+name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept := filepath.Join(root, region, "full", "object")
	if err := os.WriteFile(kept, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPool(t, root)
	if _, there, err := p.Locate("half"); err != nil || there {
		t.Errorf("the bucket that was half made is there: %v", err)
	}
	name := "half"
	if _, err := p.Client(region).CreateBucket(limited(t), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	if a := access(t, p, "half"); !a.Read || !a.Write || !a.ReadACP {
		t.Errorf("a new bucket's list is in force: %+v", a)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a bucket with an object in it: %v", err)
	}
	if marks, err := filepath.Glob(filepath.Join(root, region, ".unborn-*")); err != nil || len(marks) > 0 {
		t.Errorf("left: %v %v", marks, err)
	}
}
