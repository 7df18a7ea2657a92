package front_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"holdfast.dev/internal/objects"
)

// An S3 endpoint of the user's own: ours stands in for it.
func TestExternal(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "near-one")
	s.bucket(t, far, "far-one")
	open := func(key string) objects.Buckets {
		b, err := objects.NewExternal(limited(t), objects.ExternalOptions{Endpoint: s.url, PathStyle: true, Region: near},
			config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(keyID, key, "")),
			config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b, ctx := open(secret), limited(t)
	for bucket, want := range map[string]string{"near-one": near, "far-one": far} {
		if got, err := b.Region(ctx, bucket); err != nil || got != want {
			t.Errorf("region of %s: %q %v", bucket, got, err)
		}
	}
	if _, err := b.Region(ctx, "nowhere"); !errors.Is(err, objects.ErrNoSuchBucket) {
		t.Errorf("missing bucket: %v", err)
	}
	if _, err := b.Open(ctx, near, "far-one"); !errors.Is(err, objects.ErrWrongRegion) {
		t.Errorf("wrong region: %v", err)
	}
	if _, err := open("wrong").Open(ctx, near, "near-one"); !errors.Is(err, objects.ErrAccessDenied) {
		t.Errorf("wrong secret: %v", err)
	}
	store, err := b.Open(ctx, far, "far-one")
	if err != nil {
		t.Fatal(err)
	}
	body := random(20 << 20) // several parts, without checksums, as foreign endpoints get them
	if _, err := objects.Put(ctx, store, "a/b", bytes.NewReader(body), objects.PutOptions{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := objects.Put(ctx, store, "a/b", strings.NewReader("x"), objects.PutOptions{IfAbsent: true}); !errors.Is(err, objects.ErrExist) {
		t.Errorf("overwrite: %v", err)
	}
	r, _, err := store.Open(ctx, "a/b", 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, body) {
		t.Errorf("read back: %v, %d bytes", err, len(got))
	}
}
