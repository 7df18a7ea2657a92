package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	streaming       = "STREAMING-"
)

// Verify checks the signature of a request that Parse read. bodyHash is the
// SHA-256 of the whole body in lowercase hexadecimal; for S3 it is not used, the
// request's own word for the payload is, and PayloadHash tells what is left to
// check. Errors are *Error.
func (a *Auth) Verify(r *http.Request, bodyHash string, keys Keys, now time.Time) (Identity, error) {
	now = now.UTC()
	if err := a.checkTime(now); err != nil {
		return Identity{}, err
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return Identity{}, err
	}
	payload, err := a.payload(r, query, bodyHash)
	if err != nil {
		return Identity{}, err
	}
	if err := a.checkUnsigned(r); err != nil {
		return Identity{}, err
	}
	secret, identity, ok := lookup(keys, a.AccessKeyID, a.token)
	if !ok {
		return Identity{}, unknownKey(a.S3())
	}
	headers, ok := canonicalHeaders(r, a.signedHeaders)
	if !ok {
		return Identity{}, mismatch(a.S3())
	}
	tail := "\n" + canonicalQuery(query) + "\n" + headers + "\n" + strings.Join(a.signedHeaders, ";") + "\n" + payload
	key := a.signingKey(secret)
	for _, path := range canonicalPaths(r, a.S3()) {
		if hmac.Equal([]byte(a.sign(key, r.Method+"\n"+path+tail)), []byte(a.signature)) {
			return identity, nil
		}
	}
	return Identity{}, mismatch(a.S3())
}

// checkTime holds the request's time against the clock.
func (a *Auth) checkTime(now time.Time) error {
	limit := now.Add(-Skew)
	if a.Presigned && a.expires > 0 {
		limit = now.Add(-a.expires)
	}
	if a.time.Before(limit) {
		return expired(a.S3(), a.Presigned, a.time, limit, now)
	}
	if ahead := now.Add(Skew); a.time.After(ahead) {
		return early(a.S3(), a.Presigned, a.time, ahead, now)
	}
	return nil
}

// payload is the last line of the canonical request.
func (a *Auth) payload(r *http.Request, query url.Values, bodyHash string) (string, error) {
	if !a.S3() {
		return bodyHash, nil
	}
	said := r.Header.Get("X-Amz-Content-Sha256")
	if a.Presigned && query.Has("X-Amz-Content-Sha256") {
		said = query.Get("X-Amz-Content-Sha256")
	}
	switch {
	case said == "" && a.Presigned:
		return unsignedPayload, nil
	case said == "":
		return "", refuse(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	case said == unsignedPayload || strings.HasPrefix(said, streaming) || isHex64(said):
		return said, nil
	}
	return "", refuse(http.StatusBadRequest, "InvalidArgument",
		"x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD or a valid sha256 value.")
}

// PayloadHash is the SHA-256 that the body of a verified S3 request must have;
// ok is false when the signature does not cover the body as a whole.
func (a *Auth) PayloadHash(r *http.Request) (hash string, ok bool) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return "", false
	}
	hash, err = a.payload(r, query, "")
	return hash, err == nil && isHex64(hash)
}

// checkUnsigned refuses x-amz- headers outside the signature: S3 acts on them.
func (a *Auth) checkUnsigned(r *http.Request) error {
	for name := range r.Header {
		name = strings.ToLower(name)
		if !strings.HasPrefix(name, "x-amz-") || slices.Contains(a.signedHeaders, name) {
			continue
		}
		if a.Presigned && name == "x-amz-content-sha256" || !a.S3() && !actedOn(name) {
			continue
		}
		if a.S3() {
			return refuse(http.StatusForbidden, "AccessDenied", "There were headers present in the request which were not signed")
		}
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "'%s' must be a 'SignedHeader' in the AWS Authorization.", name)
	}
	return nil
}

// actedOn are the x-amz- headers that mean something to services other than S3.
func actedOn(name string) bool {
	return name == "x-amz-date" || name == "x-amz-target" || name == "x-amz-security-token"
}

// signingKey derives the key of the scope.
func (a *Auth) signingKey(secret string) []byte {
	key := []byte("AWS4" + secret)
	for _, part := range []string{a.date, a.Region, a.Service, terminator} {
		key = mac(key, part)
	}
	return key
}

// sign returns the signature of a canonical request, in lowercase hexadecimal.
func (a *Auth) sign(key []byte, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	scope := a.date + "/" + a.Region + "/" + a.Service + "/" + terminator
	return hex.EncodeToString(mac(key, algorithm+"\n"+a.time.Format(timeFormat)+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
