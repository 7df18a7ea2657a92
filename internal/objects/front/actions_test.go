package front

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// told spells what a request asks for: "GetObject b/k PutObject b/k", or "untold".
func told(t *testing.T, r *http.Request, bucket, key string) string {
	t.Helper()
	list, err := (&door{}).asked(r, target{bucket: bucket, key: key})
	if err != nil {
		if !errors.Is(err, errUntold) {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		return "untold"
	}
	var out []string
	for _, a := range list {
		out = append(out, strings.TrimPrefix(a.Action, "s3:")+" "+strings.TrimPrefix(a.ARN(), "arn:aws:s3:::"))
	}
	slices.Sort(out[1:])
	return strings.Join(out, " ")
}

func TestAsked(t *testing.T) {
	for _, tt := range []struct{ request, header, want string }{
		{"GET /", "", "ListAllMyBuckets *"},
		{"PUT /", "", "untold"},
		{"GET /b", "", "ListBucket b"},
		{"GET /b?list-type=2&prefix=x&delimiter=/&max-keys=2&encoding-type=url", "", "ListBucket b"},
		{"HEAD /b", "", "ListBucket b"},
		{"PUT /b", "", "CreateBucket b"},
		{"PUT /b", "X-Amz-Acl: public-read", "CreateBucket b PutBucketAcl b"},
		{"DELETE /b", "", "DeleteBucket b"},
		{"GET /b?versions", "", "ListBucketVersions b"},
		{"GET /b?uploads", "", "ListBucketMultipartUploads b"},
		{"PUT /b?policy", "", "PutBucketPolicy b"},
		{"PUT /b?website", "", "untold"},
		{"POST /b", "", "untold"},
		{"GET /b/k", "", "GetObject b/k"},
		{"GET /b/k?response-content-type=x&X-Amz-Date=y&x-id=GetObject", "", "GetObject b/k"},
		{"GET /b/k?versionId=1", "", "GetObjectVersion b/k"},
		{"HEAD /b/k", "", "GetObject b/k"},
		{"GET /b/k?attributes&versionId=1", "", "GetObjectVersionAttributes b/k GetObjectVersion b/k"},
		{"GET /b/k?uploadId=1&max-parts=2", "", "ListMultipartUploadParts b/k"},
		{"PUT /b/k", "", "PutObject b/k"},
		{"PUT /b/k?partNumber=1&uploadId=2", "", "PutObject b/k"},
		{"PUT /b/k?partNumber=1", "", "untold"},
		{"PUT /b/k", "X-Amz-Tagging: a=b", "PutObject b/k PutObjectTagging b/k"},
		{"PUT /b/k", "X-Amz-Grant-Read: x", "PutObject b/k PutObjectAcl b/k"},
		{"PUT /b/k", "X-Amz-Object-Lock-Legal-Hold: ON", "PutObject b/k PutObjectLegalHold b/k"},
		{"PUT /b/k", "X-Amz-Copy-Source: /c/d%20e?versionId=1", "PutObject b/k GetObjectVersion c/d e"},
		{"PUT /b/k?partNumber=1&uploadId=2", "X-Amz-Copy-Source: c/d", "PutObject b/k GetObject c/d"},
		{"PUT /b/k", "X-Amz-Copy-Source: c/x/../d", "untold"},
		{"PUT /b/k", "X-Amz-Copy-Source: c", "untold"},
		{"PUT /b/k?tagging", "", "PutObjectTagging b/k"},
		// These would be served as copies.
		{"PUT /b/k?tagging", "X-Amz-Copy-Source: c/d", "untold"},
		{"PUT /b/k?acl", "X-Amz-Copy-Source: c/d", "untold"},
		{"PUT /b?tagging", "X-Amz-Copy-Source: c/d", "untold"},
		{"PUT /b", "X-Amz-Copy-Source: c/d", "untold"},
		// One who reads the first and one who reads the last would differ.
		{"GET /b?list-type=2&prefix=mine&prefix=yours", "", "untold"},
		{"GET /b/k?versionId=1&versionId=2", "", "untold"},
		{"POST /b/k?uploads", "", "PutObject b/k"},
		{"POST /b/k?uploadId=1", "", "PutObject b/k"},
		{"POST /b/k?select&select-type=2", "", "untold"},
		{"DELETE /b/k", "X-Amz-Bypass-Governance-Retention: true", "DeleteObject b/k BypassGovernanceRetention b/k"},
		{"DELETE /b/k?versionId=1", "", "DeleteObjectVersion b/k"},
		{"DELETE /b/k?uploadId=1", "", "AbortMultipartUpload b/k"},
		{"GET /b/k?acl&tagging", "", "untold"},
		{"GET /b/k?acl;tagging", "", "untold"},
		{"GET /b/k?%zz", "", "untold"},
		{"GET /b/k?ACL", "", "untold"},
		// What a presigned URL carries in place of headers.
		{"PUT /b/k?X-Amz-Copy-Source=c/d&X-Amz-Signature=x", "", "untold"},
		{"PUT /b/k?x-amz-acl=public-read", "", "untold"},
		{"PATCH /b/k", "", "untold"},
		{"GET /b/d/", "", "GetObject b/d/"},
		{"GET /b//k", "", "untold"},
		{"GET /b/k/..", "", "untold"},
		{"GET /b/d//", "", "untold"},
	} {
		method, url, _ := strings.Cut(tt.request, " ")
		r := httptest.NewRequest(method, url, nil)
		if name, value, ok := strings.Cut(tt.header, ": "); ok {
			r.Header.Set(name, value)
		}
		bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if got := told(t, r, bucket, key); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.request, tt.header, got, tt.want)
		}
	}
}

// The list of a DeleteObjects is read key by key, and is still there for who carries it out.
func TestDeletionsAreReadAndLeft(t *testing.T) {
	for body, want := range map[string]string{
		`<Delete><Object><Key>a</Key></Object><Object><Key>b&amp;c</Key><VersionId>1</VersionId></Object></Delete>`:         "DeleteObject b/a DeleteObjectVersion b/b&c",
		`<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>`: "DeleteObject b/a",
		`<Delete><Object><Key>a/../b</Key></Object></Delete>`:                                                               "untold",
		`<Delete><Object><Key></Key></Object></Delete>`:                                                                     "untold",
		`<Delete><Object></Object></Delete>`:                                                                                "untold",
		`<Delete></Delete>`:                                                                                                 "untold",
		`<Delete><Object><Key>a</Key></Object>`:                                                                             "untold",
		`not xml`:                                                                                                           "untold",
		`<Delete><Object><Key>a</Key><Key>c</Key></Object></Delete>`:                                                        "DeleteObject b/c",
	} {
		r := httptest.NewRequest(http.MethodPost, "/b?delete", strings.NewReader(body))
		if got := told(t, r, "b", ""); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
		if left, err := io.ReadAll(r.Body); string(left) != body || err != nil {
			t.Errorf("%s: left %q %v", body, left, err)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/b?delete", strings.NewReader("<Delete/>"))
	r.Header.Set(payloadHeader, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
	if got := told(t, r, "b", ""); got != "untold" {
		t.Errorf("a list in chunks: %s", got)
	}
}
