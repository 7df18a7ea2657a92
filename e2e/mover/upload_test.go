package mover

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// storage answers like S3 with one bucket, and does not do what it is asked.
type storage struct {
	// refuses answers a request that it does not grant; false if it grants it.
	refuses func(w http.ResponseWriter, r *http.Request) bool

	mu      sync.Mutex
	object  []byte // what stands under the key
	parts   map[string][]byte
	aborted bool
}

func serveStorage(t *testing.T, refuses func(http.ResponseWriter, *http.Request) bool) (*storage, []string) {
	t.Helper()
	s := &storage{refuses: refuses, parts: map[string][]byte{}}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return s, append(os.Environ(), "AWS_ENDPOINT_URL="+web.URL, "AWS_ENDPOINT_URL_S3="+web.URL, "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_MAX_ATTEMPTS=2",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
}

// holds puts an object under the key.
func (s *storage) holds(object []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.object = object
}

func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || s.refuses(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	part := r.URL.Query().Get("partNumber")
	switch {
	case r.URL.Path == "/bucket" || r.URL.Path == "/bucket/":
		w.Header().Set("x-amz-bucket-region", "us-east-1")
	case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
		fmt.Fprint(w, `<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>`)
	case r.Method == http.MethodDelete:
		s.aborted = true
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut && part != "":
		s.parts[part] = body
		w.Header().Set("ETag", `"`+part+`"`)
	case s.object != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		w.Header().Set("ETag", `"whole"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.object))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func deny(w http.ResponseWriter, status int, code string) bool {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
	return true
}

// TestUploadRefused: an upload that is refused at whatever step is a backup that
// failed, under whose name nothing stands.
func TestUploadRefused(t *testing.T) {
	t.Parallel()
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	f := filler{s: s}
	f.seed()
	put := func(r *http.Request) bool { return r.Method == http.MethodPut }
	for name, c := range map[string]struct {
		large   bool // larger than the first part
		refuses func(w http.ResponseWriter, r *http.Request) bool
		says    string
	}{
		"a small object": {false, func(w http.ResponseWriter, r *http.Request) bool {
			return put(r) && deny(w, http.StatusForbidden, "AccessDenied")
		}, "AccessDenied"},
		"the beginning": {true, func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Has("uploads") && deny(w, http.StatusForbidden, "AccessDenied")
		}, "AccessDenied"},
		"a part": {true, func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Get("partNumber") == "2" && deny(w, http.StatusInsufficientStorage, "InsufficientStorage")
		}, "InsufficientStorage"},
		"the completion": {true, func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") && deny(w, http.StatusForbidden, "QuotaExceeded")
		}, "QuotaExceeded"},
		"a part by hanging up": {true, func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("partNumber") != "" {
				panic(http.ErrAbortHandler)
			}
			return false
		}, "cannot"},
	} {
		t.Run(name, func(t *testing.T) {
			emptied(s)
			s.Must("SET", "k", "v")
			for i := range 3 {
				if c.large {
					s.Must("SET", fmt.Sprint("large", i), f.noise(threeMB))
				}
			}
			at, env := serveStorage(t, c.refuses)
			run := holdfast(t, "backup", url(s), "s3://bucket/x.rdb", "--from", "commands")
			run.Env = env
			run.start().ends(failed).says("cannot back up", c.says)
			if strings.Contains(run.said(), "secret") {
				t.Error("a secret is printed")
			}
			at.mu.Lock()
			defer at.mu.Unlock()
			if len(at.parts) > 0 && !at.aborted {
				t.Error("the parts of what is not completed are left")
			}
		})
	}
}

// TestStorageLies: an upload that is answered with success, but is not there or is
// not what was written, is a backup that failed.
func TestStorageLies(t *testing.T) {
	t.Parallel()
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	s.Must("DEBUG", "POPULATE", 100, "k", 50)
	for name, spoil := range map[string]func([]byte) []byte{
		"nothing":       func([]byte) []byte { return nil },
		"half":          func(b []byte) []byte { return b[:len(b)/2] },
		"something old": func([]byte) []byte { return []byte("REDIS0009\xff\x00\x00\x00\x00\x00\x00\x00\x00") },
	} {
		t.Run(name, func(t *testing.T) {
			at, env := serveStorage(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut {
					w.Header().Set("ETag", `"whole"`)
				}
				return r.Method == http.MethodPut
			})
			file := t.TempDir() + "/x.rdb"
			runs(t, done, "backup", url(s), file, "--from", "commands")
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			at.holds(spoil(whole))
			run := holdfast(t, "backup", url(s), "s3://bucket/x.rdb", "--from", "commands")
			run.Env = env
			run.start().ends(failed)
		})
	}
}

// TestDownloadCut: an object whose connections break is read on from there; one that
// is never whole restores nothing.
func TestDownloadCut(t *testing.T) {
	t.Parallel()
	b := testkit.Engine(t, "redis-7.0")
	from, to := testkit.StartServer(t, b), testkit.StartServer(t, b)
	from.Must("DEBUG", "POPULATE", 3000, "k", 50)
	content := testkit.ReadContent(t, from)
	file := t.TempDir() + "/x.rdb"
	runs(t, done, "backup", url(from), file)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	restore := func(refuses func(http.ResponseWriter, *http.Request) bool, object []byte) *command {
		at, env := serveStorage(t, refuses)
		at.holds(object)
		c := holdfast(t, "restore", "s3://bucket/x.rdb", url(to))
		c.Env = env
		return c.start()
	}
	var cut sync.Once
	again := restore(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		cut.Do(func() {
			w.Header().Set("ETag", `"whole"`)
			w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
			_, _ = w.Write(whole[:len(whole)/2]) // the connection is given up anyway
			panic(http.ErrAbortHandler)
		})
		return false
	}, whole)
	again.ends(done)
	want(t, content, 0, to)
	emptied(to)
	never := restore(func(http.ResponseWriter, *http.Request) bool { return false }, whole[:len(whole)*2/3])
	never.ends(failed).says("nothing was moved")
	if n := keys(t, to); n > 0 {
		t.Errorf("%d keys of half an object", n)
	}
}
