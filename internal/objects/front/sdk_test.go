package front_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

func constraint(region string) *types.CreateBucketConfiguration {
	return &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func status(err error) int {
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		return resp.HTTPStatusCode()
	}
	return 0
}

func random(n int) []byte {
	src := rand.NewChaCha8([32]byte{1, byte(n)})
	b := make([]byte, n)
	_, _ = src.Read(b)
	return b
}

func md5hex(b []byte) string {
	sum := md5.Sum(b)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func get(t *testing.T, c *s3.Client, bucket, key string) []byte {
	t.Helper()
	out, err := c.GetObject(limited(t), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(out.Body)
	if err := errors.Join(err, out.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, c *s3.Client, bucket, key string, body []byte) *s3.PutObjectOutput {
	t.Helper()
	out, err := c.PutObject(limited(t), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestObjects(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	c, ctx := s.client(t, near), limited(t)
	body := random(3<<20 + 17)
	key := "folder/a file+with ~odd%signs(é).rdb"
	out := put(t, c, "one", key, body)
	if aws.ToString(out.ETag) != md5hex(body) {
		t.Errorf("ETag %s, want %s", *out.ETag, md5hex(body))
	}
	if got := get(t, c, "one", key); !bytes.Equal(got, body) {
		t.Error("the object differs from what was put")
	}
	onDisk, err := os.ReadFile(filepath.Join(s.root, near, "one", key))
	if err != nil || !bytes.Equal(onDisk, body) {
		t.Errorf("the plain file differs: %v", err)
	}
	ranged, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("one"), Key: &key, Range: aws.String("bytes=1000000-1000099")})
	if err != nil {
		t.Fatal(err)
	}
	part, err := io.ReadAll(ranged.Body)
	if err != nil || !bytes.Equal(part, body[1000000:1000100]) {
		t.Errorf("range: %v, %d bytes", err, len(part))
	}
	_ = ranged.Body.Close()
	if want := fmt.Sprintf("bytes 1000000-1000099/%d", len(body)); aws.ToString(ranged.ContentRange) != want {
		t.Errorf("Content-Range %q, want %q", *ranged.ContentRange, want)
	}
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("one"), Key: &key})
	if err != nil || aws.ToInt64(head.ContentLength) != int64(len(body)) {
		t.Errorf("HeadObject: %v", err)
	}
	_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("one"), Key: &key, IfNoneMatch: out.ETag})
	if status(err) != http.StatusNotModified {
		t.Errorf("If-None-Match: %v", err)
	}
	_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("one"), Key: &key, IfMatch: aws.String(`"else"`)})
	if status(err) != http.StatusPreconditionFailed {
		t.Errorf("If-Match: %v", err)
	}
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("one"), Key: &key, Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
	if code(err) != "PreconditionFailed" {
		t.Errorf("conditional put: %v", err)
	}
	tags := []types.Tag{{Key: aws.String("a"), Value: aws.String("b c")}}
	if _, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: aws.String("one"), Key: &key, Tagging: &types.Tagging{TagSet: tags}}); err != nil {
		t.Error(err)
	}
	got, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: aws.String("one"), Key: &key})
	if err != nil || len(got.TagSet) != 1 || *got.TagSet[0].Value != "b c" {
		t.Errorf("tags: %v %v", got, err)
	}
	acl, err := c.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: aws.String("one")})
	if err != nil || aws.ToString(acl.Owner.ID) != account {
		t.Errorf("bucket ACL: %v %v", acl, err)
	}
	if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("one"), Key: aws.String("none")}); code(err) != "NoSuchKey" {
		t.Errorf("missing key: %v", err)
	}
	if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("nowhere"), Key: &key}); code(err) != "NoSuchBucket" {
		t.Errorf("missing bucket: %v", err)
	}
}

func TestListAndDelete(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	c, ctx := s.client(t, near), limited(t)
	keys := []string{"a", "b/1", "b/2", "b/c/3", "d", "e"}
	for _, k := range keys {
		put(t, c, "one", k, []byte(k))
	}
	var all []string
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: aws.String("one"), MaxKeys: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			all = append(all, *o.Key)
		}
	}
	if diff := cmp.Diff(keys, all); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	out, err := c.ListObjects(ctx, &s3.ListObjectsInput{Bucket: aws.String("one"), Delimiter: aws.String("/"), Prefix: aws.String("b/")})
	if err != nil || len(out.Contents) != 2 || len(out.CommonPrefixes) != 1 || *out.CommonPrefixes[0].Prefix != "b/c/" {
		t.Errorf("list with delimiter: %+v %v", out, err)
	}
	var ids []types.ObjectIdentifier
	for _, k := range keys {
		ids = append(ids, types.ObjectIdentifier{Key: aws.String(k)})
	}
	if _, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String("one")}); code(err) != "BucketNotEmpty" {
		t.Errorf("delete of a full bucket: %v", err)
	}
	del, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String("one"), Delete: &types.Delete{Objects: ids}})
	if err != nil || len(del.Deleted) != len(keys) {
		t.Errorf("DeleteObjects: %v %v", del, err)
	}
	if _, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String("one")}); err != nil {
		t.Error(err)
	}
	if _, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("one")}); status(err) != http.StatusNotFound {
		t.Errorf("HEAD of a deleted bucket: %v", err)
	}
}

func TestMultipart(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	c, ctx := s.client(t, near), limited(t)
	body := random(40 << 20)
	up := transfermanager.New(c)
	// A reader without Seek, as a snapshot is.
	_, err := up.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: aws.String("one"), Key: aws.String("big"), Body: io.MultiReader(bytes.NewReader(body))})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get(t, c, "one", "big"), body) {
		t.Error("the multipart object differs")
	}
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("one"), Key: aws.String("big")})
	if err != nil || !strings.HasSuffix(aws.ToString(head.ETag), `-5"`) {
		t.Errorf("ETag of five parts: %q %v", aws.ToString(head.ETag), err)
	}
}

func TestPresignAndTamper(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	ctx := limited(t)
	p := s3.NewPresignClient(s.client(t, near))
	do := func(method, url string, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	in, err := p.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("one"), Key: aws.String("k y")})
	if err != nil {
		t.Fatal(err)
	}
	if st, b := do(http.MethodPut, in.URL, "hello"); st != http.StatusOK {
		t.Fatalf("presigned PUT: %d %s", st, b)
	}
	out, err := p.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("one"), Key: aws.String("k y")})
	if err != nil {
		t.Fatal(err)
	}
	if st, b := do(http.MethodGet, out.URL, ""); st != http.StatusOK || b != "hello" {
		t.Errorf("presigned GET: %d %s", st, b)
	}
	if st, b := do(http.MethodGet, strings.Replace(out.URL, "k%20y", "other", 1), ""); st != http.StatusForbidden || !strings.Contains(b, "SignatureDoesNotMatch") {
		t.Errorf("tampered URL: %d %s", st, b)
	}
	bad := s.client(t, near, func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(keyID, "wrong", "")
	})
	if _, err := bad.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("one")}); code(err) != "SignatureDoesNotMatch" {
		t.Errorf("wrong secret: %v", err)
	}
	// A body that is not the one that was signed.
	tamper := s.client(t, near, func(o *s3.Options) {
		o.HTTPClient = swapBody{o.HTTPClient}
	})
	_, err = tamper.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("one"), Key: aws.String("tampered"), Body: strings.NewReader("hello")})
	if st := status(err); st != http.StatusBadRequest && st != http.StatusForbidden {
		t.Errorf("tampered body: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.root, near, "one", "tampered")); !os.IsNotExist(err) {
		t.Errorf("a tampered body was stored: %v", err)
	}
}

type swapBody struct{ s3.HTTPClient }

func (c swapBody) Do(r *http.Request) (*http.Response, error) {
	r.Body = io.NopCloser(strings.NewReader("jello"))
	return c.HTTPClient.Do(r)
}

func TestBucketRules(t *testing.T) {
	s := newService(t)
	ctx := limited(t)
	create := func(region, name, c string) string {
		in := &s3.CreateBucketInput{Bucket: &name}
		if c != "-" {
			in.CreateBucketConfiguration = constraint(c)
		}
		_, err := s.client(t, region).CreateBucket(ctx, in)
		if err == nil {
			return ""
		}
		return code(err)
	}
	for _, tt := range []struct{ region, name, constraint, want string }{
		{near, "plain", "-", ""},
		{near, "plain", "-", ""}, // again, by its owner, in us-east-1
		{near, "named", near, "InvalidLocationConstraint"},
		{near, "other", far, "IllegalLocationConstraintException"},
		{far, "other", "-", "IllegalLocationConstraintException"},
		{far, "other", "us-west-2", "IllegalLocationConstraintException"},
		{far, "there", far, ""},
		{far, "there", far, "BucketAlreadyOwnedByYou"},
		{near, "there", "-", "BucketAlreadyOwnedByYou"},
		{far, "plain", far, "BucketAlreadyOwnedByYou"},
		{far, "europe", "EU", ""},
		{near, "No_Such_Name", "-", "InvalidBucketName"},
	} {
		if got := create(tt.region, tt.name, tt.constraint); got != tt.want {
			t.Errorf("create %s in %s with %s: %q, want %q", tt.name, tt.region, tt.constraint, got, tt.want)
		}
	}
	for bucket, want := range map[string]string{"plain": "", "there": far, "europe": far} {
		for _, from := range []string{near, far} {
			out, err := s.client(t, from).GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &bucket})
			if err != nil || string(out.LocationConstraint) != want {
				t.Errorf("location of %s from %s: %v %v", bucket, from, out, err)
			}
		}
	}
	out, err := s.client(t, far).ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range out.Buckets {
		got = append(got, *b.Name+"@"+aws.ToString(b.BucketRegion))
		if time.Since(aws.ToTime(b.CreationDate)) > time.Minute {
			t.Errorf("%s was created %v", *b.Name, b.CreationDate)
		}
	}
	if diff := cmp.Diff([]string{"europe@eu-west-1", "plain@us-east-1", "there@eu-west-1"}, got); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
	page, err := s.client(t, near).ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(2)})
	if err != nil || len(page.Buckets) != 2 || page.ContinuationToken == nil {
		t.Errorf("first page: %v %v", page, err)
	}
	head, err := s.client(t, far).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("there")})
	if err != nil || aws.ToString(head.BucketRegion) != far {
		t.Errorf("HeadBucket: %v %v", head, err)
	}
}

func TestWrongRegion(t *testing.T) {
	s := newService(t)
	s.bucket(t, far, "there")
	ctx := limited(t)
	put(t, s.client(t, far), "there", "k", []byte("v"))
	c := s.client(t, near)
	_, gerr := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("there"), Key: aws.String("k")})
	_, herr := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("there"), Key: aws.String("k")})
	_, berr := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("there")})
	_, perr := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("there"), Key: aws.String("p"), Body: bytes.NewReader(random(1 << 20))})
	for what, err := range map[string]error{"GET": gerr, "HEAD": herr, "HEAD bucket": berr, "PUT": perr} {
		var resp *awshttp.ResponseError
		if !errors.As(err, &resp) || resp.HTTPStatusCode() != http.StatusMovedPermanently || resp.Response.Header.Get("x-amz-bucket-region") != far {
			t.Errorf("%s from the wrong region: %v", what, err)
		}
	}
	if code(gerr) != "PermanentRedirect" {
		t.Errorf("code %q", code(gerr))
	}
	// The SDK's own way to find a region, and then the request done right.
	region, err := bucketRegion(ctx, c, "there")
	if err != nil || region != far {
		t.Fatalf("found region %q, %v", region, err)
	}
	if got := get(t, s.client(t, region), "there", "k"); string(got) != "v" {
		t.Errorf("got %q", got)
	}
}

func bucketRegion(ctx context.Context, c *s3.Client, bucket string) (string, error) {
	_, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		return resp.Response.Header.Get("x-amz-bucket-region"), nil
	}
	return "", err
}

func TestHostStyle(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "hosted")
	for _, host := range []string{"s3.localhost", "s3.us-east-1.example.test", "localhost"} {
		c := s.client(t, near, func(o *s3.Options) {
			o.UsePathStyle = false
			o.BaseEndpoint = aws.String("http://" + host)
			o.HTTPClient = toAddress{o.HTTPClient, strings.TrimPrefix(s.url, "http://")}
		})
		body := random(100_000)
		put(t, c, "hosted", "x/y z", body)
		if !bytes.Equal(get(t, c, "hosted", "x/y z"), body) {
			t.Errorf("%s: the object differs", host)
		}
		out, err := c.ListObjectsV2(limited(t), &s3.ListObjectsV2Input{Bucket: aws.String("hosted")})
		if err != nil || !slices.ContainsFunc(out.Contents, func(o types.Object) bool { return *o.Key == "x/y z" }) {
			t.Errorf("%s: list: %v %v", host, out, err)
		}
	}
}

// A refusal that comes before the body has been read reaches the client as what it
// is, however large the body.
func TestEarlyRefusal(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	ctx, body := limited(t), random(24<<20)
	c := s.client(t, near, func(o *s3.Options) { o.RetryMaxAttempts = 1 })
	put(t, c, "one", "taken", []byte("x"))
	for range 5 {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("one"), Key: aws.String("taken"), Body: bytes.NewReader(body), IfNoneMatch: aws.String("*")})
		if code(err) != "PreconditionFailed" {
			t.Errorf("conditional put: %v", err)
		}
		_, err = c.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String("one"), Key: aws.String("k"), UploadId: aws.String("none"), PartNumber: aws.Int32(1), Body: bytes.NewReader(body)})
		if code(err) != "NoSuchUpload" {
			t.Errorf("part of no upload: %v", err)
		}
	}
	if got := get(t, c, "one", "taken"); string(got) != "x" {
		t.Errorf("got %d bytes", len(got))
	}
}

// toAddress sends every request to one address and leaves its Host.
type toAddress struct {
	s3.HTTPClient
	addr string
}

func (c toAddress) Do(r *http.Request) (*http.Response, error) {
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	r.URL.Host = c.addr
	return c.HTTPClient.Do(r)
}
