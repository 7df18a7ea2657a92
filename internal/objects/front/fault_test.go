package front_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"holdfast.dev/internal/objects/front"
)

func (s *service) kill(t testing.TB, region string) {
	t.Helper()
	pid := s.pool.PIDs()[region]
	if pid == 0 { // which would mean ourselves
		t.Fatalf("no child serves %s", region)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// The child dies while a client uploads: the client's own retry succeeds, and
// nothing partial was there in between.
func TestChildKilledUnderUpload(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	body := random(16 << 20)
	path := filepath.Join(s.root, near, "one", "k")
	killed := 0
	c := s.client(t, near, func(o *s3.Options) {
		o.HTTPClient = midway{o.HTTPClient, func() {
			if killed++; killed == 1 {
				s.kill(t, near)
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("visible while it is sent: %v", err)
			}
		}}
	})
	put(t, c, "one", "k", body)
	if killed < 2 { // the child may take longer to be back than one retry waits
		t.Errorf("%d attempts, want 2 or more", killed)
	}
	if !bytes.Equal(get(t, s.client(t, near), "one", "k"), body) {
		t.Error("the object differs")
	}
}

// midway calls f in the middle of each request body.
type midway struct {
	s3.HTTPClient
	f func()
}

func (m midway) Do(r *http.Request) (*http.Response, error) {
	if r.ContentLength > 1<<20 {
		half := r.ContentLength / 2
		r.Body = &midBody{ReadCloser: r.Body, left: half, f: m.f}
	}
	return m.HTTPClient.Do(r)
}

type midBody struct {
	io.ReadCloser
	left int64
	f    func()
}

func (b *midBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		if b.left -= int64(n); b.left <= 0 {
			b.f()
		}
	}
	return n, err
}

// The child dies while a client downloads: the client is not left to believe that
// it has everything.
func TestChildKilledUnderDownload(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	c := s.client(t, near)
	put(t, c, "one", "k", random(64<<20))
	out, err := c.GetObject(limited(t), &s3.GetObjectInput{Bucket: aws.String("one"), Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, out.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	s.kill(t, near)
	n, err := io.Copy(io.Discard, out.Body)
	if cerr := out.Body.Close(); cerr != nil {
		t.Log(cerr)
	}
	if err == nil {
		t.Errorf("a download that was cut off ended well after %d bytes", n)
	}
}

// A client that goes away in the middle of its upload leaves nothing.
func TestClientGone(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	gone := errors.New("gone")
	c := s.client(t, near, func(o *s3.Options) {
		o.RetryMaxAttempts = 1
		o.HTTPClient = breaking{o.HTTPClient, gone}
	})
	_, err := c.PutObject(limited(t), &s3.PutObjectInput{Bucket: aws.String("one"), Key: aws.String("k"), Body: bytes.NewReader(random(4 << 20))})
	if !errors.Is(err, gone) {
		t.Errorf("put: %v", err)
	}
	if _, err := c.HeadObject(limited(t), &s3.HeadObjectInput{Bucket: aws.String("one"), Key: aws.String("k")}); status(err) != http.StatusNotFound {
		t.Errorf("after a client went away: %v", err)
	}
}

type breaking struct {
	s3.HTTPClient
	err error
}

func (b breaking) Do(r *http.Request) (*http.Response, error) {
	if r.ContentLength > 1<<20 {
		r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, 1<<20), failing{b.err}))
	}
	return b.HTTPClient.Do(r)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A body that the caller's own check finds wrong is answered as the caller says,
// and not as a failure of ours that clients try again.
func TestBodyFault(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	wrong := errors.New("wrong")
	h := front.New(front.Options{Pool: s.pool, Region: signedRegion, BodyFault: func(err error) (int, string, string) {
		if !errors.Is(err, wrong) {
			t.Errorf("body fault of %v", err)
		}
		return http.StatusBadRequest, "XAmzContentSHA256Mismatch", "it is wrong"
	}})
	checked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := r.Body
		if r.ContentLength > 0 {
			r.Body = io.NopCloser(io.MultiReader(io.LimitReader(body, r.ContentLength-1), failing{wrong}))
		} else {
			r.Body = io.NopCloser(body) // not http.NoBody any more
		}
		h.ServeHTTP(w, r)
	}))
	defer checked.Close()
	c := s.client(t, near, func(o *s3.Options) { o.BaseEndpoint = &checked.URL })
	_, err := c.PutObject(limited(t), &s3.PutObjectInput{Bucket: aws.String("one"), Key: aws.String("k"), Body: bytes.NewReader(random(1 << 20))})
	if code(err) != "XAmzContentSHA256Mismatch" {
		t.Errorf("put: %v", err)
	}
	put(t, c, "one", "empty", nil)
	if got := get(t, c, "one", "empty"); len(got) != 0 {
		t.Errorf("%d bytes", len(got))
	}
}
