package front_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// aws runs the AWS CLI against the service and returns what it prints.
type awsCLI struct {
	path, home string
	s          *service
}

func newCLI(t *testing.T, s *service) *awsCLI {
	t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("LOUD SKIP: the AWS CLI is not installed, so nothing here is tried with it")
	}
	return &awsCLI{path: path, home: t.TempDir(), s: s}
}

func (c *awsCLI) try(t *testing.T, region string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(limited(t), c.path, args...)
	cmd.Dir = c.home
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") }),
		"AWS_ENDPOINT_URL="+c.s.url, "AWS_ACCESS_KEY_ID="+keyID, "AWS_SECRET_ACCESS_KEY="+secret,
		"AWS_REGION="+region, "AWS_DEFAULT_REGION="+region, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
	)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *awsCLI) run(t *testing.T, region string, args ...string) string {
	t.Helper()
	out, err := c.try(t, region, args...)
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *awsCLI) file(t *testing.T, name string, body []byte) {
	t.Helper()
	path := filepath.Join(c.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	// Buckets tell times in whole seconds: sync uploads again what was written in
	// the second of its upload.
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

func (c *awsCLI) same(t *testing.T, name string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(c.home, name))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %v, %d bytes, want %d equal ones", name, err, len(got), len(want))
	}
}

func TestCLI(t *testing.T) {
	s := newService(t)
	c := newCLI(t, s)
	small, large := random(1000), random(20<<20) // the CLI goes multipart above 8 MiB
	c.file(t, "small", small)
	c.file(t, "large", large)
	c.run(t, near, "s3", "mb", "s3://near")
	c.run(t, far, "s3", "mb", "s3://far-away")
	c.run(t, near, "s3", "cp", "small", "s3://near/dir/small")
	c.run(t, near, "s3", "cp", "large", "s3://near/large")
	if out := c.run(t, near, "s3", "ls"); !strings.Contains(out, "near") || !strings.Contains(out, "far-away") {
		t.Errorf("ls:\n%s", out)
	}
	if out := c.run(t, near, "s3", "ls", "--recursive", "s3://near"); !strings.Contains(out, "dir/small") || !strings.Contains(out, "20971520 large") {
		t.Errorf("ls --recursive:\n%s", out)
	}
	c.run(t, near, "s3", "cp", "s3://near/large", "back")
	c.same(t, "back", large)

	// Between regions: a whole object, and one that the CLI copies in parts.
	c.run(t, far, "s3", "cp", "s3://near/dir/small", "s3://far-away/small", "--source-region", near)
	c.run(t, far, "s3", "cp", "s3://near/large", "s3://far-away/large", "--source-region", near)
	c.run(t, far, "s3api", "copy-object", "--bucket", "far-away", "--key", "whole", "--copy-source", "near/large")
	for key, want := range map[string][]byte{"small": small, "large": large, "whole": large} {
		if got := get(t, s.client(t, far), "far-away", key); !bytes.Equal(got, want) {
			t.Errorf("%s differs after its copy", key)
		}
	}

	// The CLI follows the redirect to the bucket's own region.
	c.run(t, near, "s3", "cp", "s3://far-away/small", "followed")
	c.same(t, "followed", small)
	c.run(t, near, "s3", "cp", "small", "s3://far-away/put-from-the-wrong-region")
	if out := c.run(t, near, "s3api", "head-object", "--bucket", "far-away", "--key", "small"); !strings.Contains(out, "1000") {
		t.Errorf("head-object:\n%s", out)
	}
	if out := c.run(t, near, "s3api", "get-bucket-location", "--bucket", "far-away"); !strings.Contains(out, far) {
		t.Errorf("get-bucket-location:\n%s", out)
	}
	if out := c.run(t, near, "s3api", "get-bucket-location", "--bucket", "near"); !strings.Contains(out, "null") {
		t.Errorf("get-bucket-location:\n%s", out)
	}
	if out, err := c.try(t, far, "s3", "mb", "s3://near"); err == nil || !strings.Contains(out, "BucketAlreadyOwnedByYou") {
		t.Errorf("mb of a taken name: %v\n%s", err, out)
	}
}

func TestCLISyncPresignRemove(t *testing.T) {
	s := newService(t)
	c := newCLI(t, s)
	a, b := random(10_000), random(9<<20)
	c.file(t, "tree/a", a)
	c.file(t, "tree/sub/b", b)
	c.run(t, near, "s3", "mb", "s3://synced")
	if out := c.run(t, near, "s3", "sync", "tree", "s3://synced/tree"); strings.Count(out, "upload:") != 2 {
		t.Errorf("sync:\n%s", out)
	}
	if out := c.run(t, near, "s3", "sync", "tree", "s3://synced/tree"); strings.Contains(out, "upload:") {
		t.Errorf("a second sync uploads again:\n%s", out)
	}
	c.run(t, near, "s3", "sync", "s3://synced/tree", "out")
	c.same(t, "out/a", a)
	c.same(t, "out/sub/b", b)

	url := strings.TrimSpace(c.run(t, near, "s3", "presign", "s3://synced/tree/a"))
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || !bytes.Equal(got, a) {
		t.Errorf("presigned: %d, %v, %d bytes", resp.StatusCode, err, len(got))
	}
	for what, bad := range map[string]string{
		"key": strings.Replace(url, "/tree/a", "/tree/sub/b", 1), "expiry": anotherExpiry(url),
		"signature": strings.Replace(url, "Signature=", "Signature=AAAA", 1),
	} {
		resp, err := http.Get(bad)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("presigned URL with another %s: %d %v\n%s", what, resp.StatusCode, err, bad)
		}
	}
	// Version 1 of the CLI signs when it ends, version 2 for how long, which cannot be negative.
	expired := strings.TrimSpace(c.run(t, near, "s3", "presign", "s3://synced/tree/a", "--expires-in", "-5"))
	if resp, err := http.Get(expired); err != nil || resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadRequest || resp.Body.Close() != nil {
		t.Errorf("expired URL: %v %v", resp, err)
	}
	if out, err := c.try(t, near, "s3", "rb", "s3://synced"); err == nil {
		t.Errorf("rb of a full bucket:\n%s", out)
	}
	c.run(t, near, "s3", "rm", "s3://synced/tree/a")
	c.run(t, near, "s3", "rb", "--force", "s3://synced")
	if out := c.run(t, near, "s3", "ls"); strings.Contains(out, "synced") {
		t.Errorf("ls after rb:\n%s", out)
	}
}

// anotherExpiry changes the first digit of a presigned URL's Expires or X-Amz-Expires.
func anotherExpiry(url string) string {
	before, after, found := strings.Cut(url, "Expires=")
	if !found || after == "" {
		return url
	}
	digit := "2"
	if after[0] == '2' {
		digit = "1"
	}
	return before + "Expires=" + digit + after[1:]
}
