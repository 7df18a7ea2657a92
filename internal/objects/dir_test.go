package objects_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/objects"
)

func newDir(t *testing.T) (objects.Store, string) {
	t.Helper()
	root := t.TempDir()
	s, err := objects.Dir(root)
	if err != nil {
		t.Fatal(err)
	}
	return s, root
}

func TestDirKeys(t *testing.T) {
	s, root := newDir(t)
	ctx := limited(t)
	for _, key := range []string{"/abs", "a//b", "../up", "a/../../up", "a/.", "trailing/", ".partial/x", "nul\x00", strings.Repeat("s", 256)} {
		_, cerr := s.Create(ctx, key, objects.PutOptions{})
		_, _, oerr := s.Open(ctx, key, 0)
		_, serr := s.Stat(ctx, key)
		for _, err := range []error{cerr, oerr, serr, s.Delete(ctx, key)} {
			if !errors.Is(err, objects.ErrBadKey) {
				t.Errorf("key %q: %v", key, err)
			}
		}
	}
	if _, err := objects.Put(ctx, s, "a", strings.NewReader("1"), objects.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, absent := range []bool{true, false} {
		if _, err := objects.Put(ctx, s, "a/b", strings.NewReader("2"), objects.PutOptions{IfAbsent: absent}); !errors.Is(err, objects.ErrBadKey) {
			t.Errorf("an object below an object: %v", err)
		}
	}
	if st, err := os.Stat(filepath.Join(root, "a")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode of an object: %v %v", st.Mode(), err)
	}
}

// What a killed writer left is swept, what a living one holds is not.
func TestDirSweep(t *testing.T) {
	first, root := newDir(t)
	ctx := limited(t)
	w, err := first.Create(ctx, "k", objects.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("living")); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(root, ".partial", "object-dead")
	if err := os.WriteFile(dead, []byte("dead"), 0o600); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	entries, err := os.ReadDir(filepath.Join(root, ".partial"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Chtimes(filepath.Join(root, ".partial", e.Name()), past, past); err != nil {
			t.Fatal(err)
		}
	}
	second, err := objects.Dir(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := objects.Put(ctx, second, "other", strings.NewReader("x"), objects.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("a dead writer's file is there: %v", err)
	}
	if _, err := w.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if got := read(t, first, "k", 0); string(got) != "living" {
		t.Errorf("got %q", got)
	}
}

// A file cut short under a reader is an error, not an early end.
func TestDirCutShort(t *testing.T) {
	s, root := newDir(t)
	ctx := limited(t)
	if _, err := objects.Put(ctx, s, "k", bytes.NewReader(random(1<<20)), objects.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Open(ctx, "k", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(root, "k"), 1000); err != nil {
		t.Fatal(err)
	}
	n, err := new(bytes.Buffer).ReadFrom(r)
	if err == nil || r.Close() != nil {
		t.Errorf("%d bytes of a file that was cut short, and no error", n)
	}
}

func TestARN(t *testing.T) {
	b, k, err := objects.ParseARN("arn:aws:s3:::bucket/folder/file.rdb")
	if err != nil || b != "bucket" || k != "folder/file.rdb" || objects.ARN(b, k) != "arn:aws:s3:::bucket/folder/file.rdb" {
		t.Errorf("%q %q %v", b, k, err)
	}
	for _, bad := range []string{"", "arn:aws:s3:::", "arn:aws:s3:::bucket", "arn:aws:s3:::bucket/", "arn:aws:s3:::/k", "s3://b/k", "arn:aws:elasticache:us-east-1:1:snapshot:x"} {
		if _, _, err := objects.ParseARN(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
