package front

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Asked is one thing that a request wants to be allowed: an action of S3 on a bucket, on
// an object, or on nothing in particular where Bucket is empty.
type Asked struct {
	Action      string // "s3:GetObject"
	Bucket, Key string
}

// ARN names the resource.
func (a Asked) ARN() string {
	switch {
	case a.Bucket == "":
		return "*"
	case a.Key == "":
		return "arn:aws:s3:::" + a.Bucket
	}
	return "arn:aws:s3:::" + a.Bucket + "/" + a.Key
}

// errUntold: what the request would do cannot be told for certain, so that policies
// cannot be held against it.
var errUntold = errors.New("requests of this kind are for the root key alone")

// bucketVerbs and objectVerbs are the actions of requests by method and subresource; "" is the bucket or the
// object itself. What is not here is for root alone.
var bucketVerbs = map[string]map[string]string{
	http.MethodGet: {
		"": "ListBucket", "location": "GetBucketLocation", "acl": "GetBucketAcl", "cors": "GetBucketCORS", "policy": "GetBucketPolicy",
		"policyStatus": "GetBucketPolicyStatus", "tagging": "GetBucketTagging", "versioning": "GetBucketVersioning", "versions": "ListBucketVersions",
		"uploads": "ListBucketMultipartUploads", "lifecycle": "GetLifecycleConfiguration", "encryption": "GetEncryptionConfiguration",
		"object-lock": "GetBucketObjectLockConfiguration", "ownershipControls": "GetBucketOwnershipControls",
		"publicAccessBlock": "GetBucketPublicAccessBlock", "notification": "GetBucketNotification",
	},
	http.MethodHead: {"": "ListBucket"},
	http.MethodPut: {
		"": "CreateBucket", "acl": "PutBucketAcl", "cors": "PutBucketCORS", "policy": "PutBucketPolicy", "tagging": "PutBucketTagging",
		"versioning": "PutBucketVersioning", "lifecycle": "PutLifecycleConfiguration", "encryption": "PutEncryptionConfiguration",
		"object-lock": "PutBucketObjectLockConfiguration", "ownershipControls": "PutBucketOwnershipControls",
		"publicAccessBlock": "PutBucketPublicAccessBlock", "notification": "PutBucketNotification",
	},
	http.MethodDelete: {
		"": "DeleteBucket", "policy": "DeleteBucketPolicy", "cors": "PutBucketCORS", "tagging": "PutBucketTagging",
		"lifecycle": "PutLifecycleConfiguration", "encryption": "PutEncryptionConfiguration",
		"ownershipControls": "PutBucketOwnershipControls", "publicAccessBlock": "PutBucketPublicAccessBlock",
	},
	http.MethodPost: {"delete": "DeleteObject"},
}

var objectVerbs = map[string]map[string]string{
	http.MethodGet: {
		"": "GetObject", "acl": "GetObjectAcl", "tagging": "GetObjectTagging", "attributes": "GetObjectAttributes",
		"uploadId": "ListMultipartUploadParts", "retention": "GetObjectRetention", "legal-hold": "GetObjectLegalHold", "partNumber": "GetObject",
	},
	http.MethodHead: {"": "GetObject", "partNumber": "GetObject"},
	http.MethodPut: {
		"": "PutObject", "uploadId": "PutObject", "acl": "PutObjectAcl", "tagging": "PutObjectTagging",
		"retention": "PutObjectRetention", "legal-hold": "PutObjectLegalHold",
	},
	http.MethodPost:   {"uploads": "PutObject", "uploadId": "PutObject"},
	http.MethodDelete: {"": "DeleteObject", "uploadId": "AbortMultipartUpload", "tagging": "DeleteObjectTagging"},
}

// versioned are the actions that have a name of their own for a version of an object.
var versioned = map[string]string{
	"GetObject": "GetObjectVersion", "GetObjectAcl": "GetObjectVersionAcl", "GetObjectTagging": "GetObjectVersionTagging",
	"GetObjectAttributes": "GetObjectVersionAttributes", "DeleteObject": "DeleteObjectVersion", "PutObjectAcl": "PutObjectVersionAcl",
	"PutObjectTagging": "PutObjectVersionTagging", "DeleteObjectTagging": "DeleteObjectVersionTagging",
}

// plainQuery are parameters that choose no other action.
var plainQuery = []string{
	"list-type", "prefix", "delimiter", "max-keys", "marker", "start-after", "continuation-token", "encoding-type", "fetch-owner",
	"key-marker", "version-id-marker", "upload-id-marker", "max-uploads", "max-parts", "part-number-marker", "max-buckets", "bucket-region",
	"versionId", "x-id", "X-Amz-Content-Sha256", "X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Checksum-Mode", "x-amz-checksum-mode",
}

// asked says what a request is to be allowed for.
func (d *door) asked(r *http.Request, t target) ([]Asked, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errUntold
	}
	sub, err := subresource(q)
	if err != nil {
		return nil, err
	}
	if t.bucket == "" {
		if r.Method != http.MethodGet || sub != "" {
			return nil, errUntold
		}
		return []Asked{{Action: "s3:ListAllMyBuckets"}}, nil
	}
	if err := plainKey(r.URL.EscapedPath(), t.key); err != nil {
		return nil, err
	}
	verbs := objectVerbs
	if t.key == "" {
		verbs = bucketVerbs
	}
	verb, ok := verbs[r.Method][sub]
	switch {
	case !ok, verb != "PutObject" && len(r.Header.Values(copySource)) > 0: // else it would be served as a copy
		return nil, errUntold
	case verb == "DeleteObject" && t.key == "":
		return deletions(r, t.bucket)
	case t.key == "":
		return append([]Asked{{"s3:" + verb, t.bucket, ""}}, withACL(r, "s3:PutBucketAcl", t.bucket, "", verb == "CreateBucket")...), nil
	}
	return objectAsked(r, t, verb, sub)
}

// objectAsked adds what the headers of a request about an object ask for.
func objectAsked(r *http.Request, t target, verb, sub string) ([]Asked, error) {
	version := r.URL.Query().Has("versionId")
	out := []Asked{about(verb, t.bucket, t.key, version)}
	add := func(action string) { out = append(out, Asked{"s3:" + action, t.bucket, t.key}) }
	if verb == "GetObjectAttributes" {
		out = append(out, about("GetObject", t.bucket, t.key, version))
	}
	if strings.EqualFold(r.Header.Get("X-Amz-Bypass-Governance-Retention"), "true") {
		add("BypassGovernanceRetention")
	}
	if verb != "PutObject" {
		return out, nil
	}
	out = append(out, withACL(r, "s3:PutObjectAcl", t.bucket, t.key, true)...)
	for header, action := range map[string]string{
		"X-Amz-Tagging": "PutObjectTagging", "X-Amz-Object-Lock-Mode": "PutObjectRetention",
		"X-Amz-Object-Lock-Retain-Until-Date": "PutObjectRetention", "X-Amz-Object-Lock-Legal-Hold": "PutObjectLegalHold",
	} {
		if r.Header.Get(header) != "" {
			add(action)
		}
	}
	if len(r.Header.Values(copySource)) == 0 {
		return out, nil
	}
	if len(r.Header.Values(copySource)) > 1 || sub != "" && sub != "uploadId" {
		return nil, errUntold
	}
	from, err := copied(r.Header.Get(copySource))
	return append(out, from), err
}

func about(verb, bucket, key string, version bool) Asked {
	if name, ok := versioned[verb]; ok && version {
		verb = name
	}
	return Asked{"s3:" + verb, bucket, key}
}

// withACL adds the action that sets an access control list, where headers do that.
func withACL(r *http.Request, action, bucket, key string, takes bool) []Asked {
	if !takes {
		return nil
	}
	for name := range r.Header {
		if name == "X-Amz-Acl" || strings.HasPrefix(name, "X-Amz-Grant-") {
			return []Asked{{action, bucket, key}}
		}
	}
	return nil
}

// subresource is the one parameter that chooses the action, "" for none. Two of them, one
// that is there twice, or one that is not known, may mean one thing here and another behind.
func subresource(q url.Values) (string, error) {
	sub := ""
	for name, values := range q {
		switch {
		case len(values) > 1:
			return "", errUntold
		case slices.Contains(plainQuery, name), slices.Contains(signatureQuery, name), strings.HasPrefix(name, "response-"):
			continue
		case name == "partNumber" && q.Has("uploadId"):
			continue
		case sub != "":
			return "", errUntold
		}
		sub = name
	}
	return sub, nil
}

// plainKey refuses names that a file system takes for another one: a policy that denies
// secret/ is not to be got round by way of pub/../secret/.
func plainKey(escapedPath, key string) error {
	if strings.Contains(strings.ToLower(escapedPath), "%2f") || strings.ContainsRune(key, 0) {
		return errUntold
	}
	parts := strings.Split(strings.TrimSuffix(key, "/"), "/")
	if key == "" {
		return nil
	}
	for _, p := range parts {
		if p == "" || p == "." || p == ".." {
			return errUntold
		}
	}
	return nil
}

// copied is what a copy reads.
func copied(source string) (Asked, error) {
	raw, query, _ := strings.Cut(source, "?")
	path, err := url.PathUnescape(raw)
	if err != nil {
		return Asked{}, errUntold
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	values, err := url.ParseQuery(query)
	if err != nil || bucket == "" || key == "" {
		return Asked{}, errUntold
	}
	return about("GetObject", bucket, key, values.Has("versionId")), plainKey("", key)
}

// maxDeletion is how many bytes a list of objects to delete may have: S3 takes a thousand
// keys of a kilobyte.
const maxDeletion = 4 << 20

// deletions reads the list of objects of a DeleteObjects, and leaves it to be read again.
func deletions(r *http.Request, bucket string) ([]Asked, error) {
	if strings.HasPrefix(r.Header.Get(payloadHeader), "STREAMING-") || r.ContentLength < 0 || r.ContentLength > maxDeletion {
		return nil, errUntold
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxDeletion))
	if err != nil {
		return nil, fmt.Errorf("cannot read the list of objects: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var list struct {
		Objects []struct{ Key, VersionId *string } `xml:"Object"`
	}
	if err := xml.Unmarshal(body, &list); err != nil || len(list.Objects) == 0 {
		return nil, errUntold
	}
	var out []Asked
	for _, o := range list.Objects {
		if o.Key == nil || *o.Key == "" {
			return nil, errUntold
		}
		if err := plainKey("", *o.Key); err != nil {
			return nil, err
		}
		out = append(out, about("DeleteObject", bucket, *o.Key, o.VersionId != nil))
	}
	return out, nil
}

// authorize holds a request against what its caller may do.
func (d *door) authorize(r *http.Request, t target) *fault {
	if d.mayDo == nil {
		return nil
	}
	err := d.mayDo(r, func() ([]Asked, error) { return d.asked(r, t) })
	var told interface{ ErrorMessage() string }
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUntold):
		return newFault(http.StatusForbidden, "AccessDenied", "Access Denied: "+errUntold.Error())
	case errors.As(err, &told):
		return newFault(http.StatusForbidden, "AccessDenied", told.ErrorMessage())
	}
	if body, ok := r.Body.(*taken); ok && d.bodyFault != nil {
		if cause := body.failure(); cause != nil {
			return newFault(d.bodyFault(cause))
		}
	}
	return d.internal(r, err)
}
