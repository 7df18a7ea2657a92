package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"holdfast.dev/internal/objects"
)

// uploads lists the uploads of a bucket by key.
func uploads(t *testing.T, c *s3.Client, bucket string) map[string]int {
	t.Helper()
	out, err := c.ListMultipartUploads(limited(t), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, u := range out.Uploads {
		found[aws.ToString(u.Key)]++
	}
	return found
}

// What a writer told before it died is enough to end its upload, and no other.
func TestTheUploadsOfDeadWritersAreEnded(t *testing.T) {
	p := newPool(t, t.TempDir())
	store, c := newStore(t, p), p.Client(region)
	theirs, err := c.CreateMultipartUpload(limited(t), &s3.CreateMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.UploadPart(limited(t), &s3.UploadPartInput{
		Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: theirs.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("theirs")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateMultipartUpload(limited(t), &s3.CreateMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("k2")}); err != nil {
		t.Fatal(err)
	}
	var told []objects.Upload
	begin := func(key string) {
		t.Helper()
		ctx, cancel := context.WithCancel(limited(t))
		defer cancel()
		w, err := store.Create(ctx, key, objects.PutOptions{Note: func(_ context.Context, u objects.Upload) error {
			told = append(told, u)
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, 9<<20)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "its part has arrived", func() bool {
			out, err := c.ListParts(limited(t), &s3.ListPartsInput{Bucket: aws.String("bucket"), Key: &key, UploadId: &told[len(told)-1].ID})
			return err == nil && len(out.Parts) == 1
		})
		// It is neither committed nor aborted.
	}
	begin("k")
	if len(told) != 2 || told[0].ID != "" || told[1].ID == "" || uploads(t, c, "bucket")["k"] != 2 {
		t.Fatalf("told %+v, the uploads are %v", told, uploads(t, c, "bucket"))
	}
	abandoner := store.(objects.Abandoner)
	for range 2 {
		if err := abandoner.Abandon(limited(t), told[1]); err != nil {
			t.Fatal(err)
		}
	}
	// One that died between the two notes: it has no part.
	if _, err := c.CreateMultipartUpload(limited(t), &s3.CreateMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("k")}); err != nil {
		t.Fatal(err)
	}
	if err := abandoner.Abandon(limited(t), told[0]); err != nil {
		t.Fatal(err)
	}
	if found := uploads(t, c, "bucket"); found["k"] != 1 || found["k2"] != 1 {
		t.Errorf("the uploads are %v; one of each is somebody else's", found)
	}
	_, err = c.UploadPart(limited(t), &s3.UploadPartInput{
		Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: theirs.UploadId, PartNumber: aws.Int32(2), Body: bytes.NewReader([]byte("go on")),
	})
	if err != nil {
		t.Errorf("somebody else's upload does not go on: %v", err)
	}
}

// A note that cannot be written ends the upload before a part is sent.
func TestAnUploadThatCannotBeNotedIsNone(t *testing.T) {
	p := newPool(t, t.TempDir())
	store, c := newStore(t, p), p.Client(region)
	full := errors.New("no room")
	for fail := 1; fail <= 2; fail++ {
		n := 0
		_, err := objects.Put(limited(t), store, "k", bytes.NewReader(make([]byte, 9<<20)), objects.PutOptions{
			Note: func(context.Context, objects.Upload) error {
				if n++; n == fail {
					return full
				}
				return nil
			},
		})
		if !errors.Is(err, full) || len(uploads(t, c, "bucket")) != 0 {
			t.Errorf("note %d failed: %v, the uploads are %v", fail, err, uploads(t, c, "bucket"))
		}
	}
}

func TestAMarkIsKept(t *testing.T) {
	store := newStore(t, newPool(t, t.TempDir()))
	for key, size := range map[string]int{"small": 10, "large": 9 << 20} {
		if _, err := objects.Put(limited(t), store, key, bytes.NewReader(make([]byte, size)), objects.PutOptions{Mark: "m1"}); err != nil {
			t.Fatal(err)
		}
		if info, err := store.Stat(limited(t), key); err != nil || info.Mark != "m1" {
			t.Errorf("%s: mark %q, %v", key, info.Mark, err)
		}
	}
}
