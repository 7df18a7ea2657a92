package front

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	s3Namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
	legacy      = "us-east-1" // the one region that needs no constraint and has an empty one
	maxBuckets  = 10000
	timeFormat  = "2006-01-02T15:04:05.000Z"
)

type bucketList struct {
	XMLName xml.Name      `xml:"ListAllMyBucketsResult"`
	NS      string        `xml:"xmlns,attr"`
	Owner   owner         `xml:"Owner"`
	Buckets []bucketEntry `xml:"Buckets>Bucket"`
	Next    string        `xml:"ContinuationToken,omitempty"`
	Prefix  string        `xml:"Prefix,omitempty"`
}

type owner struct{ ID string }

type bucketEntry struct{ Name, CreationDate, BucketRegion string }

// listBuckets shows the buckets of every region, whichever the request was signed
// for.
func (d *door) listBuckets(w http.ResponseWriter, r *http.Request) *fault {
	q := r.URL.Query()
	limit := maxBuckets
	if s := q.Get("max-buckets"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxBuckets {
			return newFault(http.StatusBadRequest, "InvalidArgument", "Argument max-buckets must be an integer between 1 and 10000.")
		}
		limit = n
	}
	all, err := d.pool.List()
	if err != nil {
		return d.internal(r, err)
	}
	doc := bucketList{NS: s3Namespace, Owner: owner{d.pool.Account()}, Prefix: q.Get("prefix"), Buckets: []bucketEntry{}}
	for _, b := range all {
		region := q.Get("bucket-region")
		if b.Name <= q.Get("continuation-token") || !strings.HasPrefix(b.Name, doc.Prefix) || region != "" && region != b.Region {
			continue
		}
		if len(doc.Buckets) == limit {
			doc.Next = doc.Buckets[limit-1].Name
			break
		}
		doc.Buckets = append(doc.Buckets, bucketEntry{b.Name, b.Created.UTC().Format(timeFormat), b.Region})
	}
	writeXML(w, r, http.StatusOK, "", doc)
	return nil
}

type locationDoc struct {
	XMLName xml.Name `xml:"LocationConstraint"`
	NS      string   `xml:"xmlns,attr"`
	Value   string   `xml:",chardata"`
}

// location answers from any region, as S3 does: it is how a client finds out.
func (d *door) location(w http.ResponseWriter, r *http.Request, t target) *fault {
	doc := locationDoc{NS: s3Namespace, Value: t.home}
	if t.home == legacy {
		doc.Value = ""
	}
	w.Header().Set(regionHeader, t.home)
	writeXML(w, r, http.StatusOK, "", doc)
	return nil
}

type bucketConfig struct {
	XMLName    xml.Name `xml:"CreateBucketConfiguration"`
	Constraint *string  `xml:"LocationConstraint"`
}

const maxConfig = 64 << 10 // bytes of a CreateBucket document

// createBucket makes sure that the name is free in every region and that the
// constraint fits the region of the request, which then makes the bucket.
func (d *door) createBucket(w http.ResponseWriter, r *http.Request, t target) *fault {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxConfig))
	if err != nil {
		return newFault(http.StatusBadRequest, "IncompleteBody", "The request body could not be read or is too large.")
	}
	if len(body) == 0 {
		body = nil
	}
	constraint, given, fault := readConstraint(body)
	if fault == nil {
		fault = checkConstraint(constraint, t.signed)
	}
	if fault != nil {
		return fault
	}
	defer d.pool.LockNames()()
	home, exists, err := d.pool.Locate(t.bucket)
	if err != nil {
		return d.internal(r, err)
	}
	if exists && home == legacy && t.signed == legacy {
		// There, and only there, S3 answers so to the owner.
		w.Header().Set("Location", "/"+t.bucket)
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if exists {
		f := newFault(http.StatusConflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
		f.BucketName, f.region = t.bucket, home
		return f
	}
	return d.makeBucket(w, r, t, body, given && (constraint == "" || constraint == "EU"))
}

// makeBucket passes the request on. An empty constraint, and EU for eu-west-1, are
// allowed by S3 and unknown to the child, so they are replaced.
func (d *door) makeBucket(w http.ResponseWriter, r *http.Request, t target, body []byte, replace bool) *fault {
	t.home = t.signed
	if replace {
		if sum := sha256.Sum256(body); strings.HasPrefix(r.Header.Get(payloadHeader), "STREAMING-") ||
			len(r.Header.Get(payloadHeader)) == 64 && r.Header.Get(payloadHeader) != hex.EncodeToString(sum[:]) {
			return newFault(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
		}
		body = nil
		if t.signed != legacy {
			body = []byte("<CreateBucketConfiguration xmlns=\"" + s3Namespace + "\"><LocationConstraint>" + t.signed + "</LocationConstraint></CreateBucketConfiguration>")
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		r.Body = http.NoBody
	}
	out, fault := d.outgoing(r, t)
	if fault != nil {
		return fault
	}
	if replace {
		for name := range out.Header {
			if strings.HasPrefix(name, "X-Amz-Checksum-") || name == "Content-Md5" || name == "X-Amz-Sdk-Checksum-Algorithm" {
				out.Header.Del(name)
			}
		}
		out.Header.Del("Content-Length")
		out.URL = childURL("/"+t.bucket, r.URL.RawQuery)
		sum := sha256.Sum256(body)
		if err := d.sign(r.Context(), out, t.signed, hex.EncodeToString(sum[:])); err != nil {
			return d.internal(r, err)
		}
	}
	return d.exchange(w, r, t.signed, out)
}

func readConstraint(body []byte) (constraint string, given bool, f *fault) {
	if len(body) == 0 {
		return "", false, nil
	}
	var c bucketConfig
	if err := xml.Unmarshal(body, &c); err != nil {
		return "", false, newFault(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	if c.Constraint == nil {
		return "", false, nil
	}
	return *c.Constraint, true, nil
}

func checkConstraint(constraint, region string) *fault {
	switch {
	case constraint == "" && region == legacy, constraint == "EU" && region == "eu-west-1":
		return nil
	case constraint == legacy:
		f := newFault(http.StatusBadRequest, "InvalidLocationConstraint", "The specified location-constraint is not valid")
		f.Location = constraint
		return f
	case constraint == region:
		return nil
	case constraint == "":
		constraint = "unspecified"
	}
	return newFault(http.StatusBadRequest, "IllegalLocationConstraintException",
		"The "+constraint+" location constraint is incompatible for the region specific endpoint this request was sent to.")
}

func s3Time(t time.Time) string { return t.UTC().Format(timeFormat) }
