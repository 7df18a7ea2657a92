package front

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"holdfast.dev/internal/objects/gateway"
)

// Options configure the door. Pool and Region are required.
type Options struct {
	Pool *gateway.Pool
	// Region tells the region that a request was signed for. The request has been
	// verified before it comes here: its seed signature, that is. Payload hashes,
	// chunk signatures and checksums are verified behind this door, by the child.
	Region func(*http.Request) string
	// BodyFault tells S3's answer to an error of reading a request's body, where the
	// caller has wrapped the body in a check of its own. Nil: the body has none.
	BodyFault func(error) (status int, code, message string)
	// Authorize tells whether the caller of a verified request may make it: nil, or what
	// he is told. asked says what the request would do, and fails where that cannot be
	// told for certain; that error is handed on. Nil: everything is allowed.
	Authorize func(r *http.Request, asked func() ([]Asked, error)) error
	// Log receives what could not be told to a client. Nil means slog.Default.
	Log *slog.Logger
}

// New returns the handler of every S3 request.
func New(opts Options) http.Handler {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	return &door{pool: opts.Pool, region: opts.Region, bodyFault: opts.BodyFault, mayDo: opts.Authorize, log: opts.Log}
}

type door struct {
	pool   *gateway.Pool
	region func(*http.Request) string

	bodyFault func(error) (status int, code, message string)
	mayDo     func(*http.Request, func() ([]Asked, error)) error

	log *slog.Logger
}

// target is what a request speaks of.
type target struct {
	bucket, key string
	// native is false when the bucket stands in a Host form that the child does not
	// know, so that the request must be rewritten and signed anew.
	native bool
	hosted bool   // whether the bucket stands in Host rather than in the path
	signed string // the region that the request was signed for
	home   string // the bucket's region; empty when there is no such bucket
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := &taken{ReadCloser: r.Body}
	if r.Body != http.NoBody {
		r.Body = body
		defer body.drain(w, r)
	}
	t, fault := d.target(r)
	if fault == nil {
		fault = d.authorize(r, t)
	}
	if fault == nil {
		fault = d.serve(w, r, t)
	}
	if fault != nil {
		fault.write(w, r)
	}
}

// serve answers r or returns the fault to be answered with.
func (d *door) serve(w http.ResponseWriter, r *http.Request, t target) *fault {
	switch {
	case t.bucket == "":
		if r.Method == http.MethodGet {
			return d.listBuckets(w, r)
		}
		return newFault(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	case t.signed != "" && isCreateBucket(r, t):
		return d.createBucket(w, r, t)
	case t.home == "":
		return noSuchBucket(t.bucket)
	case isLocation(r, t):
		return d.location(w, r, t)
	case t.home != t.signed:
		return redirect(r, t)
	case r.Method == http.MethodPut && r.Header.Get(copySource) != "":
		return d.copy(w, r, t)
	}
	return d.forward(w, r, t)
}

func (d *door) target(r *http.Request) (target, *fault) {
	t := target{native: true}
	second := IsPresignedV2(r)
	if !second {
		t.signed = d.region(r)
	}
	if !second && !gateway.ValidRegion(t.signed) {
		return t, newFault(http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region '"+t.signed+"' is wrong.")
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	if bucket, native := gateway.HostBucket(r.Host); bucket != "" {
		t.bucket, t.key, t.native, t.hosted = bucket, path, native, true
	} else {
		t.bucket, t.key, _ = strings.Cut(path, "/")
		if t.bucket == "" && path != "" {
			return t, newFault(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
		}
	}
	if t.bucket == "" {
		if second {
			return t, newFault(http.StatusForbidden, "AccessDenied", "Access Denied")
		}
		return t, nil
	}
	home, _, err := d.pool.Locate(t.bucket)
	if err != nil {
		return t, d.internal(r, err)
	}
	t.home = home
	if second {
		// The child cannot verify it, so it is verified here and signed anew.
		t.signed, t.native = home, false
		return t, d.verifyV2(r, t, time.Now())
	}
	return t, nil
}

// subresources are the query parameters that make a bucket request something else
// than one about the bucket itself.
var subresources = []string{
	"accelerate", "acl", "abac", "analytics", "cors", "delete", "encryption", "intelligent-tiering", "inventory",
	"lifecycle", "location", "logging", "metadataConfiguration", "metadataTable", "metrics", "notification", "object-lock",
	"ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment",
	"tagging", "uploads", "versioning", "versions", "website",
}

func isCreateBucket(r *http.Request, t target) bool {
	if r.Method != http.MethodPut || t.key != "" {
		return false
	}
	q := r.URL.Query()
	for _, name := range subresources {
		if q.Has(name) {
			return false
		}
	}
	return true
}

func isLocation(r *http.Request, t target) bool {
	return r.Method == http.MethodGet && t.key == "" && r.URL.Query().Has("location")
}
