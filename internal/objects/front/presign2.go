package front

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// IsPresignedV2 recognises a URL presigned by signature version 2, which the AWS
// CLI 1 still makes for endpoints other than Amazon's. It names no region and no
// service; the API server is to pass it here unverified, and this package
// verifies it.
func IsPresignedV2(r *http.Request) bool {
	q := r.URL.Query()
	return q.Has("AWSAccessKeyId") && q.Has("Signature") && q.Has("Expires") && r.Header.Get("Authorization") == ""
}

// verifyV2 checks such a URL. It is good for whatever region its bucket is in.
func (d *door) verifyV2(r *http.Request, t target, now time.Time) *fault {
	q := r.URL.Query()
	id := q.Get("AWSAccessKeyId")
	secret, ok := d.pool.Secret(id)
	if !ok {
		return newFault(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(stringToSignV2(r, t)))
	got, err := base64.StdEncoding.DecodeString(q.Get("Signature"))
	if err != nil || !hmac.Equal(got, mac.Sum(nil)) {
		return newFault(http.StatusForbidden, "SignatureDoesNotMatch",
			"The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	expires, err := strconv.ParseInt(q.Get("Expires"), 10, 64)
	if err != nil {
		return newFault(http.StatusForbidden, "AccessDenied", "Invalid date (should be seconds since epoch): "+q.Get("Expires"))
	}
	if now.Unix() > expires {
		return newFault(http.StatusForbidden, "AccessDenied", "Request has expired")
	}
	return nil
}

// signedQueryV2 are the query parameters that version 2 covers.
var signedQueryV2 = []string{
	"accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "encryption", "inventory", "lifecycle", "location",
	"logging", "metrics", "notification", "object-lock", "ownershipControls", "partNumber", "policy", "policyStatus",
	"publicAccessBlock", "replication", "requestPayment", "response-cache-control", "response-content-disposition",
	"response-content-encoding", "response-content-language", "response-content-type", "response-expires", "restore",
	"retention", "select", "select-type", "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId",
	"versioning", "versions", "website",
}

func stringToSignV2(r *http.Request, t target) string {
	var b strings.Builder
	for _, line := range []string{r.Method, r.Header.Get("Content-Md5"), r.Header.Get("Content-Type"), r.URL.Query().Get("Expires")} {
		b.WriteString(line + "\n")
	}
	var names []string
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	for _, name := range names {
		b.WriteString(name + ":" + strings.Join(r.Header.Values(name), ",") + "\n")
	}
	if t.hosted {
		b.WriteString("/" + t.bucket)
	}
	b.WriteString(r.URL.EscapedPath())
	b.WriteString(subresourcesV2(r.URL.Query()))
	return b.String()
}

func subresourcesV2(q url.Values) string {
	var parts []string
	for _, name := range signedQueryV2 { // which is sorted
		if !q.Has(name) {
			continue
		}
		if v := q.Get(name); v != "" {
			name += "=" + v
		}
		parts = append(parts, name)
	}
	if len(parts) == 0 {
		return ""
	}
	return "?" + strings.Join(parts, "&")
}
