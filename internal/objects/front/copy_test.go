package front_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

// copies sets up one object with everything an object can carry, and runs f once for a
// destination in its own region and once for one in another.
func copies(t *testing.T, f func(t *testing.T, s *service, dst *s3.Client, body []byte)) {
	for name, region := range map[string]string{"same region": near, "other region": far} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			s.bucket(t, near, "from")
			s.bucket(t, region, "dest")
			body := random(12<<20 + 5)
			_, err := s.client(t, near).PutObject(limited(t), &s3.PutObjectInput{
				Bucket: aws.String("from"), Key: aws.String("dir/a b+c.rdb"), Body: bytes.NewReader(body),
				ContentType: aws.String("application/x-rdb"), CacheControl: aws.String("no-store"),
				Metadata: map[string]string{"origin": "orders"}, Tagging: aws.String("team=a%20b"),
			})
			if err != nil {
				t.Fatal(err)
			}
			f(t, s, s.client(t, region), body)
		})
	}
}

const copyFrom = "from/dir/a%20b%2Bc.rdb"

func TestCopyObject(t *testing.T) {
	copies(t, func(t *testing.T, s *service, dst *s3.Client, body []byte) {
		ctx := limited(t)
		out, err := dst.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("dest"), Key: aws.String("copy"), CopySource: aws.String(copyFrom)})
		if err != nil {
			t.Fatal(err)
		}
		r := out.CopyObjectResult
		if aws.ToString(r.ETag) != md5hex(body) || time.Since(aws.ToTime(r.LastModified)) > time.Minute {
			t.Errorf("result %+v, want ETag %s", r, md5hex(body))
		}
		if !bytes.Equal(get(t, dst, "dest", "copy"), body) {
			t.Error("the copy differs")
		}
		src, err := s.client(t, near).HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("from"), Key: aws.String("dir/a b+c.rdb"), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		got, err := dst.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("dest"), Key: aws.String("copy"), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		type kept struct {
			Size                    int64
			Type, Cache, ETag, Sum  string
			ChecksumType            types.ChecksumType
			Metadata                map[string]string
			Encoding, Disposition   string
			TagCount                int32
			CRC64, SHA256, Language string
		}
		view := func(h *s3.HeadObjectOutput) kept {
			return kept{
				aws.ToInt64(h.ContentLength), aws.ToString(h.ContentType), aws.ToString(h.CacheControl), aws.ToString(h.ETag),
				aws.ToString(h.ChecksumCRC32), h.ChecksumType, h.Metadata, aws.ToString(h.ContentEncoding),
				aws.ToString(h.ContentDisposition), aws.ToInt32(h.TagCount), aws.ToString(h.ChecksumCRC64NVME),
				aws.ToString(h.ChecksumSHA256), aws.ToString(h.ContentLanguage),
			}
		}
		if diff := cmp.Diff(view(src), view(got)); diff != "" {
			t.Errorf("attributes (-source +copy):\n%s", diff)
		}
		if src.ChecksumCRC32 == nil || aws.ToString(r.ChecksumCRC32) != aws.ToString(src.ChecksumCRC32) {
			t.Errorf("checksum of the result: %+v, want that of %+v", r, src)
		}
		tags, err := dst.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: aws.String("dest"), Key: aws.String("copy")})
		if err != nil || len(tags.TagSet) != 1 || *tags.TagSet[0].Value != "a b" {
			t.Errorf("tags of the copy: %v %v", tags, err)
		}
	})
}

func TestCopyObjectReplace(t *testing.T) {
	copies(t, func(t *testing.T, _ *service, dst *s3.Client, body []byte) {
		ctx := limited(t)
		_, err := dst.CopyObject(ctx, &s3.CopyObjectInput{
			Bucket: aws.String("dest"), Key: aws.String("copy"), CopySource: aws.String(copyFrom),
			MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"new": "1"}, ContentType: aws.String("text/plain"),
			TaggingDirective: types.TaggingDirectiveReplace, Tagging: aws.String("x=y"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := dst.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("dest"), Key: aws.String("copy"), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || aws.ToString(got.ContentType) != "text/plain" || got.ChecksumSHA256 == nil || got.CacheControl != nil ||
			!cmp.Equal(got.Metadata, map[string]string{"new": "1"}) {
			t.Errorf("replaced attributes: %+v %v", got, err)
		}
		tags, err := dst.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: aws.String("dest"), Key: aws.String("copy")})
		if err != nil || len(tags.TagSet) != 1 || *tags.TagSet[0].Key != "x" {
			t.Errorf("replaced tags: %v %v", tags, err)
		}
		if !bytes.Equal(get(t, dst, "dest", "copy"), body) {
			t.Error("the copy differs")
		}
	})
}

func TestCopyConditions(t *testing.T) {
	copies(t, func(t *testing.T, _ *service, dst *s3.Client, body []byte) {
		ctx := limited(t)
		future, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
		for name, tt := range map[string]struct {
			set  func(*s3.CopyObjectInput)
			want string
		}{
			"if-match":             {func(in *s3.CopyObjectInput) { in.CopySourceIfMatch = aws.String(md5hex(body)) }, ""},
			"if-match else":        {func(in *s3.CopyObjectInput) { in.CopySourceIfMatch = aws.String(`"else"`) }, "PreconditionFailed"},
			"if-none-match":        {func(in *s3.CopyObjectInput) { in.CopySourceIfNoneMatch = aws.String(md5hex(body)) }, "PreconditionFailed"},
			"modified":             {func(in *s3.CopyObjectInput) { in.CopySourceIfModifiedSince = &past }, ""},
			"not modified":         {func(in *s3.CopyObjectInput) { in.CopySourceIfUnmodifiedSince = &past }, "PreconditionFailed"},
			"unmodified":           {func(in *s3.CopyObjectInput) { in.CopySourceIfUnmodifiedSince = &future }, ""},
			"missing key":          {func(in *s3.CopyObjectInput) { in.CopySource = aws.String("from/none") }, "NoSuchKey"},
			"missing bucket":       {func(in *s3.CopyObjectInput) { in.CopySource = aws.String("nowhere/none") }, "NoSuchBucket"},
			"destination bucket":   {func(in *s3.CopyObjectInput) { in.Bucket = aws.String("nowhere") }, "NoSuchBucket"},
			"destination is taken": {func(in *s3.CopyObjectInput) { in.IfNoneMatch = aws.String("*"); in.Key = aws.String("taken") }, "PreconditionFailed"},
		} {
			put(t, dst, "dest", "taken", []byte("x"))
			in := &s3.CopyObjectInput{Bucket: aws.String("dest"), Key: aws.String("copy"), CopySource: aws.String(copyFrom)}
			tt.set(in)
			_, err := dst.CopyObject(ctx, in)
			if got := code(err); err == nil && tt.want != "" || err != nil && got != tt.want {
				t.Errorf("%s: %v, want %q", name, err, tt.want)
			}
		}
	})
}

func TestUploadPartCopy(t *testing.T) {
	copies(t, func(t *testing.T, _ *service, dst *s3.Client, body []byte) {
		for _, algorithm := range []types.ChecksumAlgorithm{"", types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc64nvme} {
			copyInParts(t, dst, body, algorithm)
		}
	})
}

func copyInParts(t *testing.T, dst *s3.Client, body []byte, algorithm types.ChecksumAlgorithm) {
	t.Helper()
	ctx := limited(t)
	to, key := aws.String("dest"), aws.String("parts"+string(algorithm))
	up, err := dst.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: to, Key: key, ChecksumAlgorithm: algorithm})
	if err != nil {
		t.Fatal(err)
	}
	part := func(n int32, byteRange string) (types.CompletedPart, error) {
		out, err := dst.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
			Bucket: to, Key: key, UploadId: up.UploadId, PartNumber: &n, CopySource: aws.String(copyFrom), CopySourceRange: &byteRange,
		})
		if err != nil {
			return types.CompletedPart{}, err
		}
		r := out.CopyPartResult
		return types.CompletedPart{PartNumber: &n, ETag: r.ETag, ChecksumCRC32: r.ChecksumCRC32, ChecksumCRC64NVME: r.ChecksumCRC64NVME}, nil
	}
	first, err := part(1, "bytes=0-6291455")
	if err != nil {
		t.Fatal(err)
	}
	second, err := part(2, "bytes=6291456-12582916")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part(3, "bytes=0-99999999"); err == nil {
		t.Error("a range beyond the source was copied")
	}
	_, err = dst.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: to, Key: key, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{first, second}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get(t, dst, "dest", *key), body) {
		t.Errorf("%s: the copy differs", *key)
	}
}

// A copy of something larger than S3 allows is refused before a byte is moved. The
// file is sparse, so it costs nothing.
func TestCopyTooLarge(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "from")
	s.bucket(t, far, "dest")
	put(t, s.client(t, near), "from", "big", nil)
	if err := os.Truncate(filepath.Join(s.root, near, "from", "big"), 5<<30+1); err != nil {
		t.Skipf("LOUD SKIP: no sparse file of 5 GiB here: %v", err)
	}
	_, err := s.client(t, far).CopyObject(limited(t), &s3.CopyObjectInput{Bucket: aws.String("dest"), Key: aws.String("big"), CopySource: aws.String("from/big")})
	if code(err) != "InvalidRequest" || !strings.Contains(err.Error(), "5368709120") {
		t.Errorf("copy of 5 GiB and a byte: %v", err)
	}
}

// A source that is damaged on disk is not handed on: its stored checksum says so.
func TestCopyDamagedSource(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "from")
	s.bucket(t, far, "dest")
	put(t, s.client(t, near), "from", "k", random(3<<20))
	f, err := os.OpenFile(filepath.Join(s.root, near, "from", "k"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := limited(t)
	c := s.client(t, far, func(o *s3.Options) { o.RetryMaxAttempts = 1 })
	_, err = c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("dest"), Key: aws.String("k"), CopySource: aws.String("from/k")})
	if status(err) < 500 {
		t.Errorf("copy of a damaged object: %v", err)
	}
	if _, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("dest"), Key: aws.String("k")}); status(err) != http.StatusNotFound {
		t.Errorf("a damaged copy was stored: %v", err)
	}
}

func TestCopyVersion(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "from")
	s.bucket(t, far, "dest")
	ctx, c := limited(t), s.client(t, near)
	_, err := c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: aws.String("from"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	old := put(t, c, "from", "k", []byte("old"))
	put(t, c, "from", "k", []byte("new"))
	for query, want := range map[string]string{"": "new", "?versionId=" + aws.ToString(old.VersionId): "old"} {
		_, err := s.client(t, far).CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("dest"), Key: aws.String("k"), CopySource: aws.String("from/k" + query)})
		if err != nil {
			t.Fatal(err)
		}
		if got := get(t, s.client(t, far), "dest", "k"); string(got) != want {
			t.Errorf("copied %q, want %q", got, want)
		}
	}
}
