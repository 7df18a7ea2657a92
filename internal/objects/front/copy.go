package front

import (
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

const (
	copySource  = "X-Amz-Copy-Source"
	maxCopySize = 5 << 30 // bytes, of one CopyObject or UploadPartCopy
)

// source is what a copy reads.
type source struct {
	bucket, key, version string
	region               string
}

// copy passes a copy within a region to its child, and does one between regions
// itself: the source's child is read while the destination's is written.
func (d *door) copy(w http.ResponseWriter, r *http.Request, t target) *fault {
	src, fault := d.source(r)
	if fault != nil {
		return fault
	}
	q := r.URL.Query()
	part := q.Has("uploadId") || q.Has("partNumber")
	// The child knows no conditions on the destination of a copy.
	conditional := r.Header.Get("If-Match") != "" || r.Header.Get("If-None-Match") != ""
	switch {
	case src.region == t.home && (part || !conditional):
		return d.forward(copyWriter{w, r}, r, t)
	case part:
		return d.copyPart(w, r, t, src)
	}
	return d.copyObject(w, r, t, src)
}

// copyWriter mends the one answer that the child gives otherwise than S3: a copy
// whose source was not modified has failed.
type copyWriter struct {
	http.ResponseWriter
	r *http.Request
}

func (c copyWriter) WriteHeader(status int) {
	if status != http.StatusNotModified {
		c.ResponseWriter.WriteHeader(status)
		return
	}
	unmet().write(c.ResponseWriter, c.r)
}

// Unwrap lets http.ResponseController reach the connection.
func (c copyWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// unmet is the answer to a copy whose condition does not hold.
func unmet() *fault {
	f := newFault(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	f.Condition = copySource
	return f
}

func (d *door) source(r *http.Request) (source, *fault) {
	bad := newFault(http.StatusBadRequest, "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	raw, query, _ := strings.Cut(r.Header.Get(copySource), "?")
	path, err := url.PathUnescape(raw)
	if err != nil {
		return source{}, bad
	}
	var src source
	src.bucket, src.key, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if src.bucket == "" || src.key == "" {
		return source{}, bad
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return source{}, bad
	}
	src.version = values.Get("versionId")
	region, ok, err := d.pool.Locate(src.bucket)
	if err != nil {
		return source{}, d.internal(r, err)
	}
	if !ok {
		return source{}, noSuchBucket(src.bucket)
	}
	src.region = region
	return src, nil
}

// open asks for the source under the copy's conditions, or a byte range of it.
func (d *door) open(r *http.Request, src source, byteRange string) (*s3.GetObjectOutput, *fault) {
	in := &s3.GetObjectInput{Bucket: &src.bucket, Key: &src.key, ChecksumMode: types.ChecksumModeEnabled}
	if src.version != "" {
		in.VersionId = &src.version
	}
	if byteRange != "" {
		in.Range, in.ChecksumMode = &byteRange, ""
	}
	header := func(name string) *string {
		if v := r.Header.Get(copySource + "-" + name); v != "" {
			return &v
		}
		return nil
	}
	in.IfMatch, in.IfNoneMatch = header("If-Match"), header("If-None-Match")
	var fault *fault
	if in.IfModifiedSince, fault = headerTime(header("If-Modified-Since")); fault != nil {
		return nil, fault
	}
	if in.IfUnmodifiedSince, fault = headerTime(header("If-Unmodified-Since")); fault != nil {
		return nil, fault
	}
	out, err := d.pool.Client(src.region).GetObject(r.Context(), in)
	if err != nil {
		return nil, d.refused(r, err, src.key)
	}
	return out, nil
}

func headerTime(v *string) (*time.Time, *fault) {
	if v == nil {
		return nil, nil
	}
	t, err := http.ParseTime(*v)
	if err != nil {
		return nil, newFault(http.StatusBadRequest, "InvalidArgument", "The date of a copy condition is not valid.")
	}
	return &t, nil
}

// refused turns a child's answer to our own request into the answer to the
// client's. A copy knows no "not modified": each unmet condition is a failed one.
func (d *door) refused(r *http.Request, err error, key string) *fault {
	var api smithy.APIError
	var resp *awshttp.ResponseError
	if !errors.As(err, &resp) || resp.Response == nil {
		return d.unavailable(r, err)
	}
	status := resp.HTTPStatusCode()
	switch {
	case status == http.StatusNotModified || status == http.StatusPreconditionFailed:
		return unmet()
	case errors.As(err, &api) && status >= 400:
		f := newFault(status, api.ErrorCode(), api.ErrorMessage())
		f.Key = key
		return f
	}
	return d.internal(r, err)
}

type copyResult struct {
	XMLName      xml.Name
	NS           string `xml:"xmlns,attr"`
	LastModified string
	ETag         string
	sums
}

// sums are the checksum elements of a copy's result.
type sums struct {
	ChecksumType      string `xml:",omitempty"`
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
}

func (d *door) copyObject(w http.ResponseWriter, r *http.Request, t target, src source) *fault {
	in, fault := d.open(r, src, "")
	if fault != nil {
		return fault
	}
	defer func() { _ = in.Body.Close() }()
	size := aws.ToInt64(in.ContentLength)
	if size > maxCopySize {
		return newFault(http.StatusBadRequest, "InvalidRequest",
			"The specified copy source is larger than the maximum allowable size for a copy source: "+strconv.Itoa(maxCopySize))
	}
	header, fault := d.copyHeaders(r, src, in)
	if fault != nil {
		return fault
	}
	algorithm, fault := copyAlgorithm(r, in)
	if fault != nil {
		return fault
	}
	put := upload{url: childURL("/"+t.bucket+escapeKey(t.key), ""), header: header, body: in.Body, size: size, algorithm: algorithm}
	resp, fault := d.upload(r, t.home, put)
	if fault != nil {
		return fault
	}
	if v := aws.ToString(in.VersionId); v != "" {
		w.Header().Set("X-Amz-Copy-Source-Version-Id", v)
	}
	d.answerCopy(w, r, "CopyObjectResult", resp)
	return nil
}

// answerCopy writes the result document from the headers of a child's answer to
// the upload.
func (d *door) answerCopy(w http.ResponseWriter, r *http.Request, name string, put http.Header) {
	sum := func(a string) string { return put.Get("X-Amz-Checksum-" + a) }
	doc := copyResult{
		XMLName: xml.Name{Local: name}, NS: s3Namespace,
		LastModified: s3Time(time.Now()), ETag: put.Get("ETag"),
		sums: sums{
			ChecksumType: put.Get("X-Amz-Checksum-Type"), ChecksumCRC32: sum("Crc32"), ChecksumCRC32C: sum("Crc32c"),
			ChecksumCRC64NVME: sum("Crc64nvme"), ChecksumSHA1: sum("Sha1"), ChecksumSHA256: sum("Sha256"),
		},
	}
	if v := put.Get("X-Amz-Version-Id"); v != "" {
		w.Header().Set("X-Amz-Version-Id", v)
	}
	writeXML(w, r, http.StatusOK, put.Get(requestIDHeader), doc)
}

// passed are the headers of a CopyObject request that concern the new object
// whatever the directives say.
var passed = []string{
	"X-Amz-Acl", "X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location", "X-Amz-Expected-Bucket-Owner",
	"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold",
	"X-Amz-Grant-Full-Control", "X-Amz-Grant-Read", "X-Amz-Grant-Read-Acp", "X-Amz-Grant-Write-Acp",
	"If-Match", "If-None-Match",
}

// replaced are those that the metadata directive REPLACE takes from the request.
var replaced = []string{
	"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
}

// copyHeaders makes the headers of the new object: from the request where the
// directives say REPLACE, from the source otherwise.
func (d *door) copyHeaders(r *http.Request, src source, in *s3.GetObjectOutput) (http.Header, *fault) {
	h := http.Header{}
	take := func(name string) {
		if v := r.Header.Get(name); v != "" {
			h.Set(name, v)
		}
	}
	for _, name := range passed {
		take(name)
	}
	switch directive := r.Header.Get("X-Amz-Metadata-Directive"); directive {
	case "", "COPY":
		sourceMetadata(h, in)
	case "REPLACE":
		for _, name := range replaced {
			take(name)
		}
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Amz-Meta-") {
				take(name)
			}
		}
	default:
		return nil, newFault(http.StatusBadRequest, "InvalidArgument", "Unknown metadata directive.")
	}
	return h, d.copyTags(r, src, in, h)
}

func sourceMetadata(h http.Header, in *s3.GetObjectOutput) {
	for name, value := range map[string]*string{
		"Content-Type": in.ContentType, "Cache-Control": in.CacheControl, "Content-Disposition": in.ContentDisposition,
		"Content-Encoding": in.ContentEncoding, "Content-Language": in.ContentLanguage, "Expires": in.ExpiresString,
	} {
		if v := aws.ToString(value); v != "" {
			h.Set(name, v)
		}
	}
	for name, value := range in.Metadata {
		h.Set("X-Amz-Meta-"+name, value)
	}
}

func (d *door) copyTags(r *http.Request, src source, in *s3.GetObjectOutput, h http.Header) *fault {
	switch directive := r.Header.Get("X-Amz-Tagging-Directive"); directive {
	case "REPLACE":
		if v := r.Header.Get("X-Amz-Tagging"); v != "" {
			h.Set("X-Amz-Tagging", v)
		}
		return nil
	case "", "COPY":
	default:
		return newFault(http.StatusBadRequest, "InvalidArgument", "Unknown tagging directive.")
	}
	if aws.ToInt32(in.TagCount) == 0 {
		return nil
	}
	ask := &s3.GetObjectTaggingInput{Bucket: &src.bucket, Key: &src.key, VersionId: in.VersionId}
	out, err := d.pool.Client(src.region).GetObjectTagging(r.Context(), ask)
	if err != nil {
		return d.refused(r, err, src.key)
	}
	tags := url.Values{}
	for _, tag := range out.TagSet {
		tags.Set(aws.ToString(tag.Key), aws.ToString(tag.Value))
	}
	h.Set("X-Amz-Tagging", tags.Encode())
	return nil
}

// copyPart is UploadPartCopy: a range of the source becomes a part.
func (d *door) copyPart(w http.ResponseWriter, r *http.Request, t target, src source) *fault {
	q := r.URL.Query()
	ask := r.Header.Get(copySource + "-Range")
	in, fault := d.open(r, src, ask)
	if fault != nil {
		return fault
	}
	defer func() { _ = in.Body.Close() }()
	size := aws.ToInt64(in.ContentLength)
	if ask != "" && aws.ToString(in.ContentRange) != wholeRange(ask, in.ContentRange) {
		return newFault(http.StatusBadRequest, "InvalidArgument", "Range specified is not valid for source object")
	}
	if size > maxCopySize {
		return newFault(http.StatusBadRequest, "InvalidRequest",
			"The specified copy source is larger than the maximum allowable size for a copy source: "+strconv.Itoa(maxCopySize))
	}
	algorithm, fault := d.partAlgorithm(r, t, q.Get("uploadId"))
	if fault != nil {
		return fault
	}
	query := url.Values{"partNumber": {q.Get("partNumber")}, "uploadId": {q.Get("uploadId")}}
	put := upload{
		url: childURL("/"+t.bucket+escapeKey(t.key), query.Encode()), header: http.Header{},
		body: in.Body, size: size, algorithm: algorithm,
	}
	resp, fault := d.upload(r, t.home, put)
	if fault != nil {
		return fault
	}
	d.answerCopy(w, r, "CopyPartResult", resp)
	return nil
}

// wholeRange is the Content-Range that an answer to ask must carry if the range lies
// within the object; got lends the total.
func wholeRange(ask string, got *string) string {
	_, total, _ := strings.Cut(aws.ToString(got), "/")
	return "bytes " + strings.TrimPrefix(ask, "bytes=") + "/" + total
}

// partAlgorithm asks with what checksum the upload was begun: its parts must
// carry the same.
func (d *door) partAlgorithm(r *http.Request, t target, uploadID string) (string, *fault) {
	out, err := d.pool.Client(t.home).ListParts(r.Context(), &s3.ListPartsInput{
		Bucket: &t.bucket, Key: &t.key, UploadId: &uploadID, MaxParts: aws.Int32(1),
	})
	if err != nil {
		return "", d.refused(r, err, t.key)
	}
	algorithm := string(out.ChecksumAlgorithm)
	switch {
	case newSum(algorithm) != nil:
		return algorithm, nil
	case algorithm == "", strings.EqualFold(algorithm, "null"): // so the child spells none
		return "", nil
	}
	return "", newFault(http.StatusNotImplemented, "NotImplemented", "Parts of another region cannot be copied into an upload with checksum "+algorithm+".")
}

// copyAlgorithm is the checksum of the new object: the one asked for, else the
// source's own, else S3's default.
func copyAlgorithm(r *http.Request, in *s3.GetObjectOutput) (string, *fault) {
	if a := strings.ToUpper(r.Header.Get("X-Amz-Checksum-Algorithm")); a != "" {
		if newSum(a) == nil {
			return "", newFault(http.StatusBadRequest, "InvalidRequest", "Checksum algorithm provided is unsupported.")
		}
		return a, nil
	}
	for algorithm, value := range map[string]*string{
		"CRC32": in.ChecksumCRC32, "CRC32C": in.ChecksumCRC32C, "SHA1": in.ChecksumSHA1, "SHA256": in.ChecksumSHA256,
	} {
		if value != nil {
			return algorithm, nil
		}
	}
	return "CRC64NVME", nil
}

func escapeKey(key string) string {
	return (&url.URL{Path: "/" + key}).EscapedPath()
}
