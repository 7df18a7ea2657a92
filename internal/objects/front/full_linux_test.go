package front_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"holdfast.dev/internal/objects"
)

// smallDisk mounts a file system of 16 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("LOUD SKIP: no small file system can be mounted, so a full disk is not tried: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A full disk is an S3 error that says so and is not tried again, and it takes
// nothing with it.
func TestDiskFull(t *testing.T) {
	s := newServiceAt(t, smallDisk(t))
	s.bucket(t, near, "one")
	c, ctx := s.client(t, near), limited(t)
	put(t, c, "one", "before", random(1<<20))
	_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("one"), Key: aws.String("k"), Body: bytes.NewReader(random(20 << 20))})
	if status(err) != http.StatusInsufficientStorage || code(err) != "InsufficientStorage" {
		t.Errorf("put on a full disk: %v", err)
	}
	store, err := s.pool.Buckets().Open(ctx, near, "one")
	if err != nil {
		t.Fatal(err)
	}
	_, err = objects.Put(ctx, store, "parts", bytes.NewReader(random(40<<20)), objects.PutOptions{})
	if !errors.Is(err, objects.ErrNoSpace) {
		t.Errorf("multipart on a full disk: %v", err)
	}
	for _, key := range []string{"k", "parts"} {
		if _, err := store.Stat(ctx, key); !errors.Is(err, objects.ErrNotExist) {
			t.Errorf("%s after a full disk: %v", key, err)
		}
	}
	// What the failed uploads held is free again.
	if !bytes.Equal(get(t, c, "one", "before"), random(1<<20)) {
		t.Error("an older object is damaged")
	}
	put(t, c, "one", "after", random(8<<20))
}

func TestDirFull(t *testing.T) {
	disk := smallDisk(t)
	s, err := objects.Dir(disk)
	if err != nil {
		t.Fatal(err)
	}
	_, err = objects.Put(limited(t), s, "k", bytes.NewReader(random(20<<20)), objects.PutOptions{})
	if !errors.Is(err, objects.ErrNoSpace) {
		t.Errorf("put on a full disk: %v", err)
	}
	if entries, err := os.ReadDir(disk + "/.partial"); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}
